// Convolution forward as an implicit GEMM with 2-D register blocking: BM pixels x BN channels per workgroup.
//
//   y[n, oy, ox, co] = sum over (ky, kx, ci) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] w[ky, kx, ci, co]
//
// Terms are (ky, kx, ci) in one run, so a stem of 3 channels has 27 of them and not 9 taps padded to a step each. The
// im2col index is made while loading: what belongs to a pixel before the loop, the tap by counting on from the step
// before. 128 x 128 x 16 does 32 multiply-adds for a value loaded, 3_workgroup 16. Channels in multiples of 4 are read and
// written as vec4, others one by one.
//
// Batch norm needs mean and variance of each channel: with `strips` > 0 every workgroup also writes them for its pixels,
// from the sums it still holds, so that y is not read again.
// lib: grid elem block carry

const A_ALONG_K = true;
const B_ALONG_K = false;

// Split s sums terms [s chunk, (s + 1) chunk) and writes a partial y of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32, strips: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Out4>;      // (splits, N, OH, OW, Cout)
@group(0) @binding(1) var<storage, read_write> y1: array<Out>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>; // mean, sum (y - mean)^2 of a strip, (Cout, strips)
@group(0) @binding(3) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(4) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)

// The block an invocation loads. Of A: 4 pixels, each by its image and its place under tap (0, 0), which wraps below 0. A pixel
// past the last one is given a row far outside the image: a vec4<bool> kept across barriers crashes LLVM 19 on AVX-512.
struct Block { image: vec4u, iy: vec4u, ix: vec4u, k: u32, j: u32, end: u32 }
var<private> own: Block;
var<private> tap: vec3u;        // ky, kx, ci of its next term

fn begin(lid: u32, i0: u32, j0: u32, l0: u32, l1: u32) {
    own.end = l1;
    if reads_a(lid) {
        let at = block_a(lid);
        let pixel = vec4u(i0 + 4u * at.y) + vec4u(0u, 1u, 2u, 3u);
        own.image = pixel / (p.oh * p.ow);
        let there = pixel < vec4u(p.n * p.oh * p.ow);
        own.iy = select(vec4u(1u << 31u), pixel / p.ow % p.oh * p.sh - p.ph, there);
        own.ix = pixel % p.ow * p.sw - p.pw;
        own.k = 4u * at.x;
        tap = digits(l0 + own.k, p.kw, p.cin);
    } else {
        let at = block_b(lid);
        own.k = 4u * at.x;
        own.j = j0 + 4u * at.y;
    }
}

fn load_a(step: u32) -> mat4x4f {
    let k = step + own.k;
    var m: mat4x4f;
    if p.cin % 4u == 0u {
        let at = x_at(k) / 4u;
        let none = at == vec4u(0x3fffffffu);
        let i = select(at, vec4u(), none);
        for (var r = 0u; r < 4u; r++) { m[r] = select(vec4f(x[i[r]]), vec4f(), none[r]); }
        tap = carry(tap, BK, p.kw, p.cin);
        return transpose(m);
    }
    for (var q = 0u; q < 4u; q++) {
        let at = x_at(k + q);
        let none = at == vec4u(0xffffffffu);
        let i = select(at, vec4u(), none);
        for (var r = 0u; r < 4u; r++) { m[q][r] = select(f32(x[i[r] / 4u][i[r] % 4u]), 0.0, none[r]); }
        tap = carry(tap, 1u, p.kw, p.cin);
    }
    tap = carry(tap, BK - 4u, p.kw, p.cin);
    return m;
}

// Where the 4 pixels read x under the tap, which is term k; 0xffffffff if there is nothing.
fn x_at(k: u32) -> vec4u {
    let iy = own.iy + tap.x;
    let ix = own.ix + tap.y;
    let h = select(0u, p.h, k < own.end);
    let inside = iy < vec4u(h) & ix < vec4u(p.w);
    return select(vec4u(0xffffffffu), ((own.image * p.h + iy) * p.w + ix) * p.cin + tap.z, inside);
}

fn load_b(step: u32) -> mat4x4f {
    var m: mat4x4f;
    for (var q = 0u; q < 4u; q++) {
        let k = step + own.k + q;
        let at = k * p.cout + own.j;
        if k >= own.end { continue; }
        if p.cout % 4u == 0u {
            if own.j < p.cout { m[q] = vec4f(w[at / 4u]); }
        } else {
            for (var c = 0u; c < 4u; c++) {
                if own.j + c < p.cout { m[q][c] = f32(w[(at + c) / 4u][(at + c) % 4u]); }
            }
        }
    }
    return m;
}

