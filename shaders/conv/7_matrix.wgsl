enable f16;
// Convolution and its gradients as implicit GEMMs on matrix units: f16 operands, f32 sums.
//
// The product is that of lib/matrix.wgsl; only what it loads is told here. PASS says which product it is:
//   0  forward            y (pixels, Cout)            = im2col(x) w           A and k along Cin
//   1  input gradient     dx (input pixels, Cin)      = im2col^T(dy) w^T      A, B and k along Cout
//   2  weight gradient    dw (KH KW Cin, Cout)        = im2col(x)^T dy        k split over pixels
//
// An input gradient goes class by class of the pixels modulo the stride: the same taps reach all pixels of a class, so each is a
// product of its own and no tap is tried in vain. Divisions are made before the loop: a step counts on from the one before.
//
// Operands have their channels padded with zeros to a multiple of 8 (matmul/pack.wgsl), so that eight neighbours share a
// tap: a stem of 3 channels sums 72 products for 27. Results are not padded.
//
// Batch norm needs mean and variance of each channel: with STATS every workgroup of a forward pass also writes them for its
// pixels, from the sums it still holds, so that y is not read again.
// lib: grid elem stage tile matrix result store carry

override PASS: u32 = 0;
override A_ALONG_K: bool = true;        // PASS != 2
override B_ALONG_K: bool = false;       // PASS == 1
override STATS: bool = false;           // with PASS == 0
override PLUS: bool = false;            // with PASS == 1 and whole vec4s of Cin: adds so_far

// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32, strips: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Result>;        // y, dx or dw, with an axis of splits in front
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>;     // mean, sum (y - mean)^2 of a strip, (Cout, strips)
@group(0) @binding(3) var<storage, read> lhs: array<vec4<f16>>;         // x, dy, x
@group(0) @binding(4) var<storage, read> rhs: array<vec4<f16>>;         // w (KH KW, Cin padded, Cout padded), w, dy
@group(0) @binding(5) var<storage, read> so_far: array<Out4>;           // like dx

const OUTSIDE = 1u << 30u;      // a coordinate outside every image, whatever tap is added to it

var<private> split: u32;
var<private> class_: Class;
var<private> a_rows_at: array<vec3u, 32>;   // of each piece of A. PASS 0, 1: the vec4 of lhs under tap (0, 0), and its y and x;
                                            // PASS 2: what a row's tap and channel add to those of a pixel
var<private> term: vec3u;                   // of A's next piece. PASS 0, 1: tap (y, x) and channel; PASS 2: output pixel (n, y, x)
var<private> term_step: vec3u;              // BK in the same digits
var<private> under: array<vec3u, 4>;        // what the next terms add to `a_rows_at`; PASS 0 and 1 use the first
var<private> b_at: u32;                     // the vec4 of rhs at which the next terms of this invocation's first piece begin
var<private> b_first: u32;                  // PASS 1: the same for the first tap of the class

fn padded(channels: u32) -> u32 { return (channels + 7u) & ~7u; }

// A class of input pixels (y, x) = residue (mod stride): taps `first`, first + stride, .. reach it, `taps` of them along y and x;
// under the first of them its pixel (0, 0) sees `origin`. Without PASS 1 there is one class.
struct Class { residue: vec2u, origin: vec2u, first: vec2u, taps: vec2u }

fn class_of(id: u32) -> Class {
    if PASS != 1u { return Class(vec2u(), vec2u(), vec2u(), vec2u(p.kh, p.kw)); }
    let stride = vec2u(p.sh, p.sw);
    let y = id / p.sw;
    let residue = vec2u(y, id - y * p.sw);
    let origin = (residue + vec2u(p.ph, p.pw)) / stride;
    let first = residue + vec2u(p.ph, p.pw) - origin * stride;
    return Class(residue, origin, first, (max(vec2u(p.kh, p.kw), first) - first + stride - 1u) / stride);
}

// Pixels along y and x that rows of A run over: of a class in PASS 1, where the last ones may lie outside the image.
fn grid_size() -> vec2u {
    if PASS == 1u { return (vec2u(p.h, p.w) + vec2u(p.sh, p.sw) - 1u) / vec2u(p.sh, p.sw); }
    return vec2u(p.oh, p.ow);
}

fn lhs_size() -> vec2u { return select(vec2u(p.h, p.w), vec2u(p.oh, p.ow), PASS == 1u); }
fn lhs_channels() -> u32 { return padded(select(p.cin, p.cout, PASS == 1u)); }

