// Batch normalisation over the last axis of x [m, c], each column a channel:
//   y = (x - mean) scale + shift,  scale = gamma / sqrt(var + eps),  shift = beta
// Train: mean and biased var of the batch. Two passes in fixed order: every strip of rows gives (mean, m2) of its own,
// m2 = sum (x - mean)^2, then the strips merge. Eval: mean and var are the running ones.
//   dbeta = sum dy,  dgamma = sum dy xhat,  xhat = (x - mean) / sqrt(var + eps)
//   dx = scale (dy - inv_m (dbeta + xhat dgamma)),  inv_m = 1 / m in training, 0 in evaluation
// lib: grid elem row strip

override WG: u32 = 64;
override LANES: u32 = 1;

// Strip kernels: one invocation takes one column of one strip of rows.
struct Params { m: u32, c: u32, strips: u32, interleaved: u32, inv_m: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2f>;    // two numbers a strip of a column, (c, strips)
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;           // (m, c)
@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;          // (m, c)
@group(0) @binding(2) var<storage, read> x: array<Elem>;                 // (m, c)
@group(0) @binding(3) var<storage, read> stats: array<f32>;              // mean, 1 / sqrt(var + eps), scale, shift, (4, c)
@group(0) @binding(4) var<storage, read> dy: array<Elem>;                // (m, c)
@group(0) @binding(5) var<storage, read> dbeta: array<f32>;              // (c)
@group(0) @binding(6) var<storage, read> dgamma: array<f32>;             // (c)

// Column kernels: LANES invocations take one column, a row of `parts`.
// `run` > 0: the parts come from elsewhere, strips of `run` rows, their means as distances from 0.
struct ColumnParams { m: u32, c: u32, strips: u32, interleaved: u32, run: u32, eps: f32, momentum: f32, affine: u32 }
@group(0) @binding(0) var<uniform> q: ColumnParams;
@group(0) @binding(1) var<storage, read_write> new_stats: array<f32>;    // as stats
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>; // (c)
@group(0) @binding(3) var<storage, read_write> running_var: array<f32>;  // (c)
@group(0) @binding(2) var<storage, read> fixed_mean: array<f32>;         // (c)
@group(0) @binding(3) var<storage, read> fixed_var: array<f32>;          // (c)
@group(0) @binding(4) var<storage, read> gamma: array<f32>;              // (c), used if affine == 1
@group(0) @binding(5) var<storage, read> beta: array<f32>;               // (c), used if affine == 1
@group(0) @binding(6) var<storage, read> parts: array<vec2f>;            // partial, (c, strips)
@group(0) @binding(7) var<storage, read> first_row: array<Elem>;         // x, of which row 0 is read

// Mean and m2 of one column of one strip, as distances from row 0 of x, which keeps a large common mean out of the sums.
// Four rows at a time: their own mean and m2, merged into the strip's (Chan, Golub, LeVeque 1983).
@compute @workgroup_size(WG)
fn batch_norm_strips(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.strips * p.c { return; }
    let col = i % p.c;
    let s = strip_of(i / p.c, col, p.strips, p.m, p.c, p.interleaved);
    let origin = f32(x[col]);
    var at = s.at;
    var mean = 0.0;
    var m2 = 0.0;
    for (var k = 0u; k < s.count / 4u; k++) {
        let d = s.stride;
        let v = vec4f(f32(x[at]), f32(x[at + d]), f32(x[at + 2u * d]), f32(x[at + 3u * d])) - origin;
        let mean4 = dot(v, vec4f(0.25));
        let rest = v - mean4;
        let step = mean4 - mean;
        let share = 1.0 / f32(k + 1u);                   // of the four new rows in all so far
        mean += step * share;
        m2 += dot(rest, rest) + step * step * (4.0 - 4.0 * share);
        at += 4u * d;
    }
    for (var k = s.count - s.count % 4u; k < s.count; k++) {
        let step = f32(x[at]) - origin - mean;
        let share = 1.0 / f32(k + 1u);
        mean += step * share;
        m2 += step * step * (1.0 - share);
        at += s.stride;
    }
    partial[col * p.strips + i / p.c] = vec2f(mean, m2);
}

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
fn batch_norm_merge(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, q.c, q.strips);
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
fn batch_norm_fixed(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let col = item_index(wid, nwg, lid, WG);
    if col < q.c { write_stats(col, fixed_mean[col], fixed_var[col]); }
}

@compute @workgroup_size(WG)
fn batch_norm(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.strips * p.c { return; }
    let col = i % p.c;
    let s = strip_of(i / p.c, col, p.strips, p.m, p.c, p.interleaved);
    let mean = stats[col];
    let scale = stats[2u * p.c + col];
    let shift = stats[3u * p.c + col];
    for (var k = 0u; k < s.count; k++) {
        let at = s.at + k * s.stride;
        y[at] = Elem((f32(x[at]) - mean) * scale + shift);
    }
}

// Sums of dy and of dy xhat over one column of one strip, four rows at a time; add_strips.wgsl adds up the strips.
@compute @workgroup_size(WG)
fn batch_norm_backward_strips(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.strips * p.c { return; }
    let col = i % p.c;
    let s = strip_of(i / p.c, col, p.strips, p.m, p.c, p.interleaved);
    let mean = stats[col];
    var at = s.at;
    var sums = vec2f();
    for (var k = 0u; k < s.count / 4u; k++) {
        let d = s.stride;
        let g = vec4f(f32(dy[at]), f32(dy[at + d]), f32(dy[at + 2u * d]), f32(dy[at + 3u * d]));
        let v = vec4f(f32(x[at]), f32(x[at + d]), f32(x[at + 2u * d]), f32(x[at + 3u * d])) - mean;
        sums += vec2f(dot(g, vec4f(1.0)), dot(g, v));
        at += 4u * d;
    }
    for (var k = s.count - s.count % 4u; k < s.count; k++) {
        sums += f32(dy[at]) * vec2f(1.0, f32(x[at]) - mean);
        at += s.stride;
    }
    partial[col * p.strips + i / p.c] = sums * vec2f(1.0, stats[p.c + col]);
}

@compute @workgroup_size(WG)
fn batch_norm_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.strips * p.c { return; }
    let col = i % p.c;
    let s = strip_of(i / p.c, col, p.strips, p.m, p.c, p.interleaved);
    let mean = stats[col];
    let scale = stats[2u * p.c + col];
    let mean_dy = dbeta[col] * p.inv_m;
    let slope = dgamma[col] * p.inv_m * stats[p.c + col];
    for (var k = 0u; k < s.count; k++) {
        let at = s.at + k * s.stride;
        dx[at] = Elem(scale * (f32(dy[at]) - mean_dy - (f32(x[at]) - mean) * slope));
    }
}
