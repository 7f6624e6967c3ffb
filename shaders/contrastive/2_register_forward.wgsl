// lse_i = ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau that are never stored: each row keeps an online pair
// (max, sum of exp(s - max)); Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", alg. 3.
// lib: grid elem logit_tile nan

override WG: u32 = 8;

const MASKED: f32 = -3.4e38;

struct Uniforms {
    n: u32,        // queries
    m: u32,        // keys
    d4: u32,       // vec4s in a row
    chunk: u32,    // keys in a chunk: whole tiles
    begin: u32,    // the part of every chunk that this dispatch streams: whole tiles too
    end: u32,
    inv_tau: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;  // (chunks, n): max, sum
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4) queries
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // (n) the key a query leaves out; m or more: none

// Of four rows. magnitude: of the largest logit, as bits: those of a NaN are above those of infinity.
struct Online { top: vec4f, sum: vec4f, magnitude: vec4u }

// Logits of one query with four keys; keys that do not count get the lowest value.
fn mask_row(s: vec4f, j: vec4u, out: u32) -> vec4f {
    return select(vec4f(MASKED), s * p.inv_tau, (j < vec4u(p.m)) & (j != vec4u(out)));
}

// One row of the result is one key, so that the functions below work on four queries at once.
fn mask(s: mat4x4f, first: u32, out: vec4u) -> mat4x4f {
    let j = four(first);
    return transpose(mat4x4f(mask_row(s[0], j, out.x), mask_row(s[1], j, out.y),
                             mask_row(s[2], j, out.z), mask_row(s[3], j, out.w)));
}

fn highest(s: mat4x4f) -> vec4f { return max(max(s[0], s[1]), max(s[2], s[3])); }

fn magnitude(s: vec4f) -> vec4u { return bitcast<vec4u>(s) & vec4u(0x7fffffffu); }

fn largest(s: mat4x4f) -> vec4u {
    return max(max(magnitude(s[0]), magnitude(s[1])), max(magnitude(s[2]), magnitude(s[3])));
}

fn exp_sum(s: mat4x4f, top: vec4f) -> vec4f {
    return (exp(s[0] - top) + exp(s[1] - top)) + (exp(s[2] - top) + exp(s[3] - top));
}

// Sums made while every key was masked count ones; the first real maximum multiplies them by exp(-3.4e38 - top) = 0.
fn absorb(o: Online, s0: mat4x4f, s1: mat4x4f, s2: mat4x4f, s3: mat4x4f) -> Online {
    let top = max(o.top, max(max(highest(s0), highest(s1)), max(highest(s2), highest(s3))));
    let sum = (exp_sum(s0, top) + exp_sum(s1, top)) + (exp_sum(s2, top) + exp_sum(s3, top));
    let largest = max(max(largest(s0), largest(s1)), max(largest(s2), largest(s3)));
    return Online(top, o.sum * exp(o.top - top) + sum, max(o.magnitude, largest));
}

fn load_state(at: vec4u) -> Online {
    let t = transpose(mat4x2f(state[at.x], state[at.y], state[at.z], state[at.w]));
    return Online(t[0], t[1], magnitude(t[1]));
}

fn store_state(at: vec4u, o: Online) {
    let sum = keep_nan(bitcast<vec4f>(o.magnitude), o.sum);
    state[at.x] = vec2f(o.top.x, sum.x);
    state[at.y] = vec2f(o.top.y, sum.y);
    state[at.z] = vec2f(o.top.z, sum.z);
    state[at.w] = vec2f(o.top.w, sum.w);
}

fn four_excluded(i: vec4u) -> vec4u { return vec4u(excluded[i.x], excluded[i.y], excluded[i.z], excluded[i.w]); }

// One invocation: 8 queries against a chunk of the keys, or the part of it that this dispatch is bounded to.
// One workgroup: 8 WG queries, one chunk. Rows past the end repeat the last one and store the same values.
@compute @workgroup_size(WG)
fn contrastive_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (p.n + TILE_ROWS * WG - 1) / (TILE_ROWS * WG);
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = ((group % row_groups) * WG + lid) * TILE_ROWS;
    let start = chunk * p.chunk + p.begin;
    let stop = min(min(chunk * p.chunk + p.end, (chunk + 1) * p.chunk), p.m);
    if i >= p.n || start >= stop { return; }

    let i0 = rows_a(i);
    let i1 = rows_a(i + 4);
    let out0 = four_excluded(i0);
    let out1 = four_excluded(i1);
    var o0 = Online(vec4f(MASKED), vec4f(0), vec4u());
    var o1 = o0;
    if p.begin > 0 {
        o0 = load_state(chunk * p.n + i0);
        o1 = load_state(chunk * p.n + i1);
    }
    for (var j = start; j < stop; j += TILE_COLUMNS) {
        let s = dot_tile(i, j);
        o0 = absorb(o0, mask(s[0], j, out0), mask(s[2], j + 4, out0),
                    mask(s[4], j + 8, out0), mask(s[6], j + 12, out0));
        o1 = absorb(o1, mask(s[1], j, out1), mask(s[3], j + 4, out1),
                    mask(s[5], j + 8, out1), mask(s[7], j + 12, out1));
    }
    store_state(chunk * p.n + i0, o0);
    store_state(chunk * p.n + i1, o1);
}