// What a workgroup computes: rows i0.., columns j0.., terms [l0, l1).
struct Tile { i0: u32, j0: u32, split: u32, l0: u32, l1: u32 }

fn tile_of(group: u32) -> Tile {
    let tiles_j = (p.cout + BN - 1u) / BN;
    let tiles = (p.n * p.oh * p.ow + BM - 1u) / BM * tiles_j;
    let split = group / tiles;
    let l0 = min(split * p.chunk, p.kh * p.kw * p.cin);
    // An extra group of the folding has no terms.
    let l1 = select(l0, min(l0 + p.chunk, p.kh * p.kw * p.cin), split < p.splits);
    return Tile(group % tiles / tiles_j * BM, group % tiles_j * BN, split, l0, l1);
}

fn product(t: Tile, lid: u32) -> array<vec4f, 16> {
    begin(lid, t.i0, t.j0, t.l0, t.l1);
    let sum = blocked_product(lid, t.l0, t.l1);
    if p.strips > 0u { write_stats(t, lid, sum); }
    return sum;
}

// Sums of 8 columns over the 8 rows of an invocation, put where the others find them; then those of all rows.
fn over_rows(lid: u32, own_sum: array<vec4f, 2>) -> array<vec4f, 2> {
    workgroupBarrier();
    a_tile[lid] = own_sum[0];
    a_tile[WG + lid] = own_sum[1];
    workgroupBarrier();
    var total: array<vec4f, 2>;
    for (var i = lid % (BN / 8u); i < WG; i += BN / 8u) {
        total[0] += a_tile[i];
        total[1] += a_tile[WG + i];
    }
    return total;
}

// The mean first, then the squares about it: two passes over registers.
fn write_stats(t: Tile, lid: u32, sum: array<vec4f, 16>) {
    let rows = p.n * p.oh * p.ow;
    let count = f32(min(BM, rows - min(t.i0, rows)));
    let own_rows = min(8u, rows - min(t.i0 + own_row(lid), rows));
    var part: array<vec4f, 2>;
    for (var r = 0u; r < 8u; r++) {         // rows past the last are 0
        part[0] += sum[2u * r];
        part[1] += sum[2u * r + 1u];
    }
    let total = over_rows(lid, part);
    let mean = array<vec4f, 2>(total[0] / count, total[1] / count);
    part = array<vec4f, 2>();
    for (var r = 0u; r < 8u; r++) {
        let d0 = select(vec4f(), sum[2u * r] - mean[0], r < own_rows);
        let d1 = select(vec4f(), sum[2u * r + 1u] - mean[1], r < own_rows);
        part[0] += d0 * d0;
        part[1] += d1 * d1;
    }
    let m2 = over_rows(lid, part);
    if own_row(lid) != 0u || t.i0 >= rows || t.split > 0u { return; }
    for (var c = 0u; c < 8u; c++) {
        let j = t.j0 + own_column(lid) + c / 4u * (BN / 2u) + c % 4u;
        if j < p.cout { stats[j * p.strips + t.i0 / BM] = vec2f(mean[c / 4u][c % 4u], m2[c / 4u][c % 4u]); }
    }
}

// Cout is a multiple of 4.
@compute @workgroup_size(WG)
fn forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 16u; r++) {
        let i = t.i0 + own_row(lid) + r / 2u;
        let j = t.j0 + own_column(lid) + r % 2u * (BN / 2u);
        if t.split < p.splits && i < p.n * p.oh * p.ow && j < p.cout {
            y[((t.split * p.n * p.oh * p.ow + i) * p.cout + j) / 4u] = Out4(sum[r]);
        }
    }
}

// Any number of channels.
@compute @workgroup_size(WG)
fn forward_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 16u; r++) {
        let i = t.i0 + own_row(lid) + r / 2u;
        for (var c = 0u; c < 4u; c++) {
            let j = t.j0 + own_column(lid) + r % 2u * (BN / 2u) + c;
            if t.split < p.splits && i < p.n * p.oh * p.ow && j < p.cout {
                y1[(t.split * p.n * p.oh * p.ow + i) * p.cout + j] = Out(sum[r][c]);
            }
        }
    }
}
