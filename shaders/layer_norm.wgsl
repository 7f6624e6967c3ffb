// Layer normalisation over the last axis of x [rows, c]: xhat = (x - mean) / sqrt(var + eps), y = gamma xhat + beta,
// mean and biased variance of each row.
//   g = gamma dy,  dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)      mean over the row
//   dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
// Elements read and written, of rows c: forward x, x, y; backward x, dy, x, dy, dx, the second time from registers as far as a
// lane keeps a row (lib/row.wgsl), else from a cache.
// lib: grid elem lane row sums strip

override WG: u32 = 64;
override LANES: u32 = 32;

// Forward: one row belongs to LANES invocations.
struct Uniforms { rows: u32, c: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Cell>;           // (rows, c)
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>;      // mean and 1 / sqrt(var + eps), (rows, 2)
@group(0) @binding(3) var<storage, read> x: array<Cell>;                 // (rows, c)
@group(0) @binding(4) var<storage, read> gamma: array<Lane>;             // (c)
@group(0) @binding(5) var<storage, read> beta: array<Lane>;              // (c)

// Backward: one strip of rows belongs to LANES invocations, which take its rows one after another.
struct StripUniforms { m: u32, c: u32, strips: u32, interleaved: u32 }
@group(0) @binding(0) var<uniform> q: StripUniforms;
@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;          // (m, c)
@group(0) @binding(2) var<storage, read_write> partial: array<Lane>;     // sums of dy and of dy xhat, (strips, 2, c)
// x, gamma as above
@group(0) @binding(5) var<storage, read> dy: array<Cell>;                // (m, c)
@group(0) @binding(6) var<storage, read> row_stats: array<vec2f>;        // stats of the forward pass, (m, 2)

// Mean and m2 = sum (x - mean)^2 of what each column of a lane has seen, in one pass (Welford 1962).
struct Moments { count: f32, mean: Lane, m2: Lane }

fn with_cell(seen: Moments, v: Lane) -> Moments {
    let step = v - seen.mean;
    let count = seen.count + 1.0;
    let mean = seen.mean + step * (1.0 / count);
    return Moments(count, mean, seen.m2 + step * (v - mean));
}

// The same if `take`, without a branch.
fn with_cell_if(take: bool, seen: Moments, v: Lane) -> Moments {
    let all = with_cell(seen, v);
    let count = select(seen.count, all.count, take);
    return Moments(count, select(seen.mean, all.mean, take), select(seen.m2, all.m2, take));
}

// Of the row, the mean first and m2 about it (Chan, Golub, LeVeque 1983). Means are distances from the row's first element, which
// keeps a large common mean out of the sums.
@compute @workgroup_size(WG)
fn layer_norm(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.rows, p.c / LANE);
    let first = select(0u, row.index * (p.c / LANE), row.live);
    let origin = lane_at(Lane(x[first]), 0u);
    var kept: array<Cell, HELD>;
    for (var n = 0u; n < KEEP; n++) { kept[n] = x[nth(row, n)]; }
    var seen = Moments();
    for (var n = 0u; n < KEEP; n++) { seen = with_cell_if(has(row, n), seen, Lane(kept[n]) - origin); }
    for (var i = rest(row); i < row.end; i += LANES) { seen = with_cell(seen, Lane(x[i]) - origin); }
    let inv_c = 1.0 / f32(p.c);
    let mean = row_sum(vec2f(seen.count * lane_sum(seen.mean)), lid).x * inv_c;
    let d = seen.mean - mean;
    let variance = row_sum(vec2f(lane_sum(seen.m2 + seen.count * d * d)), lid).x * inv_c;
    let inv_std = 1.0 / sqrt(variance + p.eps);
    for (var n = 0u; n < KEEP; n++) {
        let i = row.begin + n * LANES;
        if i < row.end { y[i] = Cell((Lane(kept[n]) - origin - mean) * inv_std * gamma[i - first] + beta[i - first]); }
    }
    for (var i = rest(row); i < row.end; i += LANES) {
        y[i] = Cell((Lane(x[i]) - origin - mean) * inv_std * gamma[i - first] + beta[i - first]);
    }
    if row.live && row.lane == 0u { stats[row.index] = vec2f(origin + mean, inv_std); }
}

// A row of a strip as one of its lanes sees it.
struct StripRow {
    begin: u32,      // its first cell in the tensor
    cells: u32,      // 0 where the strip has no such row: such lanes still reach every barrier
    mean: f32,
    inv_std: f32,
}

fn row_of_strip(strip: u32, k: u32) -> StripRow {
    let cells = q.c / LANE;
    let s = strip_of(strip, 0u, q.strips, q.m, cells, q.interleaved);
    if strip >= q.strips || k >= s.count { return StripRow(0u, 0u, 0.0, 0.0); }
    let begin = s.at + k * s.stride;
    let moments = row_stats[begin / cells];
    return StripRow(begin, cells, moments.x, moments.y);
}

// Sums of dy and of dy xhat, or of g and of g xhat.
struct Sums { dy: Lane, dy_xhat: Lane }

