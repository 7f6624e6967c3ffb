// lse_i = ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau that are never stored: each lane keeps an online pair
// (max, sum of exp(s - max)) a row for the keys it sees; Milakov & Gimelshein 2018, "Online normalizer calculation for
// softmax", alg. 3. rows.wgsl merges the pairs. For CPU adapters with subgroups of 8.
// lib: grid elem logit_broadcast

const MASKED: f32 = -3.4e38;

struct Params {
    n: u32,        // queries
    m: u32,        // keys
    d4: u32,       // vec4s in a row
    chunk: u32,    // keys in a chunk: whole tiles
    begin: u32,    // the part of every chunk that this dispatch streams: whole tiles too
    end: u32,
    inv_tau: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;  // (chunks, LANES, n): max, sum
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4) queries
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // (n) the key a query leaves out; m or more: none

// Logits of a query with four keys; keys that do not count get the lowest value.
fn mask(dots: vec4f, key: vec4u, out: u32) -> vec4f {
    return select(vec4f(MASKED), dots * p.inv_tau, (key < vec4u(p.m)) & (key != vec4u(out)));
}

fn highest(s: vec4f) -> f32 { return max(max(s.x, s.y), max(s.z, s.w)); }

// One workgroup, which is one subgroup: 16 queries against a chunk of the keys, or the part of it that this dispatch is
// bounded to. Sums made while every key was masked count ones; the first real maximum multiplies them by exp(-3.4e38 - top) = 0.
@compute @workgroup_size(LANES)
fn contrastive_forward(
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let row_groups = (p.n + TILE_ROWS - 1) / TILE_ROWS;
    let group = group_index(wid, nwg);
    let chunk = group / row_groups;
    let i = group % row_groups * TILE_ROWS;
    let start = chunk * p.chunk + p.begin;
    let stop = min(min(chunk * p.chunk + p.end, (chunk + 1) * p.chunk), p.m);
    if start >= stop { return; }

    var out: array<u32, TILE_ROWS>;
    var top: array<f32, TILE_ROWS>;
    var sum: array<f32, TILE_ROWS>;
    let out0 = excluded[min(i + lane, p.n - 1)];
    let out1 = excluded[min(i + lane + LANES, p.n - 1)];
    for (var r = 0u; r < TILE_ROWS; r++) {
        out[r] = subgroupShuffle(select(out0, out1, r >= LANES), r % LANES);
        top[r] = MASKED;
    }
    let to = (chunk * LANES + lane) * p.n;
    if p.begin > 0 {
        for (var r = 0u; r < TILE_ROWS; r++) {
            let before = state[to + min(i + r, p.n - 1)];
            top[r] = before.x;
            sum[r] = before.y;
        }
    }
    for (var j = start; j < stop; j += TILE_COLUMNS) {
        let column = columns_of(j, lane);
        var s = dot_tile(i, j, lane);
        for (var r = 0u; r < TILE_ROWS; r++) {
            let s0 = mask(s[r][0], column[0], out[r]);
            let s1 = mask(s[r][1], column[1], out[r]);
            let new_top = max(top[r], highest(max(s0, s1)));
            sum[r] = sum[r] * exp(top[r] - new_top) + dot(exp(s0 - new_top) + exp(s1 - new_top), vec4f(1));
            top[r] = new_top;
        }
    }
    for (var r = 0u; r < TILE_ROWS; r++) {
        if i + r < p.n { state[to + i + r] = vec2f(top[r], sum[r]); }
    }
}
