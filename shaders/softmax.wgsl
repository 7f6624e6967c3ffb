// Softmax over the last axis of [rows, c] at temperature tau, and its logarithm:
//   z = (x - max x) / tau
//   softmax       y = e^z / sum e^z          dx = y (dy - sum y dy) / tau
//   log_softmax   y = z - ln sum e^z         dx = (dy - e^y sum dy) / tau
// The maximum goes out before the division, so a small tau loses no digits. One row belongs to LANES invocations, which
// pass over it twice forward (maximum and sum, result; e^z is cheaper to compute again than to store) and twice backward. What
// they keep of it in registers (lib/row.wgsl) is read once.
// lib: grid elem lane row sums exp_sum nan

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

// Maximum of the row and sum e^z; keeps what there is room for.
fn peak_and_sum(row: Row, kept: ptr<function, array<Cell, HELD>>, lid: u32) -> vec2f {
    for (var n = 0u; n < KEEP; n++) { (*kept)[n] = x[nth(row, n)]; }
    var s = exp_sum();
    for (var n = 0u; n < KEEP; n++) { s = exp_sum_add_if(has(row, n), s, Lane((*kept)[n])); }
    for (var i = rest(row); i < row.end; i += LANES) { s = exp_sum_add(s, Lane(x[i])); }
    return exp_sum_row(s, lid);
}

fn softmax_of(v: Cell, peak: f32, scale: f32) -> Cell { return Cell(exp((Lane(v) - peak) * p.inv_tau) * scale); }
fn log_softmax_of(v: Cell, peak: f32, log_sum: f32) -> Cell { return Cell((Lane(v) - peak) * p.inv_tau - log_sum); }

@compute @workgroup_size(WG)
fn softmax(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var kept: array<Cell, HELD>;
    let s = peak_and_sum(row, &kept, lid);
    let scale = 1.0 / s.y;
    for (var n = 0u; n < KEEP; n++) { if has(row, n) { y[row.begin + n * LANES] = softmax_of(kept[n], s.x, scale); } }
    for (var i = rest(row); i < row.end; i += LANES) { y[i] = softmax_of(x[i], s.x, scale); }
}

@compute @workgroup_size(WG)
fn log_softmax(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var kept: array<Cell, HELD>;
    let s = peak_and_sum(row, &kept, lid);
    let log_sum = keep_nan_1(s.y, log(s.y));
    for (var n = 0u; n < KEEP; n++) { if has(row, n) { y[row.begin + n * LANES] = log_softmax_of(kept[n], s.x, log_sum); } }
    for (var i = rest(row); i < row.end; i += LANES) { y[i] = log_softmax_of(x[i], s.x, log_sum); }
}

// y and dy of a row as far as a lane keeps them.
struct Kept { y: array<Cell, HELD>, dy: array<Cell, HELD> }

fn kept_of(row: Row) -> Kept {
    var kept: Kept;
    for (var n = 0u; n < KEEP; n++) {
        kept.y[n] = result[nth(row, n)];
        kept.dy[n] = dy[nth(row, n)];
    }
    return kept;
}

fn softmax_dx(y: Cell, dy: Cell, dot: f32) -> Cell { return Cell(Lane(y) * (Lane(dy) - dot) * p.inv_tau); }
fn log_softmax_dx(y: Cell, dy: Cell, total: f32) -> Cell { return Cell((Lane(dy) - exp(Lane(y)) * total) * p.inv_tau); }

@compute @workgroup_size(WG)
fn softmax_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var kept = kept_of(row);
    var sum = Lane();
    for (var n = 0u; n < KEEP; n++) { sum += select(Lane(), Lane(kept.y[n]) * Lane(kept.dy[n]), has(row, n)); }
    for (var i = rest(row); i < row.end; i += LANES) { sum += Lane(result[i]) * Lane(dy[i]); }
    let dot = row_sum(vec2f(lane_sum(sum)), lid).x;
    for (var n = 0u; n < KEEP; n++) {
        if has(row, n) { dx[row.begin + n * LANES] = softmax_dx(kept.y[n], kept.dy[n], dot); }
    }
    for (var i = rest(row); i < row.end; i += LANES) { dx[i] = softmax_dx(result[i], dy[i], dot); }
}

@compute @workgroup_size(WG)
fn log_softmax_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var kept = kept_of(row);
    var sum = Lane();
    for (var n = 0u; n < KEEP; n++) { sum += select(Lane(), Lane(kept.dy[n]), has(row, n)); }
    for (var i = rest(row); i < row.end; i += LANES) { sum += Lane(dy[i]); }
    // A NaN in x is in all of its row of y, and e^y may lose it.
    let first = lane_at(Lane(result[select(0u, row.begin - row.lane, row.live)]), 0u);
    let total = keep_nan_1(first, row_sum(vec2f(lane_sum(sum)), lid).x);
    for (var n = 0u; n < KEEP; n++) {
        if has(row, n) { dx[row.begin + n * LANES] = log_softmax_dx(kept.y[n], kept.dy[n], total); }
    }
    for (var i = rest(row); i < row.end; i += LANES) { dx[i] = log_softmax_dx(result[i], dy[i], total); }
}
