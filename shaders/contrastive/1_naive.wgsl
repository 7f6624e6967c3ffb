// The contrastive loss with one invocation a row and one logit at a time: what the faster kernels compute, in the fewest words.
//
//   forward:  the row's online pair (max, sum of exp(s - max)) over logits s_ij = a_i . b_j / tau
//   backward: da_i = g sum_j w_ij b_j, w_ij = exp(s_ij - lse) - [positive], g = dloss / (queries tau)
//
// A pair of rows costs 2 d operations and 8 d bytes forward, 4 d and 20 d backward: a quarter of an operation a byte or less.
// lib: grid elem nan

override WG: u32 = 64;

const MASKED: f32 = -3.4e38;

struct Forward { n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32 }
@group(0) @binding(0) var<uniform> f: Forward;
@group(0) @binding(1) var<storage, read_write> state: array<vec2f>;  // (chunks, n): max, sum
struct Backward {
    n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32, scale: f32,
    queries: u32,  // which rows are queries: 1 those of a, 2 those of b, 3 both
}
@group(0) @binding(0) var<uniform> p: Backward;
@group(0) @binding(1) var<storage, read_write> da: array<vec4f>;     // (chunks, n, d4)
@group(0) @binding(2) var<storage, read> a: array<Elem4>;            // (n, d4)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;            // (m, d4)
@group(0) @binding(4) var<storage, read> excluded: array<u32>;       // the key a query leaves out
@group(0) @binding(5) var<storage, read> positive: array<u32>;       // the key a query aims at
@group(0) @binding(6) var<storage, read> lse: array<f32>;
@group(0) @binding(7) var<storage, read> dloss: array<f32>;

fn dot_rows(i: u32, j: u32, d4: u32) -> f32 {
    var s = 0.0;
    for (var c = 0u; c < d4; c++) { s += dot(vec4f(a[i * d4 + c]), vec4f(b[j * d4 + c])); }
    return s;
}

// One invocation: row i against its chunk of the keys, or the part of it that this dispatch is bounded to.
@compute @workgroup_size(WG)
fn contrastive_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (f.n + WG - 1u) / WG;
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = group % row_groups * WG + lid;
    let start = chunk * f.chunk + f.begin;
    let stop = min(min(chunk * f.chunk + f.end, (chunk + 1u) * f.chunk), f.m);
    if i >= f.n || start >= stop { return; }
    var o = vec2f(MASKED, 0.0);
    if f.begin > 0u { o = state[chunk * f.n + i]; }
    for (var j = start; j < stop; j++) {
        if j == excluded[i] { continue; }
        let s = dot_rows(i, j, f.d4) * f.inv_tau;
        let top = max(o.x, s);
        o = vec2f(top, keep_nan_1(s, o.y * exp(o.x - top) + exp(s - top)));
    }
    state[chunk * f.n + i] = o;
}

// A probability is at most 1: the bound holds rounding. Where a logit of the query is NaN its lse is.
fn weight(s: f32, query: u32, key: u32) -> f32 {
    if key == excluded[query] { return 0.0; }
    return keep_nan_1(lse[query], exp(min(s - lse[query], 0.0)) - select(0.0, 1.0, key == positive[query]));
}

// One invocation: the gradient of row i from its chunk of b, or a part of it.
@compute @workgroup_size(WG)
fn contrastive_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row_groups = (p.n + WG - 1u) / WG;
    let group = group_index(at);
    let chunk = group / row_groups;
    let i = group % row_groups * WG + lid;
    let start = chunk * p.chunk + p.begin;
    let stop = min(min(chunk * p.chunk + p.end, (chunk + 1u) * p.chunk), p.m);
    if i >= p.n || start >= stop { return; }
    let row = (chunk * p.n + i) * p.d4;
    if p.begin == 0u {
        for (var c = 0u; c < p.d4; c++) { da[row + c] = vec4f(); }
    }
    let g = p.scale * dloss[0];
    for (var j = start; j < stop; j++) {
        let s = dot_rows(i, j, p.d4) * p.inv_tau;
        var w = 0.0;
        if (p.queries & 1u) != 0u { w += weight(s, i, j); }
        if (p.queries & 2u) != 0u { w += weight(s, j, i); }
        for (var c = 0u; c < p.d4; c++) { da[row + c] += g * w * vec4f(b[j * p.d4 + c]); }
    }
}
