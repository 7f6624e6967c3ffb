// What batch normalisation knows of each channel, for batch_norm.wgsl: in training from the strips of x [m, c], whose mean and
// m2 = sum (x - mean)^2 are there, with the running statistics moved towards it; in evaluation from the running ones.
//   scale = gamma / sqrt(var + eps),  shift = beta,  var the biased one; the running one takes the unbiased
// lib: grid elem row sums strip

override WG: u32 = 64;
override LANES: u32 = 1;

// LANES invocations take one column, a row of `parts`.
// `run` > 0: the parts come from elsewhere, strips of `run` rows, their means as distances from 0.
struct ColumnUniforms { m: u32, c: u32, strips: u32, interleaved: u32, run: u32, eps: f32, momentum: f32, affine: u32 }
@group(0) @binding(0) var<uniform> q: ColumnUniforms;
@group(0) @binding(1) var<storage, read_write> new_stats: array<f32>;    // mean, 1 / sqrt(var + eps), scale, shift, (4, c)
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>; // (c)
@group(0) @binding(3) var<storage, read_write> running_var: array<f32>;  // (c)
@group(0) @binding(2) var<storage, read> fixed_mean: array<f32>;         // (c)
@group(0) @binding(3) var<storage, read> fixed_var: array<f32>;          // (c)
@group(0) @binding(4) var<storage, read> gamma: array<f32>;              // (c), used if affine == 1
@group(0) @binding(5) var<storage, read> beta: array<f32>;               // (c), used if affine == 1
@group(0) @binding(6) var<storage, read> parts: array<vec2f>;            // (mean, m2) of each strip, (c, strips)
@group(0) @binding(7) var<storage, read> first_row: array<Elem>;         // x, of which row 0 is read

fn write_stats(col: u32, mean: f32, variance: f32) {
    let inv_std = 1.0 / sqrt(variance + q.eps);
    var scale = inv_std;
    var shift = 0.0;
    if q.affine == 1u {
        scale *= gamma[col];
        shift = beta[col];
    }
    new_stats[col] = mean;
    new_stats[q.c + col] = inv_std;
    new_stats[2u * q.c + col] = scale;
    new_stats[3u * q.c + col] = shift;
}

// Rows of strip s.
fn part_rows(s: u32) -> f32 {
    if q.run > 0u { return f32(min(q.run, q.m - s * q.run)); }
    return f32(strip_count(s, q.strips, q.m, q.interleaved));
}

// Merges the strips of one column: the mean first, then m2 about it. Moves the running statistics.
@compute @workgroup_size(WG)
fn batch_norm_merge(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, q.c, q.strips);
    let first = row.index * q.strips;
    var part = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) {
        part += parts[i].x * part_rows(i - first);
    }
    let mean = row_sum(vec2f(part), lid).x / f32(q.m);
    part = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) {
        let d = parts[i].x - mean;
        part += parts[i].y + d * d * part_rows(i - first);
    }
    let m2 = row_sum(vec2f(part), lid).x;
    if !row.live || row.lane != 0u { return; }
    let col = row.index;
    let batch_mean = select(f32(first_row[col]), 0.0, q.run > 0u) + mean;
    write_stats(col, batch_mean, m2 / f32(q.m));
    running_mean[col] += q.momentum * (batch_mean - running_mean[col]);
    running_var[col] += q.momentum * (m2 / f32(q.m - 1u) - running_var[col]);
}

// The statistics of evaluation, one invocation a column.
@compute @workgroup_size(WG)
fn batch_norm_fixed(at: At, @builtin(local_invocation_index) lid: u32) {
    let col = item_index(at, lid, WG);
    if col < q.c { write_stats(col, fixed_mean[col], fixed_var[col]); }
}
