// What the contrastive loss does once a row, around the tiles: columns from offsets, loss and softmax from the partial sums, the
// gradient of the extra positive, the sum over chunks.
//
// A row with its positive's logit s+ and the other logits s_j has, with `max` over all of them,
//   wrong = sum_j exp(s_j - max),   sum = wrong + exp(s+ - max),   loss = (max - s+) + ln sum
//   dloss/ds_j = exp(s_j - max) / sum,   dloss/ds+ = -wrong / sum = -miss
// The positive stays out of `wrong`, so that a row that is all but certain keeps its digits: there p+ - 1 and ln p+ would be
// differences of numbers near 1, in which 6e-8 are lost. A loss is never below 0, and is 0 where a row has no other key.
// lib: grid elem

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
    plane: u32,     // numbers of a kind in `softmax`: n up to whole vec4s
}
@group(0) @binding(0) var<uniform> p: Rows;
@group(0) @binding(1) var<storage, read_write> row_loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> row_lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> softmax: array<f32>; // (3, plane): max, 1 / sum, miss
@group(0) @binding(4) var<storage, read> state: array<f32>;     // (1 + 2 chunks, n): the positive's logit; max, sum of exp(s - max)
@group(0) @binding(5) var<storage, read> positive: array<u32>;  // (n) the key that is the positive
@group(0) @binding(6) var<storage, read> query: array<Elem4>;   // (n, d4)
@group(0) @binding(7) var<storage, read> candidate: array<Elem4>; // (n, d4) extra positives

// ln(1 + x) for x >= 0, to the last digits of a small x: 2 artanh(x / (x + 2)), with t <= 1/3 up to t^13 / 13.
fn log_1p(x: f32) -> f32 {
    let t = x / (x + 2.0);
    let u = t * t;
    let series = u * (1.0 / 3.0 + u * (1.0 / 5.0 + u * (1.0 / 7.0 + u * (1.0 / 9.0 + u * (1.0 / 11.0 + u * (1.0 / 13.0))))));
    return select(log(1.0 + x), 2.0 * t * (1.0 + series), x <= 1.0);
}

// One invocation, one row: the chunks' pairs in their order, then the loss and what backward reads. A positive that is no key makes
// the row NaN.
@compute @workgroup_size(WG)
fn contrastive_finish(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    // A bound that hangs on the parameters alone makes lavapipe (Mesa 22.3.6) compile the kernel anew in each launch.
    let cells = min(p.d4, arrayLength(&query));
    let chunks = min(p.chunks, arrayLength(&state));
    var aim = 0.0;
    for (var c = 0u; c < cells; c += 1) { aim += dot(vec4f(query[i * p.d4 + c]), vec4f(candidate[i * p.d4 + c])); }
    aim = select(state[i], aim * p.inv_tau, p.extra == 1);
    let known = (p.extra == 1) | (positive[i] < p.m);
    var top = -3.4e38;
    for (var k = 0u; k < chunks; k += 1) { top = max(top, state[(1u + 2u * k) * p.n + i]); }
    let peak = max(top, aim);
    var wrong = 0.0;
    for (var k = 0u; k < chunks; k += 1) {
        let at = (1u + 2u * k) * p.n + i;
        wrong += state[at + p.n] * exp(state[at] - peak);
    }
    let nan = bitcast<f32>(0x7fc00000u | p.extra);     // no constant: those that are no number do not compile
    let sum = wrong + exp(aim - peak);
    let log_sum = select(log(sum), log_1p(wrong), aim == peak);
    // Set here, and not carried by arithmetic: `max` and `exp` of some drivers lose NaN.
    row_loss[i] = select(nan, (peak - aim) + log_sum, known);
    row_lse[i] = select(nan, peak + log_sum, known);
    softmax[i] = peak;
    softmax[p.plane + i] = select(nan, 1.0 / sum, known);
    softmax[2u * p.plane + i] = select(nan, wrong / sum, known);
}

@group(0) @binding(1) var<storage, read_write> dquery: array<Elem4>;
@group(0) @binding(2) var<storage, read_write> dextra: array<Elem4>;
@group(0) @binding(3) var<storage, read> q: array<Elem4>;
@group(0) @binding(4) var<storage, read> extra: array<Elem4>;
@group(0) @binding(5) var<storage, read> saved: array<f32>;     // `softmax` of the forward pass
@group(0) @binding(6) var<storage, read> dloss: array<f32>;

// One invocation, one row: with w = -g miss, dq_i = w extra_i and dextra_i = w q_i.
@compute @workgroup_size(WG)
fn contrastive_extra_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let e = i * p.d4;
    let w = -p.scale * dloss[0] * saved[2u * p.plane + i];
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
