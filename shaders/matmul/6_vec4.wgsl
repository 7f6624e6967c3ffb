// 5_block with every load four elements wide, from global memory and from workgroup memory.
//
//   C[i, j] = sum_l A[i, l] B[l, j] for A B, A B^T and A^T B: A_ALONG_K and B_ALONG_K tell which axis of an operand is contiguous
//
// The bytes are those of 5_block, in a quarter of the instructions: each step of l costs 4 reads of workgroup memory for 64
// multiply-adds instead of 16. Both tiles have M (or N) as their last axis, so an operand that is contiguous along K must be
// turned: an invocation brings 4 x 4 elements, of A or of B, and turns them in registers.
// Registers: 64 sums, 12 operands, and 16 elements on their way.
// lib: grid elem

const BM = 128u;
const BN = 128u;
const BK = 16u;
const WG = 256u;                // (BM / 8, BN / 8) invocations; also the 4 x 4 blocks of both tiles

override A_ALONG_K: u32 = 1;    // A lies (M, K), else (K, M)
override B_ALONG_K: u32 = 0;    // B lies (N, K), else (K, N)
override VECTORS: u32 = 0;      // the last axes of A and B are multiples of 4

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32,
    a_row: u32, a_k: u32, b_k: u32, b_col: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Out4>;     // (splits, batch, M, N)
@group(0) @binding(1) var<storage, read_write> c1: array<Out>;
@group(0) @binding(2) var<storage, read> a: array<Elem4>;           // (batch, ...)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;

var<workgroup> a_tile: array<vec4f, BK * BM / 4u>;      // (BK, BM)
var<workgroup> b_tile: array<vec4f, BK * BN / 4u>;      // (BK, BN)

// Where a workgroup works: rows i0.., columns j0.., matrix `batch`, l in [l0, l1). Outside: l1 = l0, i0 is past the last row.
struct Tile { i0: u32, j0: u32, batch: u32, slot: u32, l0: u32, l1: u32 }

fn tile_of(group: u32) -> Tile {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let slot = group / (tiles_m * tiles_n);
    let inside = slot < p.splits * p.batch;             // the folding may add groups
    let l0 = slot / p.batch * p.chunk;
    let i0 = select(p.m, group / tiles_n % tiles_m * BM, inside);
    return Tile(i0, group % tiles_n * BN, slot % p.batch, slot, l0, select(l0, min(l0 + p.chunk, p.k), inside));
}

// Columns u.. to u + 3 of row r in a matrix of rows `pitch` long, zeros from column `end` on.
fn a4(first: u32, r: u32, u: u32, pitch: u32, end: u32) -> vec4f {
    let at = first + r * pitch + u;
    var x = vec4f();
    if VECTORS != 0u {
        if u < end { x = vec4f(a[at / 4u]); }
    } else {
        for (var q = 0u; q < 4u; q++) { if u + q < end { x[q] = f32(a[(at + q) / 4u][(at + q) % 4u]); } }
    }
    return x;
}

fn b4(first: u32, r: u32, u: u32, pitch: u32, end: u32) -> vec4f {
    let at = first + r * pitch + u;
    var x = vec4f();
    if VECTORS != 0u {
        if u < end { x = vec4f(b[at / 4u]); }
    } else {
        for (var q = 0u; q < 4u; q++) { if u + q < end { x[q] = f32(b[(at + q) / 4u][(at + q) % 4u]); } }
    }
    return x;
}

