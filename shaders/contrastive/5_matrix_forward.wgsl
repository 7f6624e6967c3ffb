enable f16;
// forward.wgsl on matrix units: lse_i = ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau of f16 rows, never stored.
//
// A workgroup owns BM queries and streams a chunk of the keys, BN at a time: each block of logits is a product of
// lib/matrix.wgsl, of which `use_strip` gets a strip of rows at a time. WG / STRIP_ROWS lanes share a row of it; each keeps its
// own pair (max, sum of exp(s - max)), which `contrastive_finish` adds up as it does those of chunks.
// lib: grid stage tile matrix nan

const A_ALONG_K = true;
const B_ALONG_K = true;
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
@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;     // (chunks, lanes, n): max, sum
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;           // (n, d) queries
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;           // (m, d) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;          // (n) the key a query leaves out; m or more: none

var<private> online: array<vec2f, 4>;       // of this invocation's row in each pair of strips

fn begin() {}
fn advance() {}
fn end_round() {}

fn load_a(s: u32, q: u32) -> vec4<f16> {
    let at = a_piece(s);
    let inside = block.i0 + at.y < p.n && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), a[select(0u, (block.i0 + at.y) * (p.d / 4u) + block.l / 4u + at.x, inside) + q], inside);
}

fn load_b(s: u32, q: u32) -> vec4<f16> {
    let at = b_piece(s);
    let inside = block.j0 + at.y < p.m && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), b[select(0u, (block.j0 + at.y) * (p.d / 4u) + block.l / 4u + at.x, inside) + q], inside);
}

fn logits(row: u32, quad: u32, j: u32, out: u32) -> vec4f {
    let columns = vec4u(j) + vec4u(0u, 1u, 2u, 3u);
    let taken = columns < vec4u(p.m) & columns != vec4u(out) & vec4<bool>(strip_has(row, quad));
    return select(vec4f(MASKED), strip_at(row, quad) * p.inv_tau, taken);
}

fn use_strip(r: u32) {
    let lanes = WG / STRIP_ROWS;
    let row = block.lid / lanes;
    let out = excluded[min(block.i0 + strip_row(r, row), p.n - 1u)];
    let before = online[r / 2u];
    var top = before.x;
    var magnitude = vec4u();    // of the largest logits, as bits: those of a NaN are above those of infinity
    for (var quad = block.lid % lanes; quad < STRIP_QUADS; quad += lanes) {
        let s = logits(row, quad, block.j0 + strip_column(r, quad), out);
        top = max(top, max(max(s.x, s.y), max(s.z, s.w)));
        magnitude = max(magnitude, bitcast<vec4u>(s) & vec4u(0x7fffffffu));
    }
    // Sums made while every key was masked count ones; the first real maximum multiplies them by 0.
    var sum = before.y * exp(before.x - top);
    for (var quad = block.lid % lanes; quad < STRIP_QUADS; quad += lanes) {
        sum += dot(exp(logits(row, quad, block.j0 + strip_column(r, quad), out) - top), vec4f(1.0));
    }
    let largest = max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w));
    online[r / 2u] = vec2f(top, keep_nan_1(bitcast<f32>(largest), sum));
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
    let pairs = (chunk * lanes + lid % lanes) * p.n;
    for (var r = 0u; r < 4u; r++) {
        online[r] = vec2f(MASKED, 0.0);
        if p.begin > 0u && chunk < p.chunks { online[r] = state[pairs + min(i0 + strip_row(2u * r, lid / lanes), p.n - 1u)]; }
    }
    // A workgroup past the work, which folding the grid may add, has no keys.
    let stop = select(0u, min(chunk * p.chunk + min(p.end, p.chunk), p.m), chunk < p.chunks);
    for (var j = chunk * p.chunk + p.begin; j < stop; j += BN) {
        product(i0, j, 0u, p.d, lid, subgroup, subgroups);
    }
    for (var r = 0u; r < 4u; r++) {
        let i = i0 + strip_row(2u * r, lid / lanes);
        if i < p.n && chunk < p.chunks { state[pairs + i] = online[r]; }
    }
}
