// Input gradient of a convolution as an implicit GEMM with 2-D register blocking: BM pixels x BN channels per workgroup.
//
//   dx[n, iy, ix, ci] = sum over (ky, kx, co) of dy[n, (iy + ph - ky) / sh, (ix + pw - kx) / sw, co] w[ky, kx, ci, co]
//
// over the taps where both quotients are whole. Which they are depends on iy mod sh and ix mod sw alone, so each of these
// classes of pixels is a product of its own, over (ky, kx, co) of its taps: no multiply-add is wasted with a stride.
// 128 x 128 x 16 does 32 multiply-adds for a value loaded.
// lib: grid elem block carry taps

const A_ALONG_K = true;
const B_ALONG_K = true;

// Split s sums terms [s chunk, (s + 1) chunk) and writes a partial dx of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32, plus: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dx: array<Out4>;     // (splits, N, H, W, Cin)
@group(0) @binding(1) var<storage, read_write> dx1: array<Out>;
@group(0) @binding(2) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)
@group(0) @binding(4) var<storage, read> so_far: array<Out4>;       // like dx: added to it if p.plus is 1

// What a workgroup computes: rows i0.. and columns j0.. of the pixels at `residue` modulo the stride, terms [l0, l1). Its
// class has `taps` taps along y and x, the first at `first`, then every sh-th and sw-th.
struct Tile { i0: u32, j0: u32, split: u32, l0: u32, l1: u32, residue: vec2u, first: vec2u, taps: vec2u }

fn class_size() -> vec2u { return (vec2u(p.h, p.w) + vec2u(p.sh, p.sw) - 1u) / vec2u(p.sh, p.sw); }

fn tile_of(group: u32) -> Tile {
    let stride = vec2u(p.sh, p.sw);
    let size = class_size();
    let tiles_j = (p.cin + BN - 1u) / BN;
    let tiles = (p.n * size.x * size.y + BM - 1u) / BM * tiles_j;
    let id = group / tiles % (p.sh * p.sw);
    var t: Tile;
    t.i0 = group % tiles / tiles_j * BM;
    t.j0 = group % tiles_j * BN;
    t.split = group / tiles / (p.sh * p.sw);
    t.residue = vec2u(id / p.sw, id % p.sw);
    t.first = (t.residue + vec2u(p.ph, p.pw)) % stride;
    t.taps = (max(vec2u(p.kh, p.kw), t.first) - t.first + stride - 1u) / stride;
    let k = t.taps.x * t.taps.y * p.cout;
    t.l0 = min(t.split * p.chunk, k);
    t.l1 = select(t.l0, min(t.l0 + p.chunk, k), t.split < p.splits);     // an extra group of the folding has no terms
    return t;
}

// Input pixel (n, iy, ix) of row i. The last ones of a class may lie outside the image.
fn pixel(t: Tile, i: u32) -> vec3u {
    let size = class_size();
    return vec3u(i / size.y / size.x, i / size.y % size.x * p.sh + t.residue.x, i % size.y * p.sw + t.residue.y);
}

// What an invocation loads. Of A: 4 pixels by the places in dy, rows and columns that their first tap reaches; a pixel past the
// last one is given a row far outside. Vec4s have `taps` of the class in place of rows and columns. Of B: 4 columns by their
// places in w under the class's first tap. Places count values, or vec4s.
struct Own { at: vec4u, oy: vec4u, ox: vec4u, taps: vec2u, k: u32, end: u32, taps_x: u32 }
var<private> own: Own;
var<private> tap: vec3u;        // tap of the class along y and x, and co, of its first term in the step
var<private> stride: vec3u;     // BK in the same digits
var<private> wanted: u32;       // bits of the tap that was read last

fn begin(lid: u32, t: Tile) {
    if reads_a(lid) {
        let block = block_a(lid);
        let size = class_size();
        let i = vec4u(t.i0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u);
        let image = i / size.y / size.x;
        let oy = (i / size.y % size.x * p.sh + t.residue.x + p.ph - t.first.x) / p.sh;
        own.ox = (i % size.y * p.sw + t.residue.y + p.pw - t.first.y) / p.sw;
        own.oy = select(vec4u(1u << 31u), oy, image < vec4u(p.n));
        own.at = ((image * p.oh + oy) * p.ow + own.ox) * select(p.cout, p.cout / 4u, A_VECTORS != 0u);
        if A_VECTORS != 0u {
            let along_y = taps_in(vec4i(oy) - i32(p.oh) + 1, vec4i(oy) + 1, t.taps.x);
            let along_x = taps_in(vec4i(own.ox) - i32(p.ow) + 1, vec4i(own.ox) + 1, t.taps.y);
            own.taps = packed_taps(select(vec4u(), along_y, image < vec4u(p.n)), along_x, p.kh);
        }
        own.k = 4u * block.x;
        if WHOLE != 0u { own.at += block.x; }
    } else {
        let block = block_b(lid);
        own.k = 4u * block.x;
        // The columns past the last are not written, so it does not matter which they are.
        let ci = min(vec4u(t.j0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u), vec4u(p.cin - 1u));
        own.at = ((t.first.x * p.kw + t.first.y) * p.cin + ci) * p.cout;
        if WHOLE != 0u { own.at += own.k; }
        if t.l0 >= t.l1 { own.at = vec4u(); }       // a class may have no tap
        if B_VECTORS != 0u { own.at /= vec4u(4u); }
    }
    if WHOLE != 0u { own.k = 0u; }      // a step lies in one tap: all invocations count from its first term
    own.end = t.l1;
    own.taps_x = max(t.taps.y, 1u);
    tap = digits(t.l0 + own.k, own.taps_x, p.cout);
    stride = digits(BK, own.taps_x, p.cout);
}