// (M, N, K) of the product, with padded channels in M and K.
fn sizes() -> vec3u {
    let size = grid_size();
    let pixels = p.n * size.x * size.y;
    if PASS == 2u { return vec3u(p.kh * p.kw * padded(p.cin), p.cout, pixels); }
    return vec3u(pixels, columns(), class_.taps.x * class_.taps.y * lhs_channels());
}

fn columns() -> u32 { return select(p.cout, p.cin, PASS == 1u); }

fn begin() {
    let image = lhs_size();
    let size = grid_size();
    let channels = lhs_channels() / 4u;
    let at = a_piece(0u);
    let first = block.i0 + at.y;
    if PASS == 2u {
        term = digits(block.l + 4u * at.x, size.x, size.y);
        term_step = digits(BK, size.x, size.y);
        for (var s = 0u; s < a_pieces(); s++) {
            let row = (first + s * a_step()) / 4u;
            let tap = row / channels;
            let y = tap / p.kw - p.ph;
            let x = tap % p.kw - p.pw;
            let there = tap < p.kh * p.kw;
            a_rows_at[s] = vec3u((y * image.y + x) * channels + row % channels, select(OUTSIDE, y, WHOLE || there), x);
        }
    } else {
        term = digits(block.l + 4u * at.x, max(class_.taps.y, 1u), 4u * channels);
        term_step = digits(BK, max(class_.taps.y, 1u), 4u * channels);
        var pixel = digits(first, size.x, size.y);
        let step = digits(a_step(), size.x, size.y);
        for (var s = 0u; s < a_pieces(); s++) {
            var y = pixel.y * p.sh - p.ph;
            var x = pixel.z * p.sw - p.pw;
            if PASS == 1u {
                y = pixel.y + class_.origin.x;
                x = pixel.z + class_.origin.y;
            }
            let there = first + s * a_step() < sizes().x;
            a_rows_at[s] = vec3u(((pixel.x * image.x + y) * image.y + x) * channels, select(OUTSIDE, y, WHOLE || there), x);
            pixel = carry(pixel, step, size.x, size.y);
        }
    }
    let j = block.j0 + b_piece(0u).y;
    b_at = (block.l + 4u * b_piece(0u).x) * (padded(p.cout) / 4u) + j / 4u;
    b_first = ((class_.first.x * p.kw + class_.first.y) * padded(p.cin) + j) * channels;
    find_terms();
}

fn advance() {
    let rows = select(vec2u(class_.taps.y, lhs_channels()), grid_size(), PASS == 2u);
    term = carry(term, term_step, rows.x, rows.y);
    b_at += BK * (padded(p.cout) / 4u);
    find_terms();
}

fn find_terms() {
    let image = lhs_size();
    let channels = lhs_channels() / 4u;
    let l = block.l + 4u * a_piece(0u).x;
    if PASS == 2u {
        var pixel = term;
        for (var q = 0u; q < 4u; q++) {
            let y = pixel.y * p.sh;
            let x = pixel.z * p.sw;
            under[q] = vec3u(((pixel.x * image.x + y) * image.y + x) * channels, select(OUTSIDE, y, WHOLE || l + q < block.l1), x);
            pixel = carry(pixel, vec3u(0u, 0u, 1u), p.oh, p.ow);
        }
        return;
    }
    let y = select(term.x, 0u - term.x, PASS == 1u);
    let x = select(term.y, 0u - term.y, PASS == 1u);
    under[0] = vec3u(y * (image.y * channels) + x * channels + term.z / 4u, select(OUTSIDE, y, WHOLE || l < block.l1), x);
    if PASS == 1u {
        let tap = padded(p.cin) * channels;     // vec4s of a tap's weights
        b_at = b_first + term.x * (p.sh * p.kw * tap) + term.y * (p.sw * tap) + term.z / 4u;
    }
}

fn load_a(s: u32, q: u32) -> vec4<f16> {
    let image = lhs_size();
    let at = a_rows_at[s] + under[select(0u, q, PASS == 2u)];
    let inside = at.y < image.x && at.z < image.y;
    return select(vec4<f16>(), lhs[select(0u, at.x, inside) + select(q, 0u, PASS == 2u)], inside);
}

fn load_b(s: u32, q: u32) -> vec4<f16> {
    let j = block.j0 + b_piece(s).y;
    let l = block.l + 4u * b_piece(0u).x;
    var at = b_at + s * b_step() / 4u + q * (padded(p.cout) / 4u);
    var inside = WHOLE || (l + q < block.l1 && j < padded(p.cout));
    if PASS == 1u {
        at = b_at + s * b_step() * (padded(p.cout) / 4u);
        inside = WHOLE || (l < block.l1 && j < p.cin);
    }
    return select(vec4<f16>(), rhs[select(0u, at, inside) + select(0u, q, PASS == 1u)], inside);
}

