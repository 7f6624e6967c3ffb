// Mean cross-entropy of softmax(x / tau) against one label a row of x [rows, c], z = (x - max x) / tau:
//   loss = mean over rows of (ln sum e^z - z[label])
//   dx   = (e^z / sum e^z - [column == label]) dloss / (rows tau)
// Forward keeps the row's maximum and ln sum e^z; backward makes the probabilities again from those two numbers, so
// neither they nor the logits' softmax is ever stored. The mean over `losses` is a reduction of its own.
// A label >= c reads nothing; it makes its row's loss and gradient NaN.
// lib: grid elem lane row sums exp_sum nan

override WG: u32 = 64;
override LANES: u32 = 32;

struct Uniforms { rows: u32, c: u32, inv_tau: f32, grad_scale: f32, nan: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// Forward.
@group(0) @binding(1) var<storage, read_write> losses: array<f32>;        // (rows)
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;           // ln sum e^(x / tau), (rows)
@group(0) @binding(3) var<storage, read_write> peak_log_sum: array<vec2f>; // max x and ln sum e^z, (rows, 2)
@group(0) @binding(4) var<storage, read> x: array<Cell>;                  // (rows, c)
@group(0) @binding(5) var<storage, read> labels: array<u32>;              // (rows)

// Backward.
@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;           // (rows, c)
@group(0) @binding(2) var<storage, read> dloss: array<f32>;               // (1)
@group(0) @binding(3) var<storage, read> logits: array<Cell>;             // x of the forward pass, (rows, c)
@group(0) @binding(4) var<storage, read> row_labels: array<u32>;          // (rows)
@group(0) @binding(5) var<storage, read> saved: array<vec2f>;             // peak_log_sum of the forward pass, (rows, 2)

// LANES invocations take one row: maximum and sum in one pass, then lane 0 writes.
@compute @workgroup_size(WG)
fn softmax_cross_entropy(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var loaded: array<Cell, HELD>;
    for (var n = 0u; n < KEEP; n++) { loaded[n] = x[nth(row, n)]; }
    var sum = exp_sum();
    for (var n = 0u; n < KEEP; n++) { sum = exp_sum_add_if(has(row, n), sum, Lane(loaded[n])); }
    for (var i = rest(row); i < row.end; i += LANES) { sum = exp_sum_add(sum, Lane(x[i])); }
    let peak_and_sum = exp_sum_row(sum, lid);
    let peak = peak_and_sum.x;
    let log_sum = keep_nan_1(peak_and_sum.y, log(peak_and_sum.y));
    if !row.live || row.lane != 0u { return; }
    let label = labels[row.index];
    if label < p.c {
        let e = row.index * p.c + label;
        losses[row.index] = log_sum - (lane_at(Lane(x[e / LANE]), e % LANE) - peak) * p.inv_tau;
    } else {
        losses[row.index] = p.nan;
    }
    lse[row.index] = peak * p.inv_tau + log_sum;
    peak_log_sum[row.index] = vec2f(peak, log_sum);
}

fn probability(v: Cell, s: vec2f) -> Lane { return exp((Lane(v) - s.x) * p.inv_tau - s.y); }

// LANES invocations take one row, with no sum to share.
@compute @workgroup_size(WG)
fn softmax_cross_entropy_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    if !row.live { return; }
    let label = row_labels[row.index];
    let s = saved[row.index];
    var scale = keep_nan_1(s.y, dloss[0] * p.grad_scale);       // a NaN among the logits, which e^z may lose
    if label >= p.c { scale = p.nan; }
    var loaded: array<Cell, HELD>;
    for (var n = 0u; n < KEEP; n++) { loaded[n] = logits[nth(row, n)]; }
    let hit = row.index * p.c + label;
    for (var n = 0u; n < KEEP; n++) {
        let i = row.begin + n * LANES;
        if i < row.end { dx[i] = Cell((probability(loaded[n], s) - lane_hit(i, hit)) * scale); }
    }
    for (var i = rest(row); i < row.end; i += LANES) { dx[i] = Cell((probability(logits[i], s) - lane_hit(i, hit)) * scale); }
}