fn next_step(l: u32) {
    wanted = tap_bits(tap.x, tap.y, p.kh, l + own.k < own.end);
    tap = carry(tap, stride, own.taps_x, p.cout);
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
        let place = tap.z / 4u - (tap.x * p.ow + tap.y) * (p.cout / 4u);
        for (var r = 0u; r < 4u; r++) { block.rows[r] = dy[select(0u, own.at[r] + place, has_tap(own.taps, r, wanted))]; }
        return block;
    }
    var t = tap;
    for (var q = 0u; q < 4u; q++) {
        let oh = select(0u, p.oh, k + q < own.end);
        let there = (own.oy - t.x < vec4u(oh)) & (own.ox - t.y < vec4u(p.ow));
        let at = select(vec4u(), own.at + t.z - (t.x * p.ow + t.y) * p.cout, there);
        for (var r = 0u; r < 4u; r++) {
            block.rows[r][q] = dy[at[r] / 4u][at[r] % 4u];
            block.there |= u32(there[r]) << (4u * r + q);
        }
        t = carry(t, vec3u(0u, 0u, 1u), own.taps_x, p.cout);
    }
    return block;
}

// A whole step counts as a whole. Asked for all the same: without a computation between reading and storing, a compiler may
// lay registers out for the transposed store as soon as they are read, and so wait for them there (RADV does).
fn there_b(there: u32, r: u32, c: u32) -> bool {
    if WHOLE != 0u { return wanted != 0xffffu; }
    return ((there >> c) & 1u) != 0u;
}

fn load_b(l: u32) -> Block {
    var block: Block;
    let k = l + own.k;
    if B_VECTORS != 0u {
        let at = own.at + select(0u, place_in_w(tap) / 4u, k < own.end);
        for (var c = 0u; c < 4u; c++) { block.rows[c] = w[at[c]]; }
        block.there = select(0u, 0xfu, k < own.end);
        return block;
    }
    var t = tap;
    for (var q = 0u; q < 4u; q++) {
        let at = own.at + select(0u, place_in_w(t), k + q < own.end);
        for (var c = 0u; c < 4u; c++) { block.rows[c][q] = w[at[c] / 4u][at[c] % 4u]; }
        block.there |= u32(k + q < own.end) << q;
        t = carry(t, vec3u(0u, 0u, 1u), own.taps_x, p.cout);
    }
    return block;
}

// After the class's first tap and channel 0.
fn place_in_w(t: vec3u) -> u32 { return (t.x * p.sh * p.kw + t.y * p.sw) * (p.cin * p.cout) + t.z; }

fn product(t: Tile, lid: u32) -> array<vec4f, 16> {
    begin(lid, t);
    return blocked_product(lid, t.l0, t.l1);
}

// First element of row i of dx, or 0xffffffff if there is none.
fn row_at(t: Tile, i: u32) -> u32 {
    let to = pixel(t, i);
    if t.split >= p.splits || to.x >= p.n || to.y >= p.h || to.z >= p.w { return 0xffffffffu; }
    return (((t.split * p.n + to.x) * p.h + to.y) * p.w + to.z) * p.cin;
}

fn store(at: u32, sum: vec4f) {
    var x = sum;
    if p.plus != 0u { x += vec4f(so_far[at]); }
    dx[at] = Out4(x);
}

// Cin is a multiple of 4.
@compute @workgroup_size(WG)
fn input_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let row = row_at(t, t.i0 + own_row(lid) + r);
        let j = t.j0 + own_column(lid);
        if row != 0xffffffffu && j < p.cin { store((row + j) / 4u, sum[2u * r]); }
        if row != 0xffffffffu && j + BN / 2u < p.cin { store((row + j + BN / 2u) / 4u, sum[2u * r + 1u]); }
    }
}

// Any number of channels, and nothing to add.
@compute @workgroup_size(WG)
fn input_gradient_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let row = row_at(t, t.i0 + own_row(lid) + r);
        for (var c = 0u; c < 8u; c++) {
            let j = t.j0 + own_column(lid) + c / 4u * (BN / 2u) + c % 4u;
            if row != 0xffffffffu && j < p.cin { dx1[row + j] = Out(sum[2u * r + c / 4u][c % 4u]); }
        }
    }
}
