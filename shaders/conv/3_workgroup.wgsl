// Convolution and its gradients as implicit GEMMs, 64 x 64 of the result per workgroup, 8 x 4 sums per invocation.
//
// The loop is that of matmul/3_workgroup.wgsl; only the two loads differ. PASS says which product it is:
//   0  forward            y (pixels, Cout)            = im2col(x) w
//   1  input gradient     dx (input pixels, Cin)      = im2col^T(dy) w^T
//   2  weight gradient    dw (KH KW Cin, Cout)        = im2col(x)^T dy
//
// Which taps reach an input pixel depends on its place modulo the stride alone, so an input gradient is a product for
// each of these classes, over the taps of the class: with stride 2 none of the 9 taps is tried where it cannot reach.
// lib: grid elem

override PASS: u32 = 0;

const BM = 64u;
const BN = 64u;
const BK = 16u;
const WG = 128u;        // (8, 16) invocations of 8 x 4 elements

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial result of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> result: array<Out>;      // y, dx or dw, with an axis of splits in front
@group(0) @binding(2) var<storage, read> lhs: array<Elem>;              // x, dy, x
@group(0) @binding(3) var<storage, read> rhs: array<Elem>;              // w, w, dy

var<workgroup> a_tile: array<vec4f, BK * BM / 4u>;      // (BK, BM)
var<workgroup> b_tile: array<vec4f, BK * BN / 4u>;      // (BK, BN)

// What a workgroup computes: rows i0.., columns j0.. of a product (m, n, k), with terms [l0, l1). `first` is the tap and
// `taps` the number of taps along y and x of its class of input pixels (cy, cx).
struct Tile { i0: u32, j0: u32, m: u32, n: u32, split: u32, l0: u32, l1: u32, class_at: vec2u, first: vec2u, taps: vec2u }

fn tile_of(group: u32) -> Tile {
    let stride = vec2u(p.sh, p.sw);
    var t: Tile;
    t.m = p.n * p.oh * p.ow;
    t.n = p.cout;
    t.taps = vec2u(p.kh, p.kw);
    var k = p.kh * p.kw * p.cin;
    var classes = 1u;
    if PASS == 1u {
        t.m = p.n * ((p.h + p.sh - 1u) / p.sh) * ((p.w + p.sw - 1u) / p.sw);
        t.n = p.cin;
        classes = p.sh * p.sw;
    }
    if PASS == 2u {
        k = t.m;
        t.m = p.kh * p.kw * p.cin;
    }
    let tiles_n = (t.n + BN - 1u) / BN;
    let tiles = (t.m + BM - 1u) / BM * tiles_n;
    t.j0 = group % tiles_n * BN;
    t.i0 = group % tiles / tiles_n * BM;
    t.split = group / tiles / classes;
    if PASS == 1u {
        let id = group / tiles % classes;
        t.class_at = vec2u(id / p.sw, id % p.sw);
        t.first = (t.class_at + vec2u(p.ph, p.pw)) % stride;
        t.taps = (max(t.taps, t.first) - t.first + stride - 1u) / stride;
        k = t.taps.x * t.taps.y * p.cout;
    }
    t.l0 = min(t.split * p.chunk, k);
    t.l1 = select(t.l0, min(t.l0 + p.chunk, k), t.split < p.splits);      // an extra group of the folding does nothing
    return t;
}

// x at output pixel `pixel` under row `tap` of (KH, KW, Cin): an element of im2col(x).
fn im2col(pixel: u32, tap: u32) -> f32 {
    let iy = pixel / p.ow % p.oh * p.sh + tap / p.cin / p.kw - p.ph;
    let ix = pixel % p.ow * p.sw + tap / p.cin % p.kw - p.pw;
    if iy >= p.h || ix >= p.w { return 0.0; }
    return f32(lhs[((pixel / p.ow / p.oh * p.h + iy) * p.w + ix) * p.cin + tap % p.cin]);
}

// Input pixel (n, iy, ix) of row i of a class. Of its last rows and columns some may lie outside the image.
fn input_pixel(t: Tile, i: u32) -> vec3u {
    let rows = (p.h + p.sh - 1u) / p.sh;
    let columns = (p.w + p.sw - 1u) / p.sw;
    return vec3u(i / columns / rows, i / columns % rows * p.sh + t.class_at.x, i % columns * p.sw + t.class_at.y);
}

