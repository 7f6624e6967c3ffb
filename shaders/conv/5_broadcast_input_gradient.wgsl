// Input gradient of a convolution as an implicit GEMM in registers: a lane holds 8 pixels x 16 input channels, and the 8
// lanes of a subgroup lend one another the weights.
//
//   dx[n, iy, ix, ci] = sum over (ky, kx, co) of dy[n, (iy + ph - ky) / sh, (ix + pw - kx) / sw, co] w[ky, kx, ci, co]
//
// over the taps where both quotients are whole: as in 2_register_input_gradient pixels are taken class by class of
// (iy mod sh, ix mod sw), and only the taps of that class are looked at. Every 4 channels of dy cost 10 vec4 loads a lane for
// 512 multiply-adds. Wants subgroups of 8, and Cin and Cout to be multiples of 4.
// lib: grid elem

const LANES = 8u;
const PIXELS = 8u;      // a lane

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dx: array<Out4>;    // (N, H, W, Cin)
@group(0) @binding(2) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)

// The pixels of a lane, all of class (cy, cx): every 8th of the grid (N, ceil(H / sh), ceil(W / sw)) of the class, which may
// stick out of the image. `valid` has bit r set if pixel r is in the image; channels from 4 c0 on.
struct Pixels { n: array<u32, PIXELS>, iy: array<u32, PIXELS>, ix: array<u32, PIXELS>, valid: u32, cy: u32, cx: u32, c0: u32 }

fn pixels(group: u32, lane: u32, width: u32) -> Pixels {
    let rows = (p.h + p.sh - 1u) / p.sh;
    let columns = (p.w + p.sw - 1u) / p.sw;
    let groups = (p.n * rows * columns + PIXELS * LANES - 1u) / (PIXELS * LANES);      // of one class
    let tiles_c = (p.cin + width - 1u) / width;
    let class_id = group / tiles_c / groups;
    var t: Pixels;
    t.c0 = group % tiles_c * (width / 4u);
    t.cy = class_id / p.sw;
    t.cx = class_id % p.sw;
    for (var r = 0u; r < PIXELS; r++) {
        let at = group / tiles_c % groups * PIXELS * LANES + r * LANES + lane;
        t.n[r] = at / (rows * columns);
        t.iy[r] = at / columns % rows * p.sh + t.cy;
        t.ix[r] = at % columns * p.sw + t.cx;
        t.valid |= select(0u, 1u << r, t.n[r] < p.n && t.cy < p.sh && t.iy[r] < p.h && t.ix[r] < p.w);
    }
    return t;
}

// Where the pixels read dy under a tap, in vec4s; bit r of `inside` says whether that exists.
struct Taps { at: array<u32, PIXELS>, inside: u32 }

fn taps(t: Pixels, ky: u32, kx: u32) -> Taps {
    var s: Taps;
    for (var r = 0u; r < PIXELS; r++) {
        let ty = t.iy[r] + p.ph - ky;        // a multiple of sh, or wrapped
        let tx = t.ix[r] + p.pw - kx;
        let inside = (t.valid >> r & 1u) == 1u && ty < p.oh * p.sh && tx < p.ow * p.sw;
        s.at[r] = select(0u, ((t.n[r] * p.oh + ty / p.sh) * p.ow + tx / p.sw) * (p.cout / 4u), inside);
        s.inside |= select(0u, 1u << r, inside);
    }
    return s;
}

fn load(tap: Taps, r: u32, co: u32) -> vec4f {
    return select(vec4f(), vec4f(dy[tap.at[r] + co]), (tap.inside >> r & 1u) == 1u);
}

// Four input channels of the weights of output channel s: lanes `first`.. of `u`, which holds 4 output channels a lane.
fn broadcast(u: vec4f, s: u32, first: u32) -> vec4f {
    let v = u[s];
    return vec4f(subgroupShuffle(v, first), subgroupShuffle(v, first + 1u), subgroupShuffle(v, first + 2u), subgroupShuffle(v, first + 3u));
}

@compute @workgroup_size(LANES)
fn input_gradient(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = pixels(p.first + group_index(at), lane, 16u);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    var sum: array<array<vec4f, 4>, PIXELS>;        // (pixels, channels)
    for (var ky = (t.cy + p.ph) % p.sh; ky < p.kh; ky += p.sh) {
        for (var kx = (t.cx + p.pw) % p.sw; kx < p.kw; kx += p.sw) {
            let tap = taps(t, ky, kx);
            // Lane l holds the weights of input channel l, and of l + 8.
            let row0 = ((ky * p.kw + kx) * p.cin + min(4u * t.c0 + lane, p.cin - 1u)) * cout4;
            let row1 = ((ky * p.kw + kx) * p.cin + min(4u * t.c0 + 8u + lane, p.cin - 1u)) * cout4;
            for (var co = 0u; co < cout4; co++) {
                var v: array<vec4f, PIXELS>;        // (pixels, 4 co)
                for (var r = 0u; r < PIXELS; r++) { v[r] = load(tap, r, co); }
                let u0 = vec4f(w[row0 + co]);
                let u1 = vec4f(w[row1 + co]);
                for (var s = 0u; s < 4u; s++) {
                    for (var q = 0u; q < 4u; q++) {
                        let u = broadcast(select(u0, u1, q >= 2u), s, q % 2u * 4u);
                        for (var r = 0u; r < PIXELS; r++) { sum[r][q] += v[r][s] * u; }
                    }
                }
            }
        }
    }
    for (var r = 0u; r < PIXELS; r++) {
        let e = ((t.n[r] * p.h + t.iy[r]) * p.w + t.ix[r]) * cin4 + t.c0;
        for (var q = 0u; q < 4u; q++) {
            if (t.valid >> r & 1u) == 1u && t.c0 + q < cin4 { dx[e + q] = Out4(sum[r][q]); }
        }
    }
}

// At most 8 input channels.
@compute @workgroup_size(LANES)
fn input_gradient_8(at: At, @builtin(subgroup_invocation_id) lane: u32) {
    let t = pixels(p.first + group_index(at), lane, 8u);
    let cin4 = p.cin / 4u;
    let cout4 = p.cout / 4u;
    var sum: array<array<vec4f, 2>, PIXELS>;
    for (var ky = (t.cy + p.ph) % p.sh; ky < p.kh; ky += p.sh) {
        for (var kx = (t.cx + p.pw) % p.sw; kx < p.kw; kx += p.sw) {
            let tap = taps(t, ky, kx);
            let row = ((ky * p.kw + kx) * p.cin + min(lane, p.cin - 1u)) * cout4;
            for (var co = 0u; co < cout4; co++) {
                var v: array<vec4f, PIXELS>;
                for (var r = 0u; r < PIXELS; r++) { v[r] = load(tap, r, co); }
                let u_lane = vec4f(w[row + co]);
                for (var s = 0u; s < 4u; s++) {
                    for (var q = 0u; q < 2u; q++) {
                        let u = broadcast(u_lane, s, 4u * q);
                        for (var r = 0u; r < PIXELS; r++) { sum[r][q] += v[r][s] * u; }
                    }
                }
            }
        }
    }
    for (var r = 0u; r < PIXELS; r++) {
        let e = ((t.n[r] * p.h + t.iy[r]) * p.w + t.ix[r]) * cin4;
        for (var q = 0u; q < 2u; q++) {
            if (t.valid >> r & 1u) == 1u && q < cin4 { dx[e + q] = Out4(sum[r][q]); }
        }
    }
}
