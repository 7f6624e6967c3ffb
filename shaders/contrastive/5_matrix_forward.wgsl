enable f16;
// The forward pass on matrix units: ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau of f16 rows, never stored.
//
// A workgroup owns BM queries and streams a chunk of the keys, BN at a time: each block of logits is a product of
// lib/matrix.wgsl, of which `use_strip` gets a strip of rows at a time. WG / STRIP_ROWS lanes share a row of it; each keeps its
// own pair (max, sum of exp(s - max)) of the keys but the positive, whose logit is kept apart. `contrastive_finish` adds the pairs
// up as it does those of chunks.
// lib: grid stage tile matrix logit_matrix

const MASKED: f32 = -3.4e38;

struct Uniforms {
    n: u32,         // queries
    m: u32,         // keys
    d: u32,         // width of a row, a multiple of 8
    chunk: u32,     // keys in a chunk: whole blocks
    chunks: u32,
    begin: u32,     // the part of every chunk that this dispatch streams: whole blocks too
    end: u32,
    inv_tau: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;       // (1 + 2 chunks lanes, n): the positive's logit; max, sum
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;           // (n, d) queries
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;           // (m, d) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;          // (n) the key a query leaves out; m or more: none
@group(0) @binding(5) var<storage, read> positive: array<u32>;          // (n) the key a query aims at; m or more: none

var<private> online: array<vec2f, 4>;       // of this invocation's row in each pair of strips

fn queries_end() -> u32 { return p.n; }
fn keys_end() -> u32 { return p.m; }
fn row_length() -> u32 { return p.d; }

// One pass over the strip, and five exponentials for the four logits of a vec4.
fn use_strip(r: u32) {
    let lanes = WG / STRIP_ROWS;
    let row = block.lid / lanes;
    let i = block.i0 + strip_row(r, row);
    let out = excluded[min(i, p.n - 1u)];
    let aim = positive[min(i, p.n - 1u)];
    var pair = online[r / 2u];
    for (var quad = block.lid % lanes; quad < STRIP_QUADS; quad += lanes) {
        if !strip_has(row, quad) { continue; }
        let logits = strip_at(row, quad) * p.inv_tau;
        let j = vec4u(block.j0 + strip_column(r, quad)) + vec4u(0u, 1u, 2u, 3u);
        let taken = j < vec4u(p.m) & j != vec4u(out);
        for (var q = 0u; q < 4u; q++) { if taken[q] && j[q] == aim && i < p.n { state[i] = logits[q]; } }
        let s = select(vec4f(MASKED), logits, taken & j != vec4u(aim));
        let top = max(pair.x, max(max(s.x, s.y), max(s.z, s.w)));
        // Sums made while every key was masked count ones; the first real maximum multiplies them by 0.
        pair = vec2f(top, pair.y * exp(pair.x - top) + dot(exp(s - top), vec4f(1.0)));
    }
    online[r / 2u] = pair;
}

@compute @workgroup_size(WG)
fn contrastive_forward(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let blocks = (p.n + BM - 1u) / BM;
    let group = group_index(at);
    let chunk = group / blocks;
    let i0 = group % blocks * BM;
    let lanes = WG / STRIP_ROWS;
    let to = (1u + 2u * (chunk * lanes + lid % lanes)) * p.n;
    for (var r = 0u; r < 4u; r++) {
        online[r] = vec2f(MASKED, 0.0);
        if p.begin > 0u && chunk < p.chunks {
            let i = to + min(i0 + strip_row(2u * r, lid / lanes), p.n - 1u);
            online[r] = vec2f(state[i], state[i + p.n]);
        }
    }
    // A workgroup past the work, which folding the grid may add, has no keys.
    let stop = select(0u, min(chunk * p.chunk + min(p.end, p.chunk), p.m), chunk < p.chunks);
    for (var j = chunk * p.chunk + p.begin; j < stop; j += BN) {
        product(i0, j, 0u, p.d, lid, subgroup, subgroups);
    }
    for (var r = 0u; r < 4u; r++) {
        let i = i0 + strip_row(2u * r, lid / lanes);
        if i < p.n && chunk < p.chunks {
            state[to + i] = online[r].x;
            state[to + p.n + i] = online[r].y;
        }
    }
}