// Tap (ky, kx) of term l of a class.
fn class_tap(t: Tile, l: u32) -> vec2u {
    return t.first + vec2u(l / p.cout / t.taps.y, l / p.cout % t.taps.y) * vec2u(p.sh, p.sw);
}

// dy at the output pixel that `tap` takes to input pixel `at`.
fn col2im(at: vec3u, tap: vec2u, co: u32) -> f32 {
    let oy = (at.y + p.ph - tap.x) / p.sh;
    let ox = (at.z + p.pw - tap.y) / p.sw;
    if oy >= p.oh || ox >= p.ow { return 0.0; }
    return f32(lhs[((at.x * p.oh + oy) * p.ow + ox) * p.cout + co]);
}

fn a_at(t: Tile, i: u32, l: u32) -> f32 {
    if PASS == 0u { return im2col(i, l); }
    if PASS == 1u { return col2im(input_pixel(t, i), class_tap(t, l), l % p.cout); }
    return im2col(l, i);
}

fn b_at(t: Tile, l: u32, j: u32) -> f32 {
    if PASS != 1u { return f32(rhs[l * p.cout + j]); }
    let tap = class_tap(t, l);
    return f32(rhs[((tap.x * p.kw + tap.y) * p.cin + j) * p.cout + l % p.cout]);
}

// 8 x 4 sums of one invocation.
fn product(t: Tile, lid: u32) -> array<vec4f, 8> {
    let ty = lid / 16u;
    let tx = lid % 16u;
    var sum: array<vec4f, 8>;
    for (var l = t.l0; l < t.l1; l += BK) {
        for (var e = lid; e < BK * BM / 4u; e += WG) {
            // Neighbouring invocations read along the contiguous axis: k, except where rows are channels.
            let at = select(vec2u(e % BK, e / BK), vec2u(e / (BM / 4u), e % (BM / 4u)), vec2<bool>(PASS == 2u));
            let bt = select(vec2u(e / (BN / 4u), e % (BN / 4u)), vec2u(e % BK, e / BK), vec2<bool>(PASS == 1u));
            var v = vec4f();
            var u = vec4f();
            for (var q = 0u; q < 4u; q++) {
                let i = t.i0 + 4u * at.y + q;
                let j = t.j0 + 4u * bt.y + q;
                if i < t.m && l + at.x < t.l1 { v[q] = a_at(t, i, l + at.x); }
                if j < t.n && l + bt.x < t.l1 { u[q] = b_at(t, l + bt.x, j); }
            }
            a_tile[at.x * (BM / 4u) + at.y] = v;
            b_tile[bt.x * (BN / 4u) + bt.y] = u;
        }
        workgroupBarrier();
        for (var s = 0u; s < BK; s++) {
            let v0 = a_tile[s * (BM / 4u) + 2u * ty];
            let v1 = a_tile[s * (BM / 4u) + 2u * ty + 1u];
            let u = b_tile[s * (BN / 4u) + tx];
            for (var r = 0u; r < 4u; r++) {
                sum[r] += v0[r] * u;
                sum[r + 4u] += v1[r] * u;
            }
        }
        workgroupBarrier();
    }
    return sum;
}

// First element of row i of the result, or 0xffffffff if there is no such row.
fn row_at(t: Tile, i: u32) -> u32 {
    if t.split >= p.splits || i >= t.m { return 0xffffffffu; }
    if PASS != 1u { return (t.split * t.m + i) * t.n; }
    let at = input_pixel(t, i);
    if at.y >= p.h || at.z >= p.w { return 0xffffffffu; }
    return (((t.split * p.n + at.x) * p.h + at.y) * p.w + at.z) * t.n;
}

@compute @workgroup_size(WG)
fn conv(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let row = row_at(t, t.i0 + 8u * (lid / 16u) + r);
        for (var q = 0u; q < 4u; q++) {
            let j = t.j0 + lid % 16u * 4u + q;
            if row != 0xffffffffu && j < t.n { result[row + j] = Out(sum[r][q]); }
        }
    }
}
