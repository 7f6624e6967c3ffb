// Rows of y [m, c], chosen by index, moved towards x [n, c] and scaled to unit length, in place:
//   y_at = v / max(norm(v), eps),   v = y_at + weight (x - y_at)
// the update of a memory bank. One row belongs to LANES invocations.
// lib: grid row sums

override WG: u32 = 64;
override LANES: u32 = 32;

struct Uniforms { rows: u32, c: u32, m: u32, weight: f32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // (m, c)
@group(0) @binding(2) var<storage, read> x: array<f32>;        // (rows, c)
@group(0) @binding(3) var<storage, read> indices: array<u32>;       // (rows)

// An index of m or above writes nothing.
@compute @workgroup_size(WG)
fn lerp_unit_rows(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c);
    let target_row = indices[min(row.index, p.rows - 1u)];
    let end = select(row.begin, row.end, target_row < p.m);
    let first = row.index * p.c;
    let to = target_row * p.c;
    var part = 0.0;
    for (var i = row.begin; i < end; i += LANES) {
        let old = y[to + i - first];
        let v = old + p.weight * (x[i] - old);
        part += v * v;
    }
    let norm = sqrt(row_sum(vec2f(part), lid).x);
    let scale = 1.0 / select(norm, p.eps, norm < p.eps); // NaN stays
    for (var i = row.begin; i < end; i += LANES) {
        let old = y[to + i - first];
        y[to + i - first] = scale * (old + p.weight * (x[i] - old));
    }
}
