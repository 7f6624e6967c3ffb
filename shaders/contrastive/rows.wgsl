// What the contrastive loss does once a row, around the tiles: columns from offsets, lse and loss from the partial sums,
// the gradient of the extra positive, the sum over chunks.
// lib: grid elem nan

override WG: u32 = 64;

struct Columns { n: u32, m: u32, offset: u32 }
@group(0) @binding(0) var<uniform> columns: Columns;
@group(0) @binding(1) var<storage, read_write> column: array<u32>;

// One invocation: column[i] = (i + offset) mod m; offsets of m or more stand for no column.
@compute @workgroup_size(WG)
fn contrastive_columns(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= columns.n { return; }
    column[i] = select((i % columns.m + columns.offset) % columns.m, 0xffffffffu, columns.offset >= columns.m);
}

struct Rows {
    n: u32,
    m: u32,
    d4: u32,
    chunks: u32,
    extra: u32,     // 1: row i of `key` is its positive, and one more candidate; 0: the positive is one of the keys
    inv_tau: f32,
    scale: f32,     // 1 / (n tau)
}
@group(0) @binding(0) var<uniform> p: Rows;
@group(0) @binding(1) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> row_lse: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<vec2f>;   // (chunks, n): max, sum of exp(s - max)
@group(0) @binding(4) var<storage, read> query: array<Elem4>;   // (n, d4)
@group(0) @binding(5) var<storage, read> key: array<Elem4>;     // (m, d4), or with `extra` the positives (n, d4)
@group(0) @binding(6) var<storage, read> positive: array<u32>;  // (n)

// One invocation, one row: the chunks' pairs in their order, then
// lse = max + ln sum,  loss = lse - s_positive, taken as (max - s_positive) + ln sum, which loses less.
@compute @workgroup_size(WG)
fn contrastive_finish(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    var row = i;
    if p.extra == 0 { row = min(positive[i], p.m - 1); }
    var s = 0.0;
    for (var c = 0u; c < p.d4; c += 1) {
        s += dot(vec4f(query[i * p.d4 + c]), vec4f(key[row * p.d4 + c]));
    }
    s *= p.inv_tau;
    var top = -3.4e38;
    if p.extra == 1 { top = s; }
    for (var k = 0u; k < p.chunks; k += 1) { top = max(top, state[k * p.n + i].x); }
    var sum = 0.0;
    if p.extra == 1 { sum = keep_nan_1(s, exp(s - top)); }
    for (var k = 0u; k < p.chunks; k += 1) {
        let part = state[k * p.n + i];
        sum += part.y * exp(part.x - top);
    }
    let log_sum = keep_nan_1(sum, log(sum));
    row_loss[i] = (top - s) + log_sum;
    row_lse[i] = top + log_sum;
}

@group(0) @binding(1) var<storage, read_write> dquery: array<Elem4>;
@group(0) @binding(2) var<storage, read_write> dextra: array<Elem4>;
@group(0) @binding(3) var<storage, read> q: array<Elem4>;
@group(0) @binding(4) var<storage, read> extra: array<Elem4>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;
@group(0) @binding(6) var<storage, read> dloss: array<f32>;

// One invocation, one row: with w = g (exp(s - lse) - 1), dq_i = w extra_i and dextra_i = w q_i.
@compute @workgroup_size(WG)
fn contrastive_extra_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let e = i * p.d4;
    var s = 0.0;
    for (var c = 0u; c < p.d4; c += 1) { s += dot(vec4f(q[e + c]), vec4f(extra[e + c])); }
    let weight = exp(min(s * p.inv_tau - lse[i], 0.0)) - 1.0;
    let w = p.scale * dloss[0] * keep_nan_1(lse[i], weight);
    for (var c = e; c < e + p.d4; c += 1) {
        dquery[c] = Elem4(w * vec4f(extra[c]));
        dextra[c] = Elem4(w * vec4f(q[c]));
    }
}

struct Sum { n: u32, chunks: u32 }
@group(0) @binding(0) var<uniform> sum: Sum;
@group(0) @binding(1) var<storage, read_write> total: array<Elem>;
@group(0) @binding(2) var<storage, read> part: array<Elem>;     // (chunks, n)

// One invocation, one element: the chunks added in their order.
@compute @workgroup_size(WG)
fn contrastive_sum_chunks(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= sum.n { return; }
    var t = 0.0;
    for (var k = 0u; k < sum.chunks; k += 1) { t += f32(part[k * sum.n + i]); }
    total[i] = Elem(t);
}
