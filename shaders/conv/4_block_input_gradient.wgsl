// Input gradient of a convolution as an implicit GEMM with 2-D register blocking: BM pixels x BN channels per workgroup.
//
//   dx[n, iy, ix, ci] = sum over (ky, kx, co) of dy[n, (iy + ph - ky) / sh, (ix + pw - kx) / sw, co] w[ky, kx, ci, co]
//
// over the taps where both quotients are whole. Which they are depends on iy mod sh and ix mod sw alone, so each of these
// classes of pixels is a product of its own, over (ky, kx, co) of its taps: no multiply-add is wasted with a stride.
// 128 x 128 x 16 does 32 multiply-adds for a value loaded.
// lib: grid elem block carry

const A_ALONG_K = true;
const B_ALONG_K = true;

// Split s sums terms [s chunk, (s + 1) chunk) and writes a partial dx of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dx: array<Out4>;     // (splits, N, H, W, Cin)
@group(0) @binding(1) var<storage, read_write> dx1: array<Out>;
@group(0) @binding(2) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)
@group(0) @binding(3) var<storage, read> w: array<Elem4>;           // (KH, KW, Cin, Cout)

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

// The block an invocation loads. Of A: 4 pixels, each by its image and the output pixel its first tap reaches.
struct Block { image: vec4u, oy: vec4u, ox: vec4u, k: u32, j: u32, end: u32, first: vec2u, taps: vec2u }
var<private> own: Block;
var<private> tap: vec3u;        // tap of the class along y and x, and co, of its next term

fn begin(lid: u32, t: Tile) {
    own.end = t.l1;
    own.first = t.first;
    own.taps = t.taps;
    if reads_a(lid) {
        let at = block_a(lid);
        own.k = 4u * at.x;
        for (var r = 0u; r < 4u; r++) {
            let to = pixel(t, t.i0 + 4u * at.y + r);
            own.image[r] = to.x;
            own.oy[r] = (to.y + p.ph - t.first.x) / p.sh;
            own.ox[r] = (to.z + p.pw - t.first.y) / p.sw;
        }
    } else {
        let at = block_b(lid);
        own.k = 4u * at.x;
        own.j = t.j0 + 4u * at.y;
    }
    tap = digits(t.l0 + own.k, max(t.taps.y, 1u), p.cout);
}

fn next_tap(by: u32) { tap = carry(tap, by, max(own.taps.y, 1u), p.cout); }

fn load_a(step: u32) -> mat4x4f {
    let k = step + own.k;
    var m: mat4x4f;
    if p.cout % 4u == 0u {
        let at = dy_at(k) / 4u;
        let none = at == vec4u(0x3fffffffu);
        let i = select(at, vec4u(), none);
        for (var r = 0u; r < 4u; r++) { m[r] = select(vec4f(dy[i[r]]), vec4f(), none[r]); }
        next_tap(BK);
        return transpose(m);
    }
    for (var q = 0u; q < 4u; q++) {
        let at = dy_at(k + q);
        let none = at == vec4u(0xffffffffu);
        let i = select(at, vec4u(), none);
        for (var r = 0u; r < 4u; r++) { m[q][r] = select(f32(dy[i[r] / 4u][i[r] % 4u]), 0.0, none[r]); }
        next_tap(1u);
    }
    next_tap(BK - 4u);
    return m;
}

// Where the 4 pixels read dy under the tap, which is term k; 0xffffffff if there is nothing.
fn dy_at(k: u32) -> vec4u {
    let oy = own.oy - tap.x;
    let ox = own.ox - tap.y;
    let inside = own.image < vec4u(p.n) & oy < vec4u(p.oh) & ox < vec4u(p.ow) & vec4<bool>(k < own.end);
    return select(vec4u(0xffffffffu), ((own.image * p.oh + oy) * p.ow + ox) * p.cout + tap.z, inside);
}

fn load_b(step: u32) -> mat4x4f {
    let k = step + own.k;
    var m: mat4x4f;
    if p.cout % 4u == 0u {
        for (var c = 0u; c < 4u; c++) {
            if k < own.end && own.j + c < p.cin { m[c] = vec4f(w[w_at(own.j + c) / 4u]); }
        }
        next_tap(BK);
        return transpose(m);
    }
    for (var q = 0u; q < 4u; q++) {
        for (var c = 0u; c < 4u; c++) {
            let at = w_at(own.j + c);
            if k + q < own.end && own.j + c < p.cin { m[q][c] = f32(w[at / 4u][at % 4u]); }
        }
        next_tap(1u);
    }
    next_tap(BK - 4u);
    return m;
}

fn w_at(ci: u32) -> u32 {
    let at = own.first + tap.xy * vec2u(p.sh, p.sw);
    return ((at.x * p.kw + at.y) * p.cin + ci) * p.cout + tap.z;
}

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

// Cin is a multiple of 4.
@compute @workgroup_size(WG)
fn input_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let row = row_at(t, t.i0 + own_row(lid) + r);
        let j = t.j0 + own_column(lid);
        if row != 0xffffffffu && j < p.cin { dx[(row + j) / 4u] = Out4(sum[2u * r]); }
        if row != 0xffffffffu && j + BN / 2u < p.cin { dx[(row + j + BN / 2u) / 4u] = Out4(sum[2u * r + 1u]); }
    }
}

// Any number of channels.
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
