// Weight gradient of a convolution as an implicit GEMM with 2-D register blocking: BM rows x BN columns of dw per workgroup.
//
//   dw[ky, kx, ci, co] = sum over (n, oy, ox) of x[n, oy sh - ph + ky, ox sw - pw + kx, ci] dy[n, oy, ox, co]
//
// Rows are (ky, kx, ci), columns co, and the terms all output pixels: few tiles and long sums, so the sums are split among
// workgroups and added in fixed order. Both operands have their channels in a row, so neither is transposed on the way to
// workgroup memory. 128 x 128 x 16 does 32 multiply-adds for a value loaded.
// lib: grid elem block carry

const A_ALONG_K = false;
const B_ALONG_K = false;

// Split s sums pixels [s chunk, (s + 1) chunk) and writes a partial dw of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
    kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, first: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> dw: array<Out4>;     // (splits, KH, KW, Cin, Cout)
@group(0) @binding(1) var<storage, read_write> dw1: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<Elem4>;           // (N, H, W, Cin)
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;          // (N, OH, OW, Cout)

// What an invocation loads. Of A: 4 rows, each by its tap, less the padding, and its place in x under pixel 0; vec4s share the
// first one's tap. A row past the last one is given a tap far outside the image. Of B: 4 columns by their places in pixel 0.
struct Own { at: vec4u, ky: vec4u, kx: vec4u, k: u32, end: u32 }
var<private> own: Own;
// Its first term in the step: what its pixel adds to a place in x, and to rows and columns.
var<private> pixel: vec3u;
var<private> stride: vec3u;     // the same of BK pixels

fn begin(lid: u32, i0: u32, j0: u32, l0: u32, l1: u32) {
    if reads_a(lid) {
        let block = block_a(lid);
        let row = vec4u(i0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u);
        let ky = row / p.cin / p.kw - p.ph;
        own.kx = row / p.cin % p.kw - p.pw;
        own.at = (ky * p.w + own.kx) * cin() + row % p.cin / select(1u, 4u, A_VECTORS != 0u);
        own.ky = select(vec4u(1u << 31u), ky, row < vec4u(p.kh * p.kw * p.cin));
        own.k = 4u * block.x;
    } else {
        let block = block_b(lid);
        own.k = 4u * block.x;
        // The columns past the last are not written, so it does not matter which they are.
        own.at = min(vec4u(j0 + 4u * block.y) + vec4u(0u, 1u, 2u, 3u), vec4u(p.cout - 1u)) + own.k * p.cout;
        if B_VECTORS != 0u { own.at /= vec4u(4u); }
    }
    own.end = l1;
    pixel = in_x(digits(l0 + own.k, p.oh, p.ow));
    stride = in_x(digits(BK, p.oh, p.ow));
}

// Channels of x, in the unit of places: a value, or a vec4.
fn cin() -> u32 { return select(p.cin, p.cin / 4u, A_VECTORS != 0u); }

// What output pixel (n, oy, ox) adds to a place, a row and a column.
fn in_x(i: vec3u) -> vec3u {
    return vec3u(((i.x * p.h + i.y * p.sh) * p.w + i.z * p.sw) * cin(), i.y * p.sh, i.z * p.sw);
}

// The sum of two such, with what is past the end of a line or of an image carried on, once each.
fn along(at: vec3u, by: vec3u) -> vec3u {
    let row = p.ow * p.sw;
    let image = p.oh * p.sh;
    var to = at + by;
    if to.z >= row { to += vec3u((p.sh * p.w - row) * cin(), p.sh, 0u - row); }
    if to.y >= image { to += vec3u((p.h - image) * p.w * cin(), 0u - image, 0u); }
    return to;
}

fn next_step(l: u32) {}         // load_a counts: who loads B has no use for pixels

// Whether term q of the invocation's 4 is one, in the step from l.
fn is_term(l: u32, q: u32) -> bool { return l + select(own.k + q, 0u, WHOLE != 0u) < own.end; }

