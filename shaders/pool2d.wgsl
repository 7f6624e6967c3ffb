// Max and average pooling over NHWC images, and their gradients. One invocation per output element; neighbours in a
// workgroup are neighbouring channels. Both gradients gather: an input asks the windows that cover it.
//
//   max:  y = x at the first maximum of the window, tap = its place in the window; dx = sum of dy where tap names x
//   avg:  y = sum of the window / (kh kw), padding counted as zeros;               dx = sum of dy / (kh kw)
//
// Window (oy, ox) covers rows oy sh - ph .. + kh and columns ox sw - pw .. + kw; indices below 0 wrap and fail `< size`.
// lib: grid elem

override WG: u32 = 64;

struct Params {
    n: u32, h: u32, w: u32, c: u32, oh: u32, ow: u32, kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32
}
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> y: array<Out>;           // (N, OH, OW, C)
@group(0) @binding(2) var<storage, read> x: array<Elem>;                // (N, H, W, C)
@group(0) @binding(2) var<storage, read_write> tap_out: array<u32>;     // (N, OH, OW, C)
@group(0) @binding(3) var<storage, read> x_of_max: array<Elem>;

@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;         // (N, H, W, C)
@group(0) @binding(2) var<storage, read> dy: array<Elem>;               // (N, OH, OW, C)
@group(0) @binding(3) var<storage, read> tap: array<u32>;               // (N, OH, OW, C)

// Element `at` of an (N, height, width, C) array.
struct Place { n: u32, row: u32, column: u32, channel: u32 }

fn place(at: u32, height: u32, width: u32) -> Place {
    return Place(at / p.c / width / height, at / p.c / width % height, at / p.c % width, at % p.c);
}

fn is_nan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

@compute @workgroup_size(WG)
fn max_pool2d(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let at = item_index(wid, nwg, lid, WG);
    if at >= p.n * p.oh * p.ow * p.c { return; }
    let o = place(at, p.oh, p.ow);
    var best = -3.4028234e38;
    var best_tap = 0xffffffffu;     // none yet
    for (var t = 0u; t < p.kh * p.kw; t++) {
        let iy = o.row * p.sh + t / p.kw - p.ph;
        let ix = o.column * p.sw + t % p.kw - p.pw;
        if iy >= p.h || ix >= p.w { continue; }
        let v = f32(x_of_max[((o.n * p.h + iy) * p.w + ix) * p.c + o.channel]);
        if v > best || best_tap == 0xffffffffu || is_nan(v) {       // as in PyTorch, a NaN wins
            best = v;
            best_tap = t;
        }
    }
    y[at] = Out(best);
    tap_out[at] = best_tap;
}

@compute @workgroup_size(WG)
fn avg_pool2d(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let at = item_index(wid, nwg, lid, WG);
    if at >= p.n * p.oh * p.ow * p.c { return; }
    let o = place(at, p.oh, p.ow);
    var sum = 0.0;
    for (var t = 0u; t < p.kh * p.kw; t++) {
        let iy = o.row * p.sh + t / p.kw - p.ph;
        let ix = o.column * p.sw + t % p.kw - p.pw;
        if iy >= p.h || ix >= p.w { continue; }
        sum += f32(x[((o.n * p.h + iy) * p.w + ix) * p.c + o.channel]);
    }
    y[at] = Out(sum / f32(p.kh * p.kw));
}

// The windows [first, end) that cover position i along one axis.
fn windows(i: u32, kernel: u32, stride: u32, padding: u32, count: u32) -> vec2u {
    let padded = i + padding;
    let first = select(0u, (padded - kernel) / stride + 1u, padded >= kernel);
    return vec2u(first, min(padded / stride + 1u, count));
}

@compute @workgroup_size(WG)
fn max_pool2d_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let at = item_index(wid, nwg, lid, WG);
    if at >= p.n * p.h * p.w * p.c { return; }
    let i = place(at, p.h, p.w);
    let rows = windows(i.row, p.kh, p.sh, p.ph, p.oh);
    let columns = windows(i.column, p.kw, p.sw, p.pw, p.ow);
    var sum = 0.0;
    for (var oy = rows.x; oy < rows.y; oy++) {
        for (var ox = columns.x; ox < columns.y; ox++) {
            let o = ((i.n * p.oh + oy) * p.ow + ox) * p.c + i.channel;
            let own = (i.row + p.ph - oy * p.sh) * p.kw + i.column + p.pw - ox * p.sw;
            if tap[o] == own { sum += f32(dy[o]); }
        }
    }
    dx[at] = Elem(sum);
}

@compute @workgroup_size(WG)
fn avg_pool2d_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let at = item_index(wid, nwg, lid, WG);
    if at >= p.n * p.h * p.w * p.c { return; }
    let i = place(at, p.h, p.w);
    let rows = windows(i.row, p.kh, p.sh, p.ph, p.oh);
    let columns = windows(i.column, p.kw, p.sw, p.pw, p.ow);
    var sum = 0.0;
    for (var oy = rows.x; oy < rows.y; oy++) {
        for (var ox = columns.x; ox < columns.y; ox++) {
            sum += f32(dy[((i.n * p.oh + oy) * p.ow + ox) * p.c + i.channel]);
        }
    }
    dx[at] = Elem(sum / f32(p.kh * p.kw));
}
