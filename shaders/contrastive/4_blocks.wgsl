// Passes over a block of products q_i . k_j, as large as stays in a cache, that a plain matrix product has made; the logits are
// s_ij = q_i . k_j / tau. What is done once an element is apart from what is done d times: a small kernel beside a fast one.
//
//   contrastive_states   lse_i = ln sum_j exp(s_ij), block after block: an online pair (max, sum of exp(s - max)) for every 64
//                        keys' worth of a row; Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", alg. 3.
//                        rows.wgsl merges the pairs.
//   contrastive_weights  the products become w_ij = g (exp(s_ij - lse_i) - [j positive for i]), g = dloss / (queries tau): what
//                        the loss's gradient to them is. Then dq += w k and dk += w^T q are matrix products too. With both
//                        sides queries (one tensor, s symmetric) w_ij + w_ji is written, and w k is dq + dk.
//
// An element costs one read and the states' exponentials, or a read, an exponential and a write. An invocation takes 64 columns
// of a row, whose own numbers it reads once. For CPU adapters: neighbouring invocations take neighbouring rows.
// lib: grid elem nan

override WG: u32 = 64;
override BOTH: bool = false;    // the keys are the queries
const STRIP: u32 = 16;  // vec4s of a row an invocation takes
const MASKED: f32 = -3.4e38;

struct Uniforms {
    n: u32,         // rows of the block
    m4: u32,        // vec4s in a row of it
    row: u32,       // index of its first row among all queries
    column4: u32,   // index of its first vec4 among all keys
    queries: u32,
    keys: u32,      // columns past them are padding
    inv_tau: f32,
    scale: f32,     // 1 / (queries tau)
}
@group(0) @binding(0) var<uniform> p: Uniforms;

// Where an invocation works: row r of the block, query i; vec4s [begin, end) of the row, strip by number.
struct Strip { r: u32, i: u32, number: u32, begin: u32, end: u32 }

fn strip_of(id: u32) -> Strip {
    let number = id / p.n;
    return Strip(id % p.n, p.row + id % p.n, number, number * STRIP, min((number + 1u) * STRIP, p.m4));
}

fn keys_at(c: u32) -> vec4u { return 4u * (p.column4 + c) + vec4u(0u, 1u, 2u, 3u); }

@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;     // (strips, queries): max, sum
@group(0) @binding(2) var<storage, read> products: array<vec4f>;        // (n, m4)
@group(0) @binding(3) var<storage, read> left_out: array<u32>;          // (queries) the key a query leaves out; no key: none

fn highest(s: vec4f) -> f32 { return max(max(s.x, s.y), max(s.z, s.w)); }

// Sums made while every key was masked count ones; the first real maximum multiplies them by exp(-3.4e38 - top) = 0.
@compute @workgroup_size(WG)
fn contrastive_states(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = strip_of(item_index(at, lid, WG));
    if t.begin >= p.m4 { return; }
    let to = t.number * p.queries + t.i;
    var pair = select(state[to], vec2f(MASKED, 0.0), p.column4 == 0u);
    let without = vec4u(left_out[t.i]);
    var distance = vec4f();     // of the logits from the maxima, added up: at least -infinity, unless a logit is NaN
    for (var c = t.begin; c < t.end; c++) {
        let key = keys_at(c);
        let counts = (key < vec4u(p.keys)) & (key != without);
        let s = select(vec4f(MASKED), products[t.r * p.m4 + c] * p.inv_tau, counts);
        let top = max(pair.x, highest(s));
        distance += s - top;
        pair = vec2f(top, pair.y * exp(pair.x - top) + dot(exp(s - top), vec4f(1.0)));
    }
    state[to] = vec2f(pair.x, keep_nan_1((distance.x + distance.y) + (distance.z + distance.w), pair.y));
}

@group(0) @binding(1) var<storage, read_write> w: array<vec4f>;         // (n, m4): products, then weights
// Of the queries, four at a time: the key each leaves out, the key it aims at, its log-sum-exp.
@group(0) @binding(2) var<storage, read> excluded: array<vec4u>;
@group(0) @binding(3) var<storage, read> positive: array<vec4u>;
@group(0) @binding(4) var<storage, read> lse: array<vec4f>;
@group(0) @binding(5) var<storage, read> dloss: array<f32>;

// A probability is at most 1: the bound holds rounding, and the excluded logit, which may lie far above lse.
// Where a logit of the query is NaN its lse is, and so is `zero`, which `exp` cannot lose.
fn weight(s: vec4f, key: vec4u, lse: vec4f, zero: vec4f, positive: vec4u, excluded: vec4u) -> vec4f {
    let w = exp(min(s - lse, vec4f())) - select(zero, vec4f(1.0) + zero, key == positive);
    return select(w, vec4f(), key == excluded);
}

@compute @workgroup_size(WG)
fn contrastive_weights(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = strip_of(item_index(at, lid, WG));
    if t.begin >= p.m4 { return; }
    let g = p.scale * dloss[0];
    let row_lse = vec4f(lse[t.i / 4u][t.i % 4u]);
    let row_zero = keep_nan(row_lse, vec4f());
    let row_positive = vec4u(positive[t.i / 4u][t.i % 4u]);
    let row_excluded = vec4u(excluded[t.i / 4u][t.i % 4u]);
    for (var c = t.begin; c < t.end; c++) {
        let e = t.r * p.m4 + c;
        let key = keys_at(c);
        let s = w[e] * p.inv_tau;
        var sum = weight(s, key, row_lse, row_zero, row_positive, row_excluded);
        if BOTH {
            let j4 = p.column4 + c;
            sum += weight(s, vec4u(t.i), lse[j4], keep_nan(lse[j4], vec4f()), positive[j4], excluded[j4]);
        }
        w[e] = select(vec4f(), g * sum, key < vec4u(p.keys));
    }
}
