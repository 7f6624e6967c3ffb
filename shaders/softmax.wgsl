// Softmax over the last axis of [rows, c] at temperature tau, and its logarithm:
//   z = (x - max x) / tau
//   softmax       y = e^z / sum e^z          dx = y (dy - sum y dy) / tau
//   log_softmax   y = z - ln sum e^z         dx = (dy - e^y sum dy) / tau
// The maximum goes out before the division, so a small tau loses no digits. One row belongs to LANES invocations, which
// read it three times forward (maximum, sum, result; e^z is cheaper to compute again than to store) and twice backward.
// lib: grid elem row

override WG: u32 = 64;
override LANES: u32 = 32;

struct Params { rows: u32, c: u32, inv_tau: f32 }
@group(0) @binding(0) var<uniform> p: Params;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;           // (rows, c)
@group(0) @binding(2) var<storage, read> x: array<Elem>;                 // (rows, c)

// Backward.
@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;          // (rows, c)
@group(0) @binding(2) var<storage, read> dy: array<Elem>;                // (rows, c)
@group(0) @binding(3) var<storage, read> result: array<Elem>;            // y of the forward pass, (rows, c)

// Maximum of the row and sum e^z.
fn peak_and_sum(row: Row, lid: u32) -> vec2f {
    var top = -3.4e38;
    for (var i = row.begin; i < row.end; i += LANES) { top = max(top, f32(x[i])); }
    let peak = row_max(top, lid);
    var sum = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) { sum += exp((f32(x[i]) - peak) * p.inv_tau); }
    return vec2f(peak, row_sum(vec2f(sum), lid).x);
}

@compute @workgroup_size(WG)
fn softmax(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    let s = peak_and_sum(row, lid);
    let scale = 1.0 / s.y;
    for (var i = row.begin; i < row.end; i += LANES) { y[i] = Elem(exp((f32(x[i]) - s.x) * p.inv_tau) * scale); }
}

@compute @workgroup_size(WG)
fn log_softmax(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    let s = peak_and_sum(row, lid);
    let log_sum = log(s.y);
    for (var i = row.begin; i < row.end; i += LANES) { y[i] = Elem((f32(x[i]) - s.x) * p.inv_tau - log_sum); }
}

@compute @workgroup_size(WG)
fn softmax_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    var sum = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) { sum += f32(result[i]) * f32(dy[i]); }
    let dot = row_sum(vec2f(sum), lid).x;
    for (var i = row.begin; i < row.end; i += LANES) {
        dx[i] = Elem(f32(result[i]) * (f32(dy[i]) - dot) * p.inv_tau);
    }
}

@compute @workgroup_size(WG)
fn log_softmax_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    var sum = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) { sum += f32(dy[i]); }
    let total = row_sum(vec2f(sum), lid).x;
    for (var i = row.begin; i < row.end; i += LANES) {
        dx[i] = Elem((f32(dy[i]) - exp(f32(result[i])) * total) * p.inv_tau);
    }
}