fn row_of(i: u32) -> u32 {
    if i >= sizes().x || split >= p.splits { return NO_ROW; }
    if PASS == 0u { return (split * sizes().x + i) * p.cout; }
    if PASS == 1u {
        let size = grid_size();
        let pixel = digits(i, size.x, size.y);
        let at = pixel.yz * vec2u(p.sh, p.sw) + class_.residue;
        let row = ((split * p.n + pixel.x) * p.h + at.x) * p.w + at.y;
        return select(NO_ROW, row * p.cin, at.x < p.h && at.y < p.w);
    }
    let channels = padded(p.cin);
    let row = (split * p.kh * p.kw + i / channels) * p.cin + i % channels;
    return select(NO_ROW, row * p.cout, i % channels < p.cin);
}

// Of the block's columns, a vec4 at a time: y in the block's first row, and sums of y less that and of its square. So close to the
// mean no digits are lost.
override COLUMN_QUADS: u32 = BN / 4u;
override TOTALS: u32 = BN / 2u;
var<workgroup> shift: array<vec4f, COLUMN_QUADS>;
var<workgroup> totals: array<vec4f, TOTALS>;
// Those sums over the rows that this invocation stores, of its columns in even and in odd strips.
var<private> sums: array<vec4f, 2>;
var<private> squares: array<vec4f, 2>;

fn total(at: u32, x: vec4f) -> vec4f {
    if PLUS { return x + vec4f(so_far[at / 4u]); }
    return x;
}

fn use_strip(r: u32) {
    if STATS && r < 2u {
        let quad = block.lid % STRIP_QUADS;
        if block.lid < STRIP_QUADS && strip_has(0u, quad) { shift[strip_column(r, quad) / 4u] = strip_at(0u, quad); }
        workgroupBarrier();
        sums[r] = vec4f();
        squares[r] = vec4f();
    }
    store_strip(r);
}

fn stored_row(r: u32, x: vec4f) {
    if !STATS { return; }
    let d = x - shift[strip_column(r, block.lid % STRIP_QUADS) / 4u];
    sums[r % 2u] += d;
    squares[r % 2u] += d * d;
}

// Adds `x` up over the invocations of the same columns, into totals[at + columns].
fn add_up(x: vec4f, r: u32, at: u32) {
    workgroupBarrier();
    let rows = min(STRIP_STEP, STRIP_ROWS);
    let quad = block.lid % STRIP_QUADS;
    if block.lid < rows * STRIP_QUADS { keep(block.lid, x); }
    workgroupBarrier();
    if block.lid >= STRIP_QUADS { return; }
    var sum = select(vec4f(), totals[at + strip_column(r, quad) / 4u], made.x > 0u);
    for (var row = 0u; row < rows; row++) { sum += stored(row * STRIP_QUADS + quad); }
    totals[at + strip_column(r, quad) / 4u] = sum;
}

// After each round of patches.
fn end_round() {
    if !STATS { return; }
    for (var r = 0u; r < 2u; r++) {
        add_up(sums[r], r, 0u);
        add_up(squares[r], r, BN / 4u);
    }
    workgroupBarrier();
    let rows = sizes().x;
    let count = f32(min(BM, rows - min(block.i0, rows)));
    let j = block.j0 + block.lid;
    if block.lid < BN && block.i0 < rows && j < p.cout && made.y >= DOWN * ACROSS {
        let sum = totals[block.lid / 4u][block.lid % 4u];
        let square = totals[BN / 4u + block.lid / 4u][block.lid % 4u];
        let mean = shift[block.lid / 4u][block.lid % 4u] + sum / count;
        stats[j * p.strips + block.i0 / BM] = vec2f(mean, max(square - sum * sum / count, 0.0));
    }
}

@compute @workgroup_size(WG)
fn conv(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let group = p.first + group_index(at);
    let size = grid_size();
    let rows = select(p.n * size.x * size.y, p.kh * p.kw * padded(p.cin), PASS == 2u);
    let tiles_n = (columns() + BN - 1u) / BN;
    let tiles = (rows + BM - 1u) / BM * tiles_n;
    let classes = select(1u, p.sh * p.sw, PASS == 1u);
    class_ = class_of(group / tiles % classes);
    split = group / tiles / classes;
    let i0 = group % tiles / tiles_n * BM;
    let l0 = split * p.chunk;
    find_rows(i0, lid);
    // A workgroup past the work, which folding the grid may add, has an empty range.
    product(i0, group % tiles_n * BN, l0, max(l0, min(l0 + p.chunk, sizes().z)), lid, subgroup, subgroups);
}
