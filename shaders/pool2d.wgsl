// Max and average pooling over NHWC images, and their gradients. Both gradients gather: an input asks the windows that
// cover it.
//
//   max:  y = x at the first maximum of the window, tap = its place in the window; dx = sum of dy where tap names x
//   avg:  y = sum of the window / (kh kw), padding counted as zeros;               dx = sum of dy / (kh kw)
//
// Window (oy, ox) covers rows oy sh - ph .. + kh and columns ox sw - pw .. + kw, as far as the image goes.
// One invocation makes a run of neighbours in one row of the result, one lane of channels of each, so that only the run's
// beginning costs divisions; its neighbours take the neighbouring channels.
// lib: grid elem lane

override WG: u32 = 64;

// c: lanes. runs: how many of `run` elements a row of the result is cut in.
struct Uniforms {
    n: u32, h: u32, w: u32, c: u32, oh: u32, ow: u32, kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32,
    run: u32, runs: u32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> y: array<OutCell>;       // (N, OH, OW, C)
@group(0) @binding(2) var<storage, read> x: array<Cell>;                // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> tap_out: array<Bits>;    // (N, OH, OW, C)
@group(0) @binding(3) var<storage, read> x_of_max: array<Cell>;

@group(0) @binding(1) var<storage, read_write> dx: array<Cell>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<Cell>;               // (N, OH, OW, C)
@group(0) @binding(3) var<storage, read> tap: array<Bits>;              // (N, OH, OW, C)

// Columns first..end of a row of an (N, height, width, C) array, and its lane of channels.
struct Run { n: u32, row: u32, first: u32, end: u32, lane: u32 }

fn run_of(at: At, lid: u32, height: u32, width: u32) -> Run {
    let i = item_index(at, lid, WG);
    let piece = i / p.c;
    let line = piece / p.runs;
    let n = line / height;
    let first = (piece - line * p.runs) * p.run;
    let end = select(0u, min(first + p.run, width), n < p.n);     // past the last image: nothing
    return Run(n, line - n * height, first, end, i - piece * p.c);
}

// Elements first..end of an axis of `size` that window `o` covers.
fn covered(o: u32, stride: u32, kernel: u32, padding: u32, size: u32) -> vec2u {
    let padded = o * stride;
    return vec2u(max(padded, padding) - padding, min(padded + kernel - padding, size));
}

// A window that ends before element i, or the first one.
fn before(i: u32, stride: u32, kernel: u32, padding: u32) -> vec2u {
    return vec2u((max(i + padding, kernel) - kernel) / stride);
}

// The windows first..end that cover element i of an axis, from those of one before it.
fn covering(windows: vec2u, i: u32, stride: u32, kernel: u32, padding: u32, count: u32) -> vec2u {
    let padded = i + padding;
    var first = windows.x;
    var end = windows.y;
    while first * stride + kernel <= padded { first++; }
    while end < count && end * stride <= padded { end++; }
    return vec2u(first, end);
}

@compute @workgroup_size(WG)
fn max_pool2d(at: At, @builtin(local_invocation_index) lid: u32) {
    let o = run_of(at, lid, p.oh, p.ow);
    let rows = covered(o.row, p.sh, p.kh, p.ph, p.h);
    for (var ox = o.first; ox < o.end; ox++) {
        let columns = covered(ox, p.sw, p.kw, p.pw, p.w);
        var best = Lane(-3.4028234e38);
        var best_tap = Bits(0xffffffffu);     // none yet
        for (var iy = rows.x; iy < rows.y; iy++) {
            let t = (iy + p.ph - o.row * p.sh) * p.kw + p.pw - ox * p.sw;
            for (var ix = columns.x; ix < columns.y; ix++) {
                let v = Lane(x_of_max[((o.n * p.h + iy) * p.w + ix) * p.c + o.lane]);
                let is_nan = (bitcast<Bits>(v) & Bits(0x7fffffffu)) > Bits(0x7f800000u);
                let wins = (v > best) | (best_tap == Bits(0xffffffffu)) | is_nan;     // as in PyTorch, a NaN wins
                best = select(best, v, wins);
                best_tap = select(best_tap, Bits(t + ix), wins);
            }
        }
        let e = ((o.n * p.oh + o.row) * p.ow + ox) * p.c + o.lane;
        y[e] = OutCell(best);
        tap_out[e] = best_tap;
    }
}

@compute @workgroup_size(WG)
fn avg_pool2d(at: At, @builtin(local_invocation_index) lid: u32) {
    let o = run_of(at, lid, p.oh, p.ow);
    let rows = covered(o.row, p.sh, p.kh, p.ph, p.h);
    for (var ox = o.first; ox < o.end; ox++) {
        let columns = covered(ox, p.sw, p.kw, p.pw, p.w);
        var sum = Lane();
        for (var iy = rows.x; iy < rows.y; iy++) {
            for (var ix = columns.x; ix < columns.y; ix++) {
                sum += Lane(x[((o.n * p.h + iy) * p.w + ix) * p.c + o.lane]);
            }
        }
        y[((o.n * p.oh + o.row) * p.ow + ox) * p.c + o.lane] = OutCell(sum / f32(p.kh * p.kw));
    }
}

@compute @workgroup_size(WG)
fn max_pool2d_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = run_of(at, lid, p.h, p.w);
    let rows = covering(before(i.row, p.sh, p.kh, p.ph), i.row, p.sh, p.kh, p.ph, p.oh);
    var columns = before(i.first, p.sw, p.kw, p.pw);
    for (var ix = i.first; ix < i.end; ix++) {
        columns = covering(columns, ix, p.sw, p.kw, p.pw, p.ow);
        var sum = Lane();
        for (var oy = rows.x; oy < rows.y; oy++) {
            let own = (i.row + p.ph - oy * p.sh) * p.kw + ix + p.pw;
            for (var ox = columns.x; ox < columns.y; ox++) {
                let o = ((i.n * p.oh + oy) * p.ow + ox) * p.c + i.lane;
                sum += select(Lane(), Lane(dy[o]), tap[o] == Bits(own - ox * p.sw));
            }
        }
        dx[((i.n * p.h + i.row) * p.w + ix) * p.c + i.lane] = Cell(sum);
    }
}

@compute @workgroup_size(WG)
fn avg_pool2d_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = run_of(at, lid, p.h, p.w);
    let rows = covering(before(i.row, p.sh, p.kh, p.ph), i.row, p.sh, p.kh, p.ph, p.oh);
    var columns = before(i.first, p.sw, p.kw, p.pw);
    for (var ix = i.first; ix < i.end; ix++) {
        columns = covering(columns, ix, p.sw, p.kw, p.pw, p.ow);
        var sum = Lane();
        for (var oy = rows.x; oy < rows.y; oy++) {
            for (var ox = columns.x; ox < columns.y; ox++) {
                sum += Lane(dy[((i.n * p.oh + oy) * p.ow + ox) * p.c + i.lane]);
            }
        }
        dx[((i.n * p.h + i.row) * p.w + ix) * p.c + i.lane] = Cell(sum / f32(p.kh * p.kw));
    }
}
