// Batch normalisation over the last axis of x [m, c], each column a channel, with what often follows it in one pass:
//   y = (x - mean) scale + shift,  scale = gamma / sqrt(var + eps),  shift = beta;  ADD: + r;  RELU: max(., 0)
// Train: mean and biased var of the batch. Two passes in fixed order: every strip of rows gives (mean, m2) of its own,
// m2 = sum (x - mean)^2, then the strips merge (batch_norm_stats.wgsl). Eval: mean and var are the running ones.
//   g = dy where y > 0 (RELU), else dy;  dr = g;  dbeta = sum g,  dgamma = sum g xhat,  xhat = (x - mean) / sqrt(var + eps)
//   dx = scale (g - inv_m (dbeta + xhat dgamma)),  inv_m = 1 / m in training, 0 in evaluation
// Elements read and written a training step, of m c: forward x, x, y; backward x, dy, x, dy, dx. ADD reads r in forward
// and y twice in backward, and writes dr; RELU alone finds its mask from x again and costs nothing.
// lib: grid elem lane strip

override WG: u32 = 64;
override RELU: u32 = 0;
override ADD: u32 = 0;

// Strip kernels: one invocation takes one lane of columns (lib/lane_1.wgsl, lane_4.wgsl) of one strip of rows.
struct Uniforms { m: u32, c: u32, strips: u32, interleaved: u32, inv_m: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2f>;    // two numbers a strip of a column, (c, strips)
@group(0) @binding(1) var<storage, read_write> y: array<Cell>;           // (m, c)
@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;          // (m, c)
@group(0) @binding(2) var<storage, read> x: array<Cell>;                 // (m, c)
@group(0) @binding(3) var<storage, read> stats: array<Lane>;             // mean, 1 / sqrt(var + eps), scale, shift, (4, c)
@group(0) @binding(4) var<storage, read> dy: array<Cell>;                // (m, c)
@group(0) @binding(4) var<storage, read> r: array<Cell>;                 // (m, c), read if ADD
@group(0) @binding(5) var<storage, read> sums_y: array<Cell>;            // y, (m, c), read if ADD and RELU
@group(0) @binding(5) var<storage, read> dbeta: array<Lane>;             // (c)
@group(0) @binding(6) var<storage, read> dgamma: array<Lane>;            // (c)

// The backward of ADD and RELU has a second output.
@group(0) @binding(2) var<storage, read_write> dr: array<Cell>;          // (m, c)
@group(0) @binding(3) var<storage, read> add_x: array<Cell>;             // x
@group(0) @binding(4) var<storage, read> add_stats: array<Lane>;         // stats
@group(0) @binding(5) var<storage, read> add_dy: array<Cell>;            // dy
@group(0) @binding(6) var<storage, read> add_dbeta: array<Lane>;         // dbeta
@group(0) @binding(7) var<storage, read> add_dgamma: array<Lane>;        // dgamma
@group(0) @binding(8) var<storage, read> add_y: array<Cell>;             // y

// The strip and lane of columns of invocation i.
fn strip_at(i: u32) -> Strip {
    let lanes = p.c / LANE;
    return strip_of(i / lanes, i % lanes, p.strips, p.m, lanes, p.interleaved);
}

// Writes two numbers of each column of invocation i.
fn write_partial(i: u32, first: Lane, second: Lane) {
    let lanes = p.c / LANE;
    for (var k = 0u; k < LANE; k++) {
        partial[((i % lanes) * LANE + k) * p.strips + i / lanes] = vec2f(lane_at(first, k), lane_at(second, k));
    }
}

// Mean and m2 of the columns of one strip, as distances from row 0 of x, which keeps a large common mean out of the sums.
// Four rows at a time: their own mean and m2, merged into the strip's (Chan, Golub, LeVeque 1983).
@compute @workgroup_size(WG)
fn batch_norm_strips(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.strips * (p.c / LANE) { return; }
    let s = strip_at(i);
    let origin = Lane(x[i % (p.c / LANE)]);
    var e = s.at;
    var mean = Lane();
    var m2 = Lane();
    for (var k = 0u; k < s.count / 4u; k++) {
        let v0 = Lane(x[e]) - origin;
        let v1 = Lane(x[e + s.stride]) - origin;
        let v2 = Lane(x[e + 2u * s.stride]) - origin;
        let v3 = Lane(x[e + 3u * s.stride]) - origin;
        let mean4 = 0.25 * ((v0 + v1) + (v2 + v3));
        let d0 = v0 - mean4;
        let d1 = v1 - mean4;
        let d2 = v2 - mean4;
        let d3 = v3 - mean4;
        let step = mean4 - mean;
        let share = 1.0 / f32(k + 1u);                   // of the four new rows in all so far
        mean += step * share;
        m2 += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3) + step * step * (4.0 - 4.0 * share);
        e += 4u * s.stride;
    }
    for (var k = s.count - s.count % 4u; k < s.count; k++) {
        let step = Lane(x[e]) - origin - mean;
        let share = 1.0 / f32(k + 1u);
        mean += step * share;
        m2 += step * step * (1.0 - share);
        e += s.stride;
    }
    write_partial(i, mean, m2);
}

