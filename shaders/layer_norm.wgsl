// Layer normalisation over the last axis of x [rows, c]: xhat = (x - mean) / sqrt(var + eps), y = gamma xhat + beta,
// mean and biased variance of each row.
//   g = gamma dy,  dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)      mean over the row
//   dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
// lib: grid elem row strip

override WG: u32 = 64;
override LANES: u32 = 32;

// Row kernels: one row belongs to LANES invocations.
struct Params { rows: u32, c: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> y: array<Elem>;           // (rows, c)
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>;      // mean and 1 / sqrt(var + eps), (rows, 2)
@group(0) @binding(3) var<storage, read> x: array<Elem>;                 // (rows, c)
@group(0) @binding(4) var<storage, read> gamma: array<f32>;              // (c)
@group(0) @binding(5) var<storage, read> beta: array<f32>;               // (c)

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;          // (rows, c)
@group(0) @binding(2) var<storage, read> dy: array<Elem>;                // (rows, c)
// x, gamma as above
@group(0) @binding(5) var<storage, read> row_stats: array<vec2f>;        // stats of the forward pass, (rows, 2)

// Column kernel: one invocation takes one column of one strip of rows.
struct ColumnParams { m: u32, c: u32, strips: u32, interleaved: u32 }
@group(0) @binding(0) var<uniform> q: ColumnParams;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2f>;    // sums of dy and of dy xhat, (c, strips)
// dy, x as above
@group(0) @binding(4) var<storage, read> strip_stats: array<vec2f>;      // stats of the forward pass, (rows, 2)

// The mean is taken twice: the second pass sums what the first, rounded one left over, and corrects both moments by it.
@compute @workgroup_size(WG)
fn layer_norm(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    let inv_c = 1.0 / f32(p.c);
    var part = 0.0;
    for (var i = row.begin; i < row.end; i += LANES) { part += f32(x[i]); }
    let near = row_sum(vec2f(part), lid).x * inv_c;
    var moments = vec2f();
    for (var i = row.begin; i < row.end; i += LANES) {
        let d = f32(x[i]) - near;
        moments += vec2f(d, d * d);
    }
    moments = row_sum(moments, lid) * inv_c;
    let mean = near + moments.x;
    let inv_std = 1.0 / sqrt(max(moments.y - moments.x * moments.x, 0.0) + p.eps);
    for (var i = row.begin; i < row.end; i += LANES) {
        let col = i - row.index * p.c;
        y[i] = Elem((f32(x[i]) - mean) * inv_std * gamma[col] + beta[col]);
    }
    if row.live && row.lane == 0u { stats[row.index] = vec2f(mean, inv_std); }
}

@compute @workgroup_size(WG)
fn layer_norm_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.rows, p.c);
    var s = vec2f();
    if row.live { s = row_stats[row.index]; }
    var sums = vec2f();
    for (var i = row.begin; i < row.end; i += LANES) {
        let g = f32(dy[i]) * gamma[i - row.index * p.c];
        sums += g * vec2f(1.0, (f32(x[i]) - s.x) * s.y);
    }
    let means = row_sum(sums, lid) / f32(p.c);
    for (var i = row.begin; i < row.end; i += LANES) {
        let g = f32(dy[i]) * gamma[i - row.index * p.c];
        let xhat = (f32(x[i]) - s.x) * s.y;
        dx[i] = Elem((g - means.x - xhat * means.y) * s.y);
    }
}

// add_strips.wgsl adds up the strips.
@compute @workgroup_size(WG)
fn layer_norm_backward_strips(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= q.strips * q.c { return; }
    let col = i % q.c;
    let s = strip_of(i / q.c, col, q.strips, q.m, q.c, q.interleaved);
    var at = s.at;
    var row = s.at / q.c;
    var sums = vec2f();
    for (var k = 0u; k < s.count; k++) {
        let moments = strip_stats[row];
        sums += f32(dy[at]) * vec2f(1.0, (f32(x[at]) - moments.x) * moments.y);
        at += s.stride;
        row += s.stride / q.c;
    }
    partial[col * q.strips + i / q.c] = sums;
}
