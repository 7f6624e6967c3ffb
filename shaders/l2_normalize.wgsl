// Rows of x [rows, c] scaled to unit Euclidean length: norm = sqrt(sum x^2), y = x / max(norm, eps).
//   dx = (dy - y sum y dy) / norm      where norm >= eps
//   dx = dy / eps                      where the clamp holds, and y no longer depends on the norm
// One row belongs to LANES invocations. What they keep of it in registers (lib/row.wgsl) is read once.
// lib: grid elem lane row sums

override WG: u32 = 64;
override LANES: u32 = 32;

struct Uniforms { rows: u32, c: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Cell>;           // (rows, c)
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;        // (rows)
@group(0) @binding(3) var<storage, read> x: array<Cell>;                 // (rows, c)

// Backward.
@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;          // (rows, c)
@group(0) @binding(2) var<storage, read> dy: array<Cell>;                // (rows, c)
@group(0) @binding(3) var<storage, read> result: array<Cell>;            // y of the forward pass, (rows, c)
@group(0) @binding(4) var<storage, read> saved_norms: array<f32>;        // (rows)

@compute @workgroup_size(WG)
fn l2_normalize(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var kept: array<Cell, HELD>;
    for (var n = 0u; n < KEEP; n++) { kept[n] = x[nth(row, n)]; }
    var part = Lane();
    for (var n = 0u; n < KEEP; n++) { part += select(Lane(), Lane(kept[n]) * Lane(kept[n]), has(row, n)); }
    for (var i = rest(row); i < row.end; i += LANES) {
        let v = Lane(x[i]);
        part += v * v;
    }
    let norm = sqrt(row_sum(vec2f(lane_sum(part)), lid).x);
    let scale = 1.0 / select(norm, p.eps, norm < p.eps); // NaN stays
    for (var n = 0u; n < KEEP; n++) { if has(row, n) { y[row.begin + n * LANES] = Cell(Lane(kept[n]) * scale); } }
    for (var i = rest(row); i < row.end; i += LANES) { y[i] = Cell(Lane(x[i]) * scale); }
    if row.live && row.lane == 0u { norms[row.index] = norm; }
}

fn dx_of(y: Cell, dy: Cell, dot: f32, scale: f32) -> Cell { return Cell((Lane(dy) - Lane(y) * dot) * scale); }

@compute @workgroup_size(WG)
fn l2_normalize_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    var ys: array<Cell, HELD>;
    var dys: array<Cell, HELD>;
    for (var n = 0u; n < KEEP; n++) {
        ys[n] = result[nth(row, n)];
        dys[n] = dy[nth(row, n)];
    }
    var part = Lane();
    for (var n = 0u; n < KEEP; n++) { part += select(Lane(), Lane(ys[n]) * Lane(dys[n]), has(row, n)); }
    for (var i = rest(row); i < row.end; i += LANES) { part += Lane(result[i]) * Lane(dy[i]); }
    var dot = row_sum(vec2f(lane_sum(part)), lid).x;
    if !row.live { return; }
    let norm = saved_norms[row.index];
    if norm < p.eps { dot = 0.0; }
    let scale = 1.0 / max(norm, p.eps);
    for (var n = 0u; n < KEEP; n++) { if has(row, n) { dx[row.begin + n * LANES] = dx_of(ys[n], dys[n], dot, scale); } }
    for (var i = rest(row); i < row.end; i += LANES) { dx[i] = dx_of(result[i], dy[i], dot, scale); }
}
