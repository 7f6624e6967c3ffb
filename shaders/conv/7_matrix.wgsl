enable f16;
// Convolution and its gradients as implicit GEMMs on matrix units: f16 operands, f32 sums.
//
// The product is that of lib/matrix.wgsl; only what it loads is told here. PASS says which product it is:
//   0  forward            y (pixels, Cout)            = im2col(x) w           A and k along Cin
//   1  input gradient     dx (input pixels, Cin)      = im2col^T(dy) w^T      A, B and k along Cout
//   2  weight gradient    dw (KH KW Cin, Cout)        = im2col(x)^T dy        k split over pixels
//
// Operands have their channels padded with zeros to a multiple of 4 (matmul/pack.wgsl), so that four neighbours share a
// tap: a stem of 3 channels sums 36 products for 27. Results are not padded.
// lib: grid elem stage tile matrix

override PASS: u32 = 0;
override A_ALONG_K: bool = true;        // PASS != 2
override B_ALONG_K: bool = false;       // PASS == 1

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> result: array<Out>;      // y, dx, or dw with an axis of splits in front
@group(0) @binding(2) var<storage, read> lhs: array<vec4<f16>>;         // x, dy, x
@group(0) @binding(3) var<storage, read> rhs: array<vec4<f16>>;         // w, w, dy

var<private> split: u32;

fn padded(channels: u32) -> u32 { return (channels + 3u) & ~3u; }

// (M, N, K) of the product, with padded channels in M and K.
fn sizes() -> vec3u {
    let taps = p.kh * p.kw;
    if PASS == 0u { return vec3u(p.n * p.oh * p.ow, p.cout, taps * padded(p.cin)); }
    if PASS == 1u { return vec3u(p.n * p.h * p.w, p.cin, taps * padded(p.cout)); }
    return vec3u(taps * padded(p.cin), p.cout, p.n * p.oh * p.ow);
}

// x at output pixel `pixel` under row `row` of (KH, KW, Cin): four elements of im2col(x).
fn im2col(pixel: u32, row: u32) -> vec4<f16> {
    let c = padded(p.cin);
    let tap = row / c;
    let iy = pixel / p.ow % p.oh * p.sh + tap / p.kw - p.ph;
    let ix = pixel % p.ow * p.sw + tap % p.kw - p.pw;
    if iy >= p.h || ix >= p.w { return vec4<f16>(); }
    return lhs[(((pixel / p.ow / p.oh * p.h + iy) * p.w + ix) * c + row % c) / 4u];
}

// dy at input pixel `pixel` under row `row` of (KH, KW, Cout): 0 unless that tap reached the pixel.
fn col2im(pixel: u32, row: u32) -> vec4<f16> {
    let c = padded(p.cout);
    let tap = row / c;
    let ty = pixel / p.w % p.h + p.ph - tap / p.kw;
    let tx = pixel % p.w + p.pw - tap % p.kw;
    if ty % p.sh != 0u || tx % p.sw != 0u || ty / p.sh >= p.oh || tx / p.sw >= p.ow { return vec4<f16>(); }
    return lhs[(((pixel / p.w / p.h * p.oh + ty / p.sh) * p.ow + tx / p.sw) * c + row % c) / 4u];
}

fn load_a(i: u32, l: u32, l1: u32) -> vec4<f16> {
    if i >= sizes().x || l >= l1 { return vec4<f16>(); }
    if PASS == 0u { return im2col(i, l); }
    if PASS == 1u { return col2im(i, l); }
    return im2col(l, i);
}

fn load_b(l: u32, j: u32, l1: u32) -> vec4<f16> {
    if j >= sizes().y || l >= l1 { return vec4<f16>(); }
    let c = padded(p.cout);
    if PASS == 1u { return rhs[((l / c * p.cin + j) * c + l % c) / 4u]; }
    if PASS == 2u { return rhs[(l * c + j) / 4u]; }
    let channels = padded(p.cin);
    if l % channels >= p.cin { return vec4<f16>(); }
    return rhs[((l / channels * p.cin + l % channels) * c + j) / 4u];
}

fn store(i: u32, j: u32, sum: f32) {
    let size = sizes();
    if i >= size.x || j >= size.y || split >= p.splits { return; }
    if PASS != 2u {
        result[i * size.y + j] = Out(sum);
        return;
    }
    let channels = padded(p.cin);
    let row = split * p.kh * p.kw * p.cin + i / channels * p.cin + i % channels;
    if i % channels < p.cin { result[row * p.cout + j] = Out(sum); }
}

fn use_strip(i0: u32, j0: u32, r: u32, lid: u32) {
    for (var e = lid; e < 2u * TILE * C_COLUMNS; e += WG) {
        let row = e / C_COLUMNS;
        let column = e % C_COLUMNS;
        if strip_has(row, column) {
            store(i0 + strip_row(r, row), j0 + strip_column(r, column), c_tile[strip_at(row, column)]);
        }
    }
}

@compute @workgroup_size(WG)
fn conv(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let size = sizes();
    let tiles_m = (size.x + BM - 1u) / BM;
    let tiles_n = (size.y + BN - 1u) / BN;
    let group = p.first + group_index(at);
    split = group / (tiles_m * tiles_n);
    let l0 = split * p.chunk;
    // A workgroup past the work, which folding the grid may add, has an empty range.
    product(group / tiles_n % tiles_m * BM, group % tiles_n * BN, l0, max(l0, min(l0 + p.chunk, size.z)), lid, subgroup, subgroups);
}
