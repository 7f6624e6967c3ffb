// Convolution forward as an implicit GEMM in registers: 8 pixels x 8 output channels per invocation.
//
//   y[n, oy, ox, co] = sum over (ky, kx, ci) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] w[ky, kx, ci, co]
//
// Rows are output pixels, columns output channels, and k runs over (ky, kx, ci); the im2col index is made once a tap.
// Every 4 channels of x cost 16 vec4 loads and 256 multiply-adds. Lanes lie along the pixels and share their weights.
// lib: grid elem

override WG: u32 = 8;

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Out4>;     // (N, OH, OW, Cout)
@group(0) @binding(2) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)
@group(0) @binding(1) var<storage, read_write> y1: array<Out>;
@group(0) @binding(2) var<storage, read> x1: array<Elem>;
@group(0) @binding(3) var<storage, read> w1: array<Elem>;

// 8 output pixels, consecutive in (N, OH, OW) from `first`: image, and the input position under tap (0, 0), wrapping.
struct Pixels { first: u32, count: u32, n: array<u32, 8>, iy: array<u32, 8>, ix: array<u32, 8> }

fn pixels(first: u32) -> Pixels {
    let count = p.n * p.oh * p.ow;
    var t: Pixels;
    t.first = first;
    t.count = count - min(first, count);
    var at = min(first, count - 1u);
    var n = at / (p.oh * p.ow);
    var oy = at / p.ow % p.oh;
    var ox = at % p.ow;
    for (var r = 0u; r < 8u; r++) {
        t.n[r] = min(n, p.n - 1u);
        t.iy[r] = oy * p.sh - p.ph;
        t.ix[r] = ox * p.sw - p.pw;
        ox = select(ox + 1u, 0u, ox + 1u == p.ow);
        oy = select(oy, oy + 1u, ox == 0u);
        n = select(n, n + 1u, oy == p.oh);
        oy = select(oy, 0u, oy == p.oh);
    }
    return t;
}

// Where the 8 pixels read x under a tap, in pixels; bit r of `inside` says whether that is in the image.
struct Taps { at: array<u32, 8>, inside: u32 }

fn taps(t: Pixels, ky: u32, kx: u32) -> Taps {
    var s: Taps;
    for (var r = 0u; r < 8u; r++) {
        let iy = t.iy[r] + ky;
        let ix = t.ix[r] + kx;
        let inside = iy < p.h && ix < p.w;
        s.at[r] = select(0u, (t.n[r] * p.h + iy) * p.w + ix, inside);
        s.inside |= select(0u, 1u << r, inside);
    }
    return s;
}

// Cin and Cout are multiples of 4.
@compute @workgroup_size(WG)
fn forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let group = p.first + group_index(at);
    let tiles_c = (p.cout + 7u) / 8u;
    let t = pixels((group / tiles_c * WG + lid) * 8u);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    let c0 = group % tiles_c * 2u;
    let c1 = min(c0 + 1u, cout4 - 1u);
    var lo: array<vec4f, 8>;        // (pixels, 4 channels)
    var hi: array<vec4f, 8>;
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let tap = taps(t, ky, kx);
            let w0 = (ky * p.kw + kx) * p.cin;
            for (var ci = 0u; ci < cin4; ci++) {
                var v: array<vec4f, 8>;     // (pixels, 4 ci)
                for (var r = 0u; r < 8u; r++) {
                    v[r] = select(vec4f(), vec4f(x[tap.at[r] * cin4 + ci]), (tap.inside >> r & 1u) == 1u);
                }
                for (var s = 0u; s < 4u; s++) {
                    let u0 = vec4f(w[(w0 + 4u * ci + s) * cout4 + c0]);
                    let u1 = vec4f(w[(w0 + 4u * ci + s) * cout4 + c1]);
                    for (var r = 0u; r < 8u; r++) {
                        lo[r] += v[r][s] * u0;
                        hi[r] += v[r][s] * u1;
                    }
                }
            }
        }
    }
    for (var r = 0u; r < 8u; r++) {
        if r < t.count { y[(t.first + r) * cout4 + c0] = Out4(lo[r]); }
        if r < t.count && c0 + 1u < cout4 { y[(t.first + r) * cout4 + c0 + 1u] = Out4(hi[r]); }
    }
}

// Any number of channels, scalar loads.
@compute @workgroup_size(WG)
fn forward_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let group = p.first + group_index(at);
    let tiles_c = (p.cout + 7u) / 8u;
    let t = pixels((group / tiles_c * WG + lid) * 8u);
    let c0 = group % tiles_c * 8u;
    var sum: array<array<f32, 8>, 8>;       // (pixels, channels)
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let tap = taps(t, ky, kx);
            let w0 = (ky * p.kw + kx) * p.cin;
            for (var ci = 0u; ci < p.cin; ci++) {
                var u: array<f32, 8>;
                for (var q = 0u; q < 8u; q++) { u[q] = f32(w1[(w0 + ci) * p.cout + min(c0 + q, p.cout - 1u)]); }
                for (var r = 0u; r < 8u; r++) {
                    let v = select(0.0, f32(x1[tap.at[r] * p.cin + ci]), (tap.inside >> r & 1u) == 1u);
                    for (var q = 0u; q < 8u; q++) { sum[r][q] += v * u[q]; }
                }
            }
        }
    }
    for (var r = 0u; r < 8u; r++) {
        for (var q = 0u; q < 8u; q++) {
            if r < t.count && c0 + q < p.cout { y1[(t.first + r) * p.cout + c0 + q] = Out(sum[r][q]); }
        }
    }
}