@compute @workgroup_size(WG)
fn batch_norm(at: At, @builtin(local_invocation_index) lid: u32) {
    let lanes = p.c / LANE;
    let i = item_index(at, lid, WG);
    if i >= p.strips * lanes { return; }
    let col = i % lanes;
    let s = strip_at(i);
    let mean = stats[col];
    let scale = stats[2u * lanes + col];
    let shift = stats[3u * lanes + col];
    for (var k = 0u; k < s.count; k++) {
        let e = s.at + k * s.stride;
        var v = (Lane(x[e]) - mean) * scale + shift;
        if ADD == 1u { v += Lane(r[e]); }
        if RELU == 1u { v = select(v, Lane(), v <= Lane()); }
        y[e] = Cell(v);
    }
}

// g at element e, where x is d above the mean.
fn through_tail(e: u32, d: Lane, scale: Lane, shift: Lane) -> Lane {
    let g = Lane(dy[e]);
    if RELU == 0u { return g; }
    var v = d * scale + shift;
    if ADD == 1u { v = Lane(sums_y[e]); }
    return select(g, Lane(), v <= Lane());
}

// Sums of g and of g xhat over the columns of one strip; add_strips.wgsl adds up the strips. Four rows at a time, so that as many
// loads are under way at once.
@compute @workgroup_size(WG)
fn batch_norm_backward_strips(at: At, @builtin(local_invocation_index) lid: u32) {
    let lanes = p.c / LANE;
    let i = item_index(at, lid, WG);
    if i >= p.strips * lanes { return; }
    let col = i % lanes;
    let s = strip_at(i);
    let mean = stats[col];
    let scale = stats[2u * lanes + col];
    let shift = stats[3u * lanes + col];
    var sum = Lane();
    var sum_d = Lane();
    var e = s.at;
    for (var left = s.count / 4u; left > 0u; left--) {
        let d0 = Lane(x[e]) - mean;
        let d1 = Lane(x[e + s.stride]) - mean;
        let d2 = Lane(x[e + 2u * s.stride]) - mean;
        let d3 = Lane(x[e + 3u * s.stride]) - mean;
        let g0 = through_tail(e, d0, scale, shift);
        let g1 = through_tail(e + s.stride, d1, scale, shift);
        let g2 = through_tail(e + 2u * s.stride, d2, scale, shift);
        let g3 = through_tail(e + 3u * s.stride, d3, scale, shift);
        sum += (g0 + g1) + (g2 + g3);
        sum_d += (g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3);
        e += 4u * s.stride;
    }
    for (var left = s.count % 4u; left > 0u; left--) {
        let d = Lane(x[e]) - mean;
        let g = through_tail(e, d, scale, shift);
        sum += g;
        sum_d += g * d;
        e += s.stride;
    }
    write_partial(i, sum, sum_d * stats[lanes + col]);
}

@compute @workgroup_size(WG)
fn batch_norm_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let lanes = p.c / LANE;
    let i = item_index(at, lid, WG);
    if i >= p.strips * lanes { return; }
    let col = i % lanes;
    let s = strip_at(i);
    let mean = stats[col];
    let scale = stats[2u * lanes + col];
    let shift = stats[3u * lanes + col];
    let mean_g = dbeta[col] * p.inv_m;
    let slope = dgamma[col] * p.inv_m * stats[lanes + col];
    for (var k = 0u; k < s.count; k++) {
        let e = s.at + k * s.stride;
        let d = Lane(x[e]) - mean;
        var g = Lane(dy[e]);
        if RELU == 1u { g = select(g, Lane(), d * scale + shift <= Lane()); }
        dx[e] = Cell(scale * (g - mean_g - d * slope));
    }
}

@compute @workgroup_size(WG)
fn batch_norm_add_relu_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let lanes = p.c / LANE;
    let i = item_index(at, lid, WG);
    if i >= p.strips * lanes { return; }
    let col = i % lanes;
    let s = strip_at(i);
    let mean = add_stats[col];
    let scale = add_stats[2u * lanes + col];
    let mean_g = add_dbeta[col] * p.inv_m;
    let slope = add_dgamma[col] * p.inv_m * add_stats[lanes + col];
    for (var k = 0u; k < s.count; k++) {
        let e = s.at + k * s.stride;
        let g = select(Lane(add_dy[e]), Lane(), Lane(add_y[e]) <= Lane());
        dr[e] = Cell(g);
        dx[e] = Cell(scale * (g - mean_g - (Lane(add_x[e]) - mean) * slope));
    }
}
