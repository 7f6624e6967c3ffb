// Convolution forward as an implicit GEMM in registers: a lane holds 8 pixels x 16 output channels, and the 8 lanes of a
// subgroup lend one another the weights.
//
//   y[n, oy, ox, co] = sum over (ky, kx, ci) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] w[ky, kx, ci, co]
//
// A CPU adapter pays for a load once a lane, whatever the lanes read. In 2_register every lane loads the same weights;
// here each loads another vec4 and they are broadcast: every 4 channels of x cost 10 vec4 loads a lane for 512
// multiply-adds, against 16 for 256 there. Wants subgroups of 8, and Cin and Cout to be multiples of 4.
// lib: grid elem

const LANES = 8u;
const PIXELS = 8u;      // a lane

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Out4>;     // (N, OH, OW, Cout)
@group(0) @binding(2) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)

// The pixels of a lane: every 8th of (N, OH, OW) from `first` on. First pixel of the image, and the input position under
// tap (0, 0), wrapping.
struct Pixels { first: u32, image: array<u32, PIXELS>, iy: array<u32, PIXELS>, ix: array<u32, PIXELS> }

fn pixels(first: u32) -> Pixels {
    var t: Pixels;
    t.first = first;
    for (var r = 0u; r < PIXELS; r++) {
        let at = min(first + r * LANES, p.n * p.oh * p.ow - 1u);
        t.image[r] = at / (p.oh * p.ow) * p.h * p.w;
        t.iy[r] = at / p.ow % p.oh * p.sh - p.ph;
        t.ix[r] = at % p.ow * p.sw - p.pw;
    }
    return t;
}

// Where the pixels read x under a tap, in vec4s; bit r of `inside` says whether that is in the image.
struct Taps { at: array<u32, PIXELS>, inside: u32 }

fn taps(t: Pixels, ky: u32, kx: u32) -> Taps {
    var s: Taps;
    for (var r = 0u; r < PIXELS; r++) {
        let iy = t.iy[r] + ky;
        let ix = t.ix[r] + kx;
        let inside = iy < p.h && ix < p.w;
        s.at[r] = select(0u, (t.image[r] + iy * p.w + ix) * (p.cin / 4u), inside);
        s.inside |= select(0u, 1u << r, inside);
    }
    return s;
}

fn load(tap: Taps, r: u32, ci: u32) -> vec4f {
    return select(vec4f(), vec4f(x[tap.at[r] + ci]), (tap.inside >> r & 1u) == 1u);
}

@compute @workgroup_size(LANES)
fn forward(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let group = p.first + group_index(at);
    let tiles_c = (p.cout + 15u) / 16u;
    let t = pixels(group / tiles_c * PIXELS * LANES + lane);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    let c0 = group % tiles_c * 4u;
    let c_lane = min(c0 + lane % 4u, cout4 - 1u);
    var sum: array<array<vec4f, 4>, PIXELS>;        // (pixels, channels)
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let tap = taps(t, ky, kx);
            let row = (ky * p.kw + kx) * p.cin + lane / 4u;
            for (var ci = 0u; ci < cin4; ci++) {
                var v: array<vec4f, PIXELS>;        // (pixels, 4 ci)
                for (var r = 0u; r < PIXELS; r++) { v[r] = load(tap, r, ci); }
                // Lane l holds 4 channels of input channel l / 4, then l / 4 + 2.
                let u0 = vec4f(w[(row + 4u * ci) * cout4 + c_lane]);
                let u1 = vec4f(w[(row + 4u * ci + 2u) * cout4 + c_lane]);
                for (var s = 0u; s < 4u; s++) {
                    for (var q = 0u; q < 4u; q++) {
                        let u = subgroupShuffle(select(u0, u1, s >= 2u), s % 2u * 4u + q);
                        for (var r = 0u; r < PIXELS; r++) { sum[r][q] += v[r][s] * u; }
                    }
                }
            }
        }
    }
    for (var r = 0u; r < PIXELS; r++) {
        let e = t.first + r * LANES;
        for (var q = 0u; q < 4u; q++) {
            if e < p.n * p.oh * p.ow && c0 + q < cout4 { y[e * cout4 + c0 + q] = Out4(sum[r][q]); }
        }
    }
}

// At most 8 output channels.
@compute @workgroup_size(LANES)
fn forward_8(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = pixels((p.first + group_index(at)) * PIXELS * LANES + lane);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    let c_lane = min(lane % 2u, cout4 - 1u);
    var sum: array<array<vec4f, 2>, PIXELS>;
    for (var ky = 0u; ky < p.kh; ky++) {
        for (var kx = 0u; kx < p.kw; kx++) {
            let tap = taps(t, ky, kx);
            let row = (ky * p.kw + kx) * p.cin + lane / 2u;
            for (var ci = 0u; ci < cin4; ci++) {
                var v: array<vec4f, PIXELS>;
                for (var r = 0u; r < PIXELS; r++) { v[r] = load(tap, r, ci); }
                let u_lane = vec4f(w[(row + 4u * ci) * cout4 + c_lane]);
                for (var s = 0u; s < 4u; s++) {
                    for (var q = 0u; q < 2u; q++) {
                        let u = subgroupShuffle(u_lane, 2u * s + q);
                        for (var r = 0u; r < PIXELS; r++) { sum[r][q] += v[r][s] * u; }
                    }
                }
            }
        }
    }
    for (var r = 0u; r < PIXELS; r++) {
        let e = t.first + r * LANES;
        for (var q = 0u; q < 2u; q++) {
            if e < p.n * p.oh * p.ow && q < cout4 { y[e * cout4 + q] = Out4(sum[r][q]); }
        }
    }
}