// Block e of the tiles at l, as 4 steps of l by 4 rows of A, or columns of B. Neighbours read along the contiguous axis.
fn fetch(t: Tile, l: u32, e: u32, block: vec2u) -> mat4x4f {
    let k = l + 4u * block.x;
    var x: array<vec4f, 4>;
    if e < BM {
        let i = t.i0 + 4u * block.y;
        let first = t.batch * p.m * p.k;
        for (var q = 0u; q < 4u; q++) {
            if A_ALONG_K != 0u {
                if i + q < p.m { x[q] = a4(first, i + q, k, p.k, t.l1); }
            } else {
                if k + q < t.l1 { x[q] = a4(first, k + q, i, p.m, p.m); }
            }
        }
    } else {
        let j = t.j0 + 4u * block.y;
        let first = t.batch * p.n * p.k;
        for (var q = 0u; q < 4u; q++) {
            if B_ALONG_K != 0u {
                if j + q < p.n { x[q] = b4(first, j + q, k, p.k, t.l1); }
            } else {
                if k + q < t.l1 { x[q] = b4(first, k + q, j, p.n, p.n); }
            }
        }
    }
    let y = mat4x4f(x[0], x[1], x[2], x[3]);
    if select(B_ALONG_K, A_ALONG_K, e < BM) != 0u { return transpose(y); }
    return y;
}

// (4 l, 4 rows or columns) of the block that an invocation brings.
fn block_of(e: u32) -> vec2u {
    if e < BM {
        return select(vec2u(e / (BM / 4u), e % (BM / 4u)), vec2u(e % (BK / 4u), e / (BK / 4u)), vec2<bool>(A_ALONG_K != 0u));
    }
    let f = e - BM;
    return select(vec2u(f / (BN / 4u), f % (BN / 4u)), vec2u(f % (BK / 4u), f / (BK / 4u)), vec2<bool>(B_ALONG_K != 0u));
}

fn stage(e: u32, block: vec2u, x: mat4x4f) {
    for (var q = 0u; q < 4u; q++) {
        let l = 4u * block.x + q;
        if e < BM { a_tile[l * (BM / 4u) + block.y] = x[q]; } else { b_tile[l * (BN / 4u) + block.y] = x[q]; }
    }
}

// Of invocation (ty, tx): sums of row r of vec4 row ty (r < 4) or ty + 16, and of vec4 columns tx and tx + 16.
alias Sums = array<array<vec4f, 2>, 8>;

fn multiply(t: Tile, lid: u32) -> Sums {
    let block = block_of(lid);
    let ty = lid / 16u;
    let tx = lid % 16u;
    var sums: Sums;
    for (var l = t.l0; l < t.l1; l += BK) {
        stage(lid, block, fetch(t, l, lid, block));
        workgroupBarrier();
        for (var s = 0u; s < BK; s++) {
            let y0 = b_tile[s * (BN / 4u) + tx];
            let y1 = b_tile[s * (BN / 4u) + tx + 16u];
            let x0 = a_tile[s * (BM / 4u) + ty];
            let x1 = a_tile[s * (BM / 4u) + ty + 16u];
            for (var r = 0u; r < 4u; r++) {
                sums[r][0] += x0[r] * y0;
                sums[r][1] += x0[r] * y1;
                sums[r + 4u][0] += x1[r] * y0;
                sums[r + 4u][1] += x1[r] * y1;
            }
        }
        workgroupBarrier();
    }
    return sums;
}

@compute @workgroup_size(WG)
fn matmul(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    var sums = multiply(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let i = t.i0 + 4u * (lid / 16u) + r % 4u + r / 4u * 64u;
        for (var q = 0u; q < 2u; q++) {
            let j = t.j0 + 4u * (lid % 16u + 16u * q);
            if i < p.m && j < p.n { c[((t.slot * p.m + i) * p.n + j) / 4u] = Out4(sums[r][q]); }
        }
    }
}

// The same where N is no multiple of 4.
@compute @workgroup_size(WG)
fn ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    var sums = multiply(t, lid);
    for (var r = 0u; r < 8u; r++) {
        let i = t.i0 + 4u * (lid / 16u) + r % 4u + r / 4u * 64u;
        for (var q = 0u; q < 8u; q++) {
            let j = t.j0 + 4u * (lid % 16u + 16u * (q / 4u)) + q % 4u;
            if i < p.m && j < p.n { c1[(t.slot * p.m + i) * p.n + j] = Out(sums[r][q / 4u][q % 4u]); }
        }
    }
}
