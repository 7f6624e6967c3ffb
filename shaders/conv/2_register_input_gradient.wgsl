// Input gradient of a convolution as an implicit GEMM in registers: 8 pixels x 8 input channels per invocation.
//
//   dx[n, iy, ix, ci] = sum over (ky, kx, co) of dy[n, (iy + ph - ky) / sh, (ix + pw - kx) / sw, co] w[ky, kx, ci, co]
//
// over the taps where both quotients are whole. Whether they are depends on iy mod sh and ix mod sw alone, so pixels are
// taken class by class: within a class every sh-th, sw-th tap counts and no other is looked at.
// lib: grid elem

override WG: u32 = 8;

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dx: array<Out4>;    // (N, H, W, Cin)
@group(0) @binding(2) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)
@group(0) @binding(1) var<storage, read_write> dx1: array<Out>;
@group(0) @binding(2) var<storage, read> dy1: array<Elem>;
@group(0) @binding(3) var<storage, read> w1: array<Elem>;

// 8 pixels of class (cy, cx), consecutive in the grid (N, ceil(H / sh), ceil(W / sw)) of a class, which may stick out of
// the image. `valid` has bit r set if pixel r is in the image; channels from 8 * tile on.
struct Pixels { n: array<u32, 8>, iy: array<u32, 8>, ix: array<u32, 8>, valid: u32, cy: u32, cx: u32, tile: u32 }

fn pixels(group: u32, lane: u32) -> Pixels {
    let rows = (p.h + p.sh - 1u) / p.sh;
    let columns = (p.w + p.sw - 1u) / p.sw;
    let groups = (p.n * rows * columns + 8u * WG - 1u) / (8u * WG);      // of one class
    let tiles_c = (p.cin + 7u) / 8u;
    let class_id = group / tiles_c / groups;
    var t: Pixels;
    t.tile = group % tiles_c;
    t.cy = class_id / p.sw;
    t.cx = class_id % p.sw;
    let first = (group / tiles_c % groups * WG + lane) * 8u;
    var n = first / (rows * columns);
    var qy = first / columns % rows;
    var qx = first % columns;
    for (var r = 0u; r < 8u; r++) {
        t.n[r] = n;
        t.iy[r] = qy * p.sh + t.cy;
        t.ix[r] = qx * p.sw + t.cx;
        t.valid |= select(0u, 1u << r, n < p.n && t.cy < p.sh && t.iy[r] < p.h && t.ix[r] < p.w);
        qx = select(qx + 1u, 0u, qx + 1u == columns);
        qy = select(qy, qy + 1u, qx == 0u);
        n = select(n, n + 1u, qy == rows);
        qy = select(qy, 0u, qy == rows);
    }
    return t;
}

// Where the 8 pixels read dy under a tap, in pixels; bit r of `inside` says whether that exists.
struct Taps { at: array<u32, 8>, inside: u32 }

fn taps(t: Pixels, ky: u32, kx: u32) -> Taps {
    var s: Taps;
    for (var r = 0u; r < 8u; r++) {
        let ty = t.iy[r] + p.ph - ky;        // a multiple of sh, or wrapped
        let tx = t.ix[r] + p.pw - kx;
        let inside = (t.valid >> r & 1u) == 1u && ty < p.oh * p.sh && tx < p.ow * p.sw;
        s.at[r] = select(0u, (t.n[r] * p.oh + ty / p.sh) * p.ow + tx / p.sw, inside);
        s.inside |= select(0u, 1u << r, inside);
    }
    return s;
}

// Cin and Cout are multiples of 4.
@compute @workgroup_size(WG)
fn input_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = pixels(p.first + group_index(at), lid);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    var lo: array<vec4f, 8>;        // (pixels, 4 channels)
    var hi: array<vec4f, 8>;
    for (var ky = (t.cy + p.ph) % p.sh; ky < p.kh; ky += p.sh) {
        for (var kx = (t.cx + p.pw) % p.sw; kx < p.kw; kx += p.sw) {
            let tap = taps(t, ky, kx);
            var row: array<u32, 8>;
            for (var q = 0u; q < 8u; q++) {
                row[q] = ((ky * p.kw + kx) * p.cin + min(8u * t.tile + q, p.cin - 1u)) * cout4;
            }
            for (var co = 0u; co < cout4; co++) {
                let u0 = transpose(mat4x4f(
                    vec4f(w[row[0] + co]), vec4f(w[row[1] + co]), vec4f(w[row[2] + co]), vec4f(w[row[3] + co])));
                let u1 = transpose(mat4x4f(
                    vec4f(w[row[4] + co]), vec4f(w[row[5] + co]), vec4f(w[row[6] + co]), vec4f(w[row[7] + co])));
                for (var r = 0u; r < 8u; r++) {
                    let v = select(vec4f(), vec4f(dy[tap.at[r] * cout4 + co]), (tap.inside >> r & 1u) == 1u);
                    lo[r] += u0 * v;
                    hi[r] += u1 * v;
                }
            }
        }
    }
    for (var r = 0u; r < 8u; r++) {
        let e = ((t.n[r] * p.h + t.iy[r]) * p.w + t.ix[r]) * cin4 + 2u * t.tile;
        if (t.valid >> r & 1u) == 1u { dx[e] = Out4(lo[r]); }
        if (t.valid >> r & 1u) == 1u && 2u * t.tile + 1u < cin4 { dx[e + 1u] = Out4(hi[r]); }
    }
}

// Any number of channels, scalar loads.
@compute @workgroup_size(WG)
fn input_gradient_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = pixels(p.first + group_index(at), lid);
    var sum: array<array<f32, 8>, 8>;       // (pixels, channels)
    for (var ky = (t.cy + p.ph) % p.sh; ky < p.kh; ky += p.sh) {
        for (var kx = (t.cx + p.pw) % p.sw; kx < p.kw; kx += p.sw) {
            let tap = taps(t, ky, kx);
            for (var co = 0u; co < p.cout; co++) {
                var u: array<f32, 8>;
                for (var q = 0u; q < 8u; q++) {
                    u[q] = f32(w1[((ky * p.kw + kx) * p.cin + min(8u * t.tile + q, p.cin - 1u)) * p.cout + co]);
                }
                for (var r = 0u; r < 8u; r++) {
                    let v = select(0.0, f32(dy1[tap.at[r] * p.cout + co]), (tap.inside >> r & 1u) == 1u);
                    for (var q = 0u; q < 8u; q++) { sum[r][q] += v * u[q]; }
                }
            }
        }
    }
    for (var r = 0u; r < 8u; r++) {
        let e = ((t.n[r] * p.h + t.iy[r]) * p.w + t.ix[r]) * p.cin;
        for (var q = 0u; q < 8u; q++) {
            let ci = 8u * t.tile + q;
            if (t.valid >> r & 1u) == 1u && ci < p.cin { dx1[e + ci] = Out(sum[r][q]); }
        }
    }
}