fn there_a(there: u32, r: u32, c: u32) -> bool {
    return ((there >> select(4u * r + c, r, A_VECTORS != 0u)) & 1u) != 0u;
}

fn load_a(l: u32) -> Block {
    var block: Block;
    var to = pixel;
    for (var q = 0u; q < 4u; q++) {
        let h = select(0u, p.h, is_term(l, q));
        if A_VECTORS != 0u {
            let there = own.ky.x + to.y < h && own.kx.x + to.z < p.w;
            block.rows[q] = x[select(0u, own.at.x + to.x, there)];
            block.there |= u32(there) << q;
        } else {
            let there = (own.ky + to.y < vec4u(h)) & (own.kx + to.z < vec4u(p.w));
            let at = select(vec4u(), own.at + to.x, there);
            for (var r = 0u; r < 4u; r++) {
                block.rows[q][r] = x[at[r] / 4u][at[r] % 4u];
                block.there |= u32(there[r]) << (4u * q + r);
            }
        }
        let next = vec3u(p.sw * cin(), 0u, p.sw);       // where sums are whole steps the 4 pixels are of one line
        to = select(along(to, next), to + next, WHOLE != 0u);
    }
    pixel = along(pixel, stride);
    return block;
}

fn there_b(there: u32, r: u32, c: u32) -> bool { return WHOLE != 0u || ((there >> r) & 1u) != 0u; }

fn load_b(l: u32) -> Block {
    var block: Block;
    for (var q = 0u; q < 4u; q++) {
        let there = is_term(l, q);
        if B_VECTORS != 0u {
            block.rows[q] = dy[select(0u, own.at.x + (l + q) * (p.cout / 4u), there)];
        } else {
            let at = select(vec4u(), own.at + (l + q) * p.cout, vec4<bool>(there));
            for (var c = 0u; c < 4u; c++) { block.rows[q][c] = dy[at[c] / 4u][at[c] % 4u]; }
        }
        block.there |= u32(there) << q;
    }
    return block;
}

// What a workgroup computes: rows i0.., columns j0.., terms [l0, l1).
struct Tile { i0: u32, j0: u32, split: u32, l0: u32, l1: u32 }

fn tile_of(group: u32) -> Tile {
    let tiles_j = (p.cout + BN - 1u) / BN;
    let tiles = (p.kh * p.kw * p.cin + BM - 1u) / BM * tiles_j;
    let split = group / tiles;
    let l0 = min(split * p.chunk, p.n * p.oh * p.ow);
    // An extra group of the folding has no terms.
    let l1 = select(l0, min(l0 + p.chunk, p.n * p.oh * p.ow), split < p.splits);
    return Tile(group % tiles / tiles_j * BM, group % tiles_j * BN, split, l0, l1);
}

fn product(t: Tile, lid: u32) -> array<vec4f, 16> {
    begin(lid, t.i0, t.j0, t.l0, t.l1);
    return blocked_product(lid, t.l0, t.l1);
}

// Cout is a multiple of 4.
@compute @workgroup_size(WG)
fn weight_gradient(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    let rows = p.kh * p.kw * p.cin;
    for (var r = 0u; r < 16u; r++) {
        let i = t.i0 + own_row(lid) + r / 2u;
        let j = t.j0 + own_column(lid) + r % 2u * (BN / 2u);
        if t.split < p.splits && i < rows && j < p.cout { dw[((t.split * rows + i) * p.cout + j) / 4u] = Out4(sum[r]); }
    }
}

// Any number of channels.
@compute @workgroup_size(WG)
fn weight_gradient_ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let sum = product(t, lid);
    let rows = p.kh * p.kw * p.cin;
    for (var r = 0u; r < 16u; r++) {
        let i = t.i0 + own_row(lid) + r / 2u;
        for (var c = 0u; c < 4u; c++) {
            let j = t.j0 + own_column(lid) + r % 2u * (BN / 2u) + c;
            if t.split < p.splits && i < rows && j < p.cout { dw1[(t.split * rows + i) * p.cout + j] = Out(sum[r][c]); }
        }
    }
}
