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

// The block an invocation loads. Of A: 4 rows, each by its tap, less the padding, and channel. A row past the last one is
// given a tap far outside the image: a vec4<bool> kept across barriers crashes LLVM 19 on AVX-512.
struct Block { ky: vec4u, kx: vec4u, ci: vec4u, k: u32, j: u32, end: u32 }
var<private> own: Block;
var<private> pixel: vec3u;      // n, oy, ox of its next term

fn begin(lid: u32, i0: u32, j0: u32, l0: u32, l1: u32) {
    own.end = l1;
    if reads_a(lid) {
        let at = block_a(lid);
        let row = vec4u(i0 + 4u * at.y) + vec4u(0u, 1u, 2u, 3u);
        own.ky = select(vec4u(1u << 31u), row / p.cin / p.kw - p.ph, row < vec4u(p.kh * p.kw * p.cin));
        own.kx = row / p.cin % p.kw - p.pw;
        own.ci = row % p.cin;
        own.k = 4u * at.x;
        pixel = digits(l0 + own.k, p.oh, p.ow);
    } else {
        let at = block_b(lid);
        own.k = 4u * at.x;
        own.j = j0 + 4u * at.y;
    }
}

fn load_a(step: u32) -> mat4x4f {
    var m: mat4x4f;
    for (var q = 0u; q < 4u; q++) {
        let iy = own.ky + pixel.y * p.sh;
        let ix = own.kx + pixel.z * p.sw;
        let h = select(0u, p.h, step + own.k + q < own.end);
        let inside = iy < vec4u(h) & ix < vec4u(p.w);
        let at = select(vec4u(), ((pixel.x * p.h + iy) * p.w + ix) * p.cin + own.ci, inside);
        if p.cin % 4u == 0u {       // the 4 rows share their tap
            m[q] = select(vec4f(), vec4f(x[at[0] / 4u]), inside[0]);
        } else {
            for (var r = 0u; r < 4u; r++) { m[q][r] = select(0.0, f32(x[at[r] / 4u][at[r] % 4u]), inside[r]); }
        }
        pixel = carry(pixel, 1u, p.oh, p.ow);
    }
    pixel = carry(pixel, BK - 4u, p.oh, p.ow);
    return m;
}

fn load_b(step: u32) -> mat4x4f {
    var m: mat4x4f;
    for (var q = 0u; q < 4u; q++) {
        let k = step + own.k + q;
        let at = k * p.cout + own.j;
        if k >= own.end { continue; }
        if p.cout % 4u == 0u {
            if own.j < p.cout { m[q] = vec4f(dy[at / 4u]); }
        } else {
            for (var c = 0u; c < 4u; c++) {
                if own.j + c < p.cout { m[q][c] = f32(dy[(at + c) / 4u][(at + c) % 4u]); }
            }
        }
    }
    return m;
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