// With cell j of a row, whose x and dy are v and d.
fn with_gradient(sums: Sums, row: StripRow, j: u32, v: Lane, d: Lane) -> Sums {
    let g = d * gamma[j];
    return Sums(sums.dy + g, sums.dy_xhat + g * ((v - row.mean) * row.inv_std));
}

// mean(g) and mean(g xhat) of a row from the sums of its lanes. All invocations of the workgroup must call it.
fn row_means(sums: Sums, lid: u32) -> vec2f {
    return row_sum(vec2f(lane_sum(sums.dy), lane_sum(sums.dy_xhat)), lid) / f32(q.c);
}

fn gradient_means(row: StripRow, lid: u32) -> vec2f {
    var sums = Sums();
    for (var j = lid % LANES; j < row.cells; j += LANES) {
        sums = with_gradient(sums, row, j, Lane(x[row.begin + j]), Lane(dy[row.begin + j]));
    }
    return row_means(sums, lid);
}

// Writes dx of cell j of a row, and adds the cell to the sums of its columns.
fn add_cell(sums: Sums, row: StripRow, j: u32, v: Lane, d: Lane, means: vec2f) -> Sums {
    let xhat = (v - row.mean) * row.inv_std;
    dx[row.begin + j] = Cell((d * gamma[j] - means.x - xhat * means.y) * row.inv_std);
    return Sums(sums.dy + d, sums.dy_xhat + d * xhat);
}

// Rows at a time: what `partial` is read and written for once.
const ROWS: u32 = 4;

// The sums of a strip's columns lie in `partial`, of which a strip's part stays in a cache; add_strips.wgsl adds up the strips.
@compute @workgroup_size(WG)
fn layer_norm_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let strip = group_index(at) * (WG / LANES) + lid / LANES;
    let e = strip * 2u * (q.c / LANE);
    let longest = strip_count(0u, q.strips, q.m, q.interleaved);
    for (var k = 0u; k < longest; k += ROWS) {
        var rows: array<StripRow, ROWS>;
        var means: array<vec2f, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            rows[r] = row_of_strip(strip, k + r);
            means[r] = gradient_means(rows[r], lid);
        }
        let cells = rows[0].cells;
        for (var j = lid % LANES; j < cells; j += LANES) {
            var sums = Sums();
            if k > 0u { sums = Sums(partial[e + j], partial[e + cells + j]); }
            for (var r = 0u; r < ROWS; r++) {
                if j < rows[r].cells {
                    let i = rows[r].begin + j;
                    sums = add_cell(sums, rows[r], j, Lane(x[i]), Lane(dy[i]), means[r]);
                }
            }
            partial[e + j] = sums.dy;
            partial[e + cells + j] = sums.dy_xhat;
        }
    }
}

// The same with the sums in registers, for rows of at most HELD cells a lane; with KEEP, x and dy of a row as well.
@compute @workgroup_size(WG)
fn layer_norm_backward_held(at: At, @builtin(local_invocation_index) lid: u32) {
    let strip = group_index(at) * (WG / LANES) + lid / LANES;
    let longest = strip_count(0u, q.strips, q.m, q.interleaved);
    var sums: array<Sums, HELD>;
    for (var k = 0u; k < longest; k++) {
        let row = row_of_strip(strip, k);
        var xs: array<Cell, HELD>;
        var dys: array<Cell, HELD>;
        for (var n = 0u; n < KEEP; n++) {
            let j = min(lid % LANES + n * LANES, max(row.cells, 1u) - 1u);
            xs[n] = x[row.begin + j];
            dys[n] = dy[row.begin + j];
        }
        var g = Sums();
        for (var n = 0u; n < KEEP; n++) {
            let j = lid % LANES + n * LANES;
            let all = with_gradient(g, row, min(j, max(q.c / LANE, 1u) - 1u), Lane(xs[n]), Lane(dys[n]));
            g = Sums(select(g.dy, all.dy, j < row.cells), select(g.dy_xhat, all.dy_xhat, j < row.cells));
        }
        for (var j = lid % LANES + KEEP * LANES; j < row.cells; j += LANES) {
            g = with_gradient(g, row, j, Lane(x[row.begin + j]), Lane(dy[row.begin + j]));
        }
        let means = row_means(g, lid);
        for (var n = 0u; n < HELD; n++) {
            let j = lid % LANES + n * LANES;
            if j >= row.cells { continue; }
            if n >= KEEP {
                xs[n] = x[row.begin + j];
                dys[n] = dy[row.begin + j];
            }
            sums[n] = add_cell(sums[n], row, j, Lane(xs[n]), Lane(dys[n]), means);
        }
    }
    if strip >= q.strips { return; }
    let cells = q.c / LANE;
    for (var n = 0u; n < HELD; n++) {
        let j = lid % LANES + n * LANES;
        if j < cells {
            partial[strip * 2u * cells + j] = sums[n].dy;
            partial[strip * 2u * cells + cells + j] = sums[n].dy_xhat;
        }
    }
}
