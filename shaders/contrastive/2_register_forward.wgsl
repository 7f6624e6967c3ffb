// ln sum_j exp(s_ij) over logits s_ij = a_i . b_j / tau that are never stored: each row keeps the logit of its positive, and of
// the others an online pair (max, sum of exp(s - max)); Milakov & Gimelshein 2018, "Online normalizer calculation for softmax",
// alg. 3.
// lib: grid elem logit_tile

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
@group(0) @binding(1) var<storage, read_write> state: array<f32>;    // (1 + 2 chunks, n): the positive's logit; max, sum
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4) queries
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4) keys
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // (n) the key a query leaves out; m or more: none
@group(0) @binding(5) var<storage, read> positive: array<u32>;       // (n) the key a query aims at; m or more: none

struct Online { top: vec4f, sum: vec4f }  // of four rows
struct Four { index: vec4u, excluded: vec4u, positive: vec4u }  // four queries

// Logits of the r-th of four queries with four keys; keys that do not count get the lowest value. The positive's is kept apart.
fn mask_row(dots: vec4f, j: vec4u, i: Four, r: u32) -> vec4f {
    let s = dots * p.inv_tau;
    let aim = j == vec4u(i.positive[r]);
    let counts = (j < vec4u(p.m)) & (j != vec4u(i.excluded[r]));
    if any(aim & counts) { state[i.index[r]] = dot(select(vec4f(), s, aim), vec4f(1)); }
    return select(vec4f(MASKED), s, counts & !aim);
}

// One row of the result is one key, so that the functions below work on four queries at once.
fn mask(s: mat4x4f, first: u32, i: Four) -> mat4x4f {
    let j = four(first);
    return transpose(mat4x4f(mask_row(s[0], j, i, 0), mask_row(s[1], j, i, 1),
                             mask_row(s[2], j, i, 2), mask_row(s[3], j, i, 3)));
}

fn highest(s: mat4x4f) -> vec4f { return max(max(s[0], s[1]), max(s[2], s[3])); }

fn exp_sum(s: mat4x4f, top: vec4f) -> vec4f {
    return (exp(s[0] - top) + exp(s[1] - top)) + (exp(s[2] - top) + exp(s[3] - top));
}

// Sums made while every key was masked count ones; the first real maximum multiplies them by exp(-3.4e38 - top) = 0.
fn absorb(o: Online, s0: mat4x4f, s1: mat4x4f, s2: mat4x4f, s3: mat4x4f) -> Online {
    let top = max(o.top, max(max(highest(s0), highest(s1)), max(highest(s2), highest(s3))));
    let sum = (exp_sum(s0, top) + exp_sum(s1, top)) + (exp_sum(s2, top) + exp_sum(s3, top));
    return Online(top, o.sum * exp(o.top - top) + sum);
}

fn load_four(at: vec4u) -> vec4f { return vec4f(state[at.x], state[at.y], state[at.z], state[at.w]); }

fn store_four(at: vec4u, x: vec4f) {
    state[at.x] = x.x;
    state[at.y] = x.y;
    state[at.z] = x.z;
    state[at.w] = x.w;
}

fn load_state(at: vec4u) -> Online { return Online(load_four(at), load_four(at + p.n)); }

fn store_state(at: vec4u, o: Online) {
    store_four(at, o.top);
    store_four(at + p.n, o.sum);
}

fn four_queries(i: vec4u) -> Four {
    return Four(i, vec4u(excluded[i.x], excluded[i.y], excluded[i.z], excluded[i.w]),
                vec4u(positive[i.x], positive[i.y], positive[i.z], positive[i.w]));
}

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
    let four0 = four_queries(i0);
    let four1 = four_queries(i1);
    let to = (1 + 2 * chunk) * p.n;
    var o0 = Online(vec4f(MASKED), vec4f(0));
    var o1 = o0;
    if p.begin > 0 {
        o0 = load_state(to + i0);
        o1 = load_state(to + i1);
    }
    for (var j = start; j < stop; j += TILE_COLUMNS) {
        let s = dot_tile(i, j);
        o0 = absorb(o0, mask(s[0], j, four0), mask(s[2], j + 4, four0),
                    mask(s[4], j + 8, four0), mask(s[6], j + 12, four0));
        o1 = absorb(o1, mask(s[1], j, four1), mask(s[3], j + 4, four1),
                    mask(s[5], j + 8, four1), mask(s[7], j + 12, four1));
    }
    store_state(to + i0, o0);
    store_state(to + i1, o1);
}
