// Convolution and its gradients as implicit GEMMs, 64 x 64 of the result per workgroup, 8 x 4 sums per invocation.
//
// The loop is that of matmul/3_workgroup.wgsl; only the two loads differ. PASS says which product it is:
//   0  forward            y (pixels, Cout)            = im2col(x) w
//   1  input gradient     dx (input pixels, Cin)      = im2col^T(dy) w^T
//   2  weight gradient    dw (KH KW Cin, Cout)        = im2col(x)^T dy, k split over pixels
// lib: grid elem

override PASS: u32 = 0;

const BM = 64u;
const BN = 64u;
const BK = 16u;
const WG = 128u;        // (8, 16) invocations of 8 x 4 elements

struct Params {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> result: array<Out>;     // y, dx, or dw with an axis of splits in front
@group(0) @binding(2) var<storage, read> lhs: array<Elem>;              // x, dy, x
@group(0) @binding(3) var<storage, read> rhs: array<Elem>;              // w, w, dy

var<workgroup> a_tile: array<vec4f, BK * BM / 4u>;      // (BK, BM)
var<workgroup> b_tile: array<vec4f, BK * BN / 4u>;      // (BK, BN)

// (M, N, K) of the product.
fn sizes() -> vec3u {
    let taps = p.kh * p.kw;
    if PASS == 0u { return vec3u(p.n * p.oh * p.ow, p.cout, taps * p.cin); }
    if PASS == 1u { return vec3u(p.n * p.h * p.w, p.cin, taps * p.cout); }
    return vec3u(taps * p.cin, p.cout, p.n * p.oh * p.ow);
}

// x at output pixel `pixel` under row `tap` of (KH, KW, Cin): an element of im2col(x).
fn im2col(pixel: u32, tap: u32) -> f32 {
    let iy = pixel / p.ow % p.oh * p.sh + tap / p.cin / p.kw - p.ph;
    let ix = pixel % p.ow * p.sw + tap / p.cin % p.kw - p.pw;
    if iy >= p.h || ix >= p.w { return 0.0; }
    return f32(lhs[((pixel / p.ow / p.oh * p.h + iy) * p.w + ix) * p.cin + tap % p.cin]);
}

// dy at input pixel `pixel` under row `tap` of (KH, KW, Cout): 0 unless that tap reached the pixel.
fn col2im(pixel: u32, tap: u32) -> f32 {
    let ty = pixel / p.w % p.h + p.ph - tap / p.cout / p.kw;
    let tx = pixel % p.w + p.pw - tap / p.cout % p.kw;
    if ty % p.sh != 0u || tx % p.sw != 0u || ty / p.sh >= p.oh || tx / p.sw >= p.ow { return 0.0; }
    return f32(lhs[((pixel / p.w / p.h * p.oh + ty / p.sh) * p.ow + tx / p.sw) * p.cout + tap % p.cout]);
}

fn a_at(i: u32, l: u32) -> f32 {
    if PASS == 0u { return im2col(i, l); }
    if PASS == 1u { return col2im(i, l); }
    return im2col(l, i);
}

fn b_at(l: u32, j: u32) -> f32 {
    if PASS == 1u { return f32(rhs[(l / p.cout * p.cin + j) * p.cout + l % p.cout]); }
    return f32(rhs[l * p.cout + j]);
}

@compute @workgroup_size(WG)
fn conv(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let size = sizes();
    let tiles_m = (size.x + BM - 1u) / BM;
    let tiles_n = (size.y + BN - 1u) / BN;
    let group = group_index(wid, nwg);
    let split = group / (tiles_m * tiles_n);
    let i0 = group / tiles_n % tiles_m * BM;
    let j0 = group % tiles_n * BN;
    let l0 = split * p.chunk;
    let l1 = select(l0, min(l0 + p.chunk, size.z), split < p.splits);       // an extra group of the folding does nothing

    let ty = lid / 16u;
    let tx = lid % 16u;
    var sum: array<vec4f, 8>;
    for (var l = l0; l < l1; l += BK) {
        for (var e = lid; e < BK * BM / 4u; e += WG) {
            // Neighbouring invocations read along the contiguous axis: k, except where rows are channels.
            let at = select(vec2u(e % BK, e / BK), vec2u(e / (BM / 4u), e % (BM / 4u)), vec2<bool>(PASS == 2u));
            let bt = select(vec2u(e / (BN / 4u), e % (BN / 4u)), vec2u(e % BK, e / BK), vec2<bool>(PASS == 1u));
            var v = vec4f();
            var u = vec4f();
            for (var q = 0u; q < 4u; q++) {
                let i = i0 + 4u * at.y + q;
                let j = j0 + 4u * bt.y + q;
                if i < size.x && l + at.x < l1 { v[q] = a_at(i, l + at.x); }
                if j < size.y && l + bt.x < l1 { u[q] = b_at(l + bt.x, j); }
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

    for (var r = 0u; r < 8u; r++) {
        let i = i0 + 8u * ty + r;
        for (var q = 0u; q < 4u; q++) {
            let j = j0 + 4u * tx + q;
            if split < p.splits && i < size.x && j < size.y {
                result[(split * size.x + i) * size.y + j] = Out(sum[r][q]);
            }
        }
    }
}
