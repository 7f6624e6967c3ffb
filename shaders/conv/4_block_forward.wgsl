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
// lib: grid elem block carry taps

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

// What an invocation loads. Of A: 4 pixels by their places in x, rows and columns under tap (0, 0), which wrap below 0; a pixel
// past the last one is given a row far outside the image. Vec4s have `taps` in place of rows and columns. Of B: 4 columns by
// their places in the first row. Places count values, or vec4s.
struct Own { at: vec4u, iy: vec4u, ix: vec4u, taps: vec2u, k: u32, end: u32 }
var<private> own: Own;
var<private> tap: vec3u;        // ky, kx, ci of its first term in the step
var<private> stride: vec3u;     // BK in the same digits
var<private> wanted: u32;       // bits of the tap that was read last

fn begin(lid: u32, i0: u32, j0: u32, l0: u32, l1: u32) {
    if reads_a(lid) {
        let block = block_a(lid);
        let pixel = vec4u(i0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u);
        let there = pixel < vec4u(p.n * p.oh * p.ow);
        let iy = pixel / p.ow % p.oh * p.sh - p.ph;
        own.ix = pixel % p.ow * p.sw - p.pw;
        own.iy = select(vec4u(1u << 31u), iy, there);
        if A_VECTORS != 0u {
            let along_y = select(vec4u(), taps_in(-vec4i(iy), vec4i(i32(p.h)) - vec4i(iy), p.kh), there);
            let along_x = taps_in(-vec4i(own.ix), vec4i(i32(p.w)) - vec4i(own.ix), p.kw);
            own.taps = packed_taps(along_y, along_x, p.kh);
        }
        own.at = ((pixel / (p.oh * p.ow) * p.h + iy) * p.w + own.ix) * select(p.cin, p.cin / 4u, A_VECTORS != 0u);
        own.k = 4u * block.x;
        if WHOLE != 0u { own.at += block.x; }
    } else {
        let block = block_b(lid);
        own.k = 4u * block.x;
        // The columns past the last are not written, so it does not matter which they are.
        own.at = min(vec4u(j0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u), vec4u(p.cout - 1u));
        if WHOLE != 0u { own.at += own.k * p.cout; }
        if B_VECTORS != 0u { own.at /= vec4u(4u); }
    }
    if WHOLE != 0u { own.k = 0u; }      // a step lies in one tap: all invocations count from its first term
    own.end = l1;
    tap = digits(l0 + own.k, p.kw, p.cin);
    stride = digits(BK, p.kw, p.cin);
}

fn next_step(l: u32) {
    wanted = tap_bits(tap.x, tap.y, p.kh, l + own.k < own.end);
    tap = carry(tap, stride, p.kw, p.cin);
}

fn there_a(there: u32, r: u32, c: u32) -> bool {
    if A_VECTORS != 0u { return has_tap(own.taps, r, wanted); }
    return ((there >> (4u * r + c)) & 1u) != 0u;
}

fn load_a(l: u32) -> Block {
    var block: Block;
    let k = l + own.k;
    if A_VECTORS != 0u {
        let wanted = tap_bits(tap.x, tap.y, p.kh, k < own.end);
        let place = (tap.x * p.w + tap.y) * (p.cin / 4u) + tap.z / 4u;
        for (var r = 0u; r < 4u; r++) { block.rows[r] = x[select(0u, own.at[r] + place, has_tap(own.taps, r, wanted))]; }
        return block;
    }
    var t = tap;
    for (var q = 0u; q < 4u; q++) {
        let h = select(0u, p.h, k + q < own.end);
        let there = (own.iy + t.x < vec4u(h)) & (own.ix + t.y < vec4u(p.w));
        let at = select(vec4u(), own.at + (t.x * p.w + t.y) * p.cin + t.z, there);
        for (var r = 0u; r < 4u; r++) {
            block.rows[r][q] = x[at[r] / 4u][at[r] % 4u];
            block.there |= u32(there[r]) << (4u * r + q);
        }
        t = carry(t, vec3u(0u, 0u, 1u), p.kw, p.cin);
    }
    return block;
}

fn there_b(there: u32, r: u32, c: u32) -> bool { return WHOLE != 0u || ((there >> r) & 1u) != 0u; }

fn load_b(l: u32) -> Block {
    var block: Block;
    for (var q = 0u; q < 4u; q++) {
        let there = l + select(own.k + q, 0u, WHOLE != 0u) < own.end;
        let k = select(0u, l + own.k + q, there);
        if B_VECTORS != 0u {
            block.rows[q] = w[own.at.x + k * (p.cout / 4u)];
        } else {
            let at = own.at + k * p.cout;
            for (var c = 0u; c < 4u; c++) { block.rows[q][c] = w[at[c] / 4u][at[c] % 4u]; }
        }
        block.there |= u32(there) << q;
    }
    return block;
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
    let place = place_of(lid);
    let at = place.x * (BN / 8u) + place.y;
    workgroupBarrier();
    a_tile[at] = own_sum[0];
    a_tile[WG + at] = own_sum[1];
    workgroupBarrier();
    var total: array<vec4f, 2>;
    for (var i = place.y; i < WG; i += BN / 8u) {
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
