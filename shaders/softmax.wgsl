// Softmax over the last axis of [rows, c] at temperature tau, and its logarithm:
//   z = (x - max x) / tau
//   softmax       y = e^z / sum e^z          dx = y (dy - sum y dy) / tau
//   log_softmax   y = z - ln sum e^z         dx = (dy - e^y sum dy) / tau
// The maximum goes out before the division, so a small tau loses no digits. One row belongs to LANES invocations, which
// read it twice forward (maximum and sum, result; e^z is cheaper to compute again than to store) and twice backward.
// lib: grid elem lane row sums exp_sum

override WG: u32 = 64;
override LANES: u32 = 32;

struct Uniforms { rows: u32, c: u32, inv_tau: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Cell>;           // (rows, c)
@group(0) @binding(2) var<storage, read> x: array<Cell>;                 // (rows, c)

// Backward.
@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;          // (rows, c)
@group(0) @binding(2) var<storage, read> dy: array<Cell>;                // (rows, c)
@group(0) @binding(3) var<storage, read> result: array<Cell>;            // y of the forward pass, (rows, c)

// Maximum of the row and sum e^z.
fn peak_and_sum(row: Row, lid: u32) -> vec2f {
    var s = ExpSum(Lane(-3.4e38), Lane());
    for (var i = row.begin; i < row.end; i += LANES) { s = exp_sum_add(s, Lane(x[i])); }
    return exp_sum_row(s, lid);
}

@compute @workgroup_size(WG)
fn softmax(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    let s = peak_and_sum(row, lid);
    let scale = 1.0 / s.y;
    for (var i = row.begin; i < row.end; i += LANES) { y[i] = Cell(exp((Lane(x[i]) - s.x) * p.inv_tau) * scale); }
}

@compute @workgroup_size(WG)
fn log_softmax(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    let s = peak_and_sum(row, lid);
    let log_sum = log(s.y);
    for (var i = row.begin; i < row.end; i += LANES) { y[i] = Cell((Lane(x[i]) - s.x) * p.inv_tau - log_sum); }
}

@compute @workgroup_size(WG)
fn softmax_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var sum = Lane();
    for (var i = row.begin; i < row.end; i += LANES) { sum += Lane(result[i]) * Lane(dy[i]); }
    let dot = row_sum(vec2f(lane_sum(sum)), lid).x;
    for (var i = row.begin; i < row.end; i += LANES) {
        dx[i] = Cell(Lane(result[i]) * (Lane(dy[i]) - dot) * p.inv_tau);
    }
}

@compute @workgroup_size(WG)
fn log_softmax_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var sum = Lane();
    for (var i = row.begin; i < row.end; i += LANES) { sum += Lane(dy[i]); }
    let total = row_sum(vec2f(lane_sum(sum)), lid).x;
    for (var i = row.begin; i < row.end; i += LANES) {
        dx[i] = Cell((Lane(dy[i]) - exp(Lane(result[i])) * total) * p.inv_tau);
    }
}
