// 7_double_buffer with invocations laid out for subgroups: 32 neighbours make 4 x 8 of the block's invocations, not 2 x 16.
//
//   C[i, j] = sum_l A[i, l] B[l, j] for A B, A B^T and A^T B: A_ALONG_K and B_ALONG_K tell which axis of an operand is contiguous
//
// Workgroup memory serves a subgroup at once, and gives an element that several of its invocations want only once. For each
// step of l at 128 x 128, 32 invocations of a 2 x 16 layout want (2 + 16) 2 vec4s, 576 bytes; those of a 4 x 8 layout want
// (4 + 8) 2, 384 bytes, for the same 2,048 multiply-adds. A subgroup of 64 is two such squares, one of 16 half of one: nothing
// depends on the size. Workgroups go in bands of 8 rows of blocks. All else, the epilogue C = relu(A B + bias) included, is that
// of 7_double_buffer.
// lib: grid elem

const BK = 16u;
override BM: u32 = 128;
override BN: u32 = 128;
override TM4: u32 = 2;          // rows per invocation / 4, at most 2
override TN4: u32 = 2;          // columns per invocation / 4, at most 2
override WG: u32 = 256;         // BM BN / (16 TM4 TN4); also BM + BN, the 4 x 4 blocks of both tiles
override RM: u32 = BM / 4u / TM4;       // invocations along M
override CN: u32 = BN / 4u / TN4;       // invocations along N
override A_ALONG_K: u32 = 1;    // A lies (M, K), else (K, M)
override B_ALONG_K: u32 = 0;    // B lies (N, K), else (K, N)
override VECTORS: u32 = 0;      // the last axes of A and B are multiples of 4

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, add_bias: u32, relu: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Out4>;     // (splits, batch, M, N)
@group(0) @binding(1) var<storage, read_write> c1: array<Out>;
@group(0) @binding(2) var<storage, read> a: array<Elem4>;           // (batch, ...)
@group(0) @binding(3) var<storage, read> b: array<Elem4>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;          // (N); any buffer without add_bias

var<workgroup> a_tile: array<vec4f, BK * BM / 4u>;      // (BK, BM), see `swap`
var<workgroup> b_tile: array<vec4f, BK * BN / 4u>;      // (BK, BN)

// Where a workgroup works: rows i0.., columns j0.., matrix `batch`, l in [l0, l1). Outside: l1 = l0, i0 is past the last row.
struct Tile { i0: u32, j0: u32, batch: u32, slot: u32, l0: u32, l1: u32 }

fn tile_of(group: u32) -> Tile {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let slot = group / (tiles_m * tiles_n);
    let inside = slot < p.splits * p.batch;             // the folding may add groups
    let l0 = slot / p.batch * p.chunk;
    let place = banded(group % (tiles_m * tiles_n), tiles_m, tiles_n) * vec2u(BM, BN);
    let i0 = select(p.m, place.x, inside);
    return Tile(i0, place.y, slot % p.batch, slot, l0, select(l0, min(l0 + p.chunk, p.k), inside));
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

// Block e of the tiles at l, as 4 steps of l by 4 rows of A, or columns of B.
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

// (4 l, 4 rows or columns) of the block that an invocation brings. Along K, pairs read 32 bytes, a memory sector.
fn block_of(e: u32) -> vec2u {
    if e < BM {
        let pairs = vec2u(e % 2u + e / (BM / 2u) * 2u, e / 2u % (BM / 4u));
        return select(vec2u(e / (BM / 4u), e % (BM / 4u)), pairs, vec2<bool>(A_ALONG_K != 0u));
    }
    let f = e - BM;
    let pairs = vec2u(f % 2u + f / (BN / 2u) * 2u, f / 2u % (BN / 4u));
    return select(vec2u(f / (BN / 4u), f % (BN / 4u)), pairs, vec2<bool>(B_ALONG_K != 0u));
}

// Where vec4 i of step l lies in its row: of every eight, the fours trade places from four steps to four.
fn swap(i: u32, l: u32) -> u32 { return i ^ (l & 4u); }

fn stage(e: u32, block: vec2u, x: mat4x4f) {
    for (var q = 0u; q < 4u; q++) {
        let l = 4u * block.x + q;
        let at = swap(block.y, l);
        if e < BM { a_tile[l * BM / 4u + at] = x[q]; } else { b_tile[l * BN / 4u + at] = x[q]; }
    }
}

// (ty, tx) of an invocation: it has vec4 rows ty, ty + RM, .. and vec4 columns tx, tx + CN, .. of the block.
fn place_of(lid: u32) -> vec2u {
    let square = lid / 32u;
    let lane = lid % 32u;
    return vec2u(square / (CN / 8u) * 4u + lane / 8u, square % (CN / 8u) * 8u + lane % 8u);
}

// By row, four of them a vec4 row, and by vec4 column.
alias Sums = array<array<vec4f, 2>, 8>;

fn multiply(t: Tile, lid: u32) -> Sums {
    let block = block_of(lid);
    let place = place_of(lid);
    var sums: Sums;
    var next = fetch(t, t.l0, lid, block);
    for (var l = t.l0; l < t.l1; l += BK) {
        stage(lid, block, next);
        workgroupBarrier();
        next = fetch(t, l + BK, lid, block);    // zeros past the end, without a load
        for (var s = 0u; s < BK; s++) {
            var y: array<vec4f, 2>;
            for (var q = 0u; q < TN4; q++) { y[q] = b_tile[s * BN / 4u + swap(place.y, s) + q * CN]; }
            for (var r = 0u; r < TM4; r++) {
                let x = a_tile[s * BM / 4u + swap(place.x, s) + r * RM];
                for (var q = 0u; q < TN4; q++) {
                    sums[4u * r][q] += x.x * y[q];
                    sums[4u * r + 1u][q] += x.y * y[q];
                    sums[4u * r + 2u][q] += x.z * y[q];
                    sums[4u * r + 3u][q] += x.w * y[q];
                }
            }
        }
        workgroupBarrier();
    }
    return sums;
}

fn finish(sum: vec4f, j: u32) -> vec4f {
    var x = sum;
    if p.add_bias != 0u {
        for (var q = 0u; q < 4u; q++) { if j + q < p.n { x[q] += bias[j + q]; } }
    }
    return select(x, vec4f(), vec4<bool>(p.relu != 0u) & (x <= vec4f()));
}

@compute @workgroup_size(WG)
fn matmul(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let place = place_of(lid);
    var sums = multiply(t, lid);
    for (var r = 0u; r < 4u * TM4; r++) {
        let i = t.i0 + 4u * (place.x + r / 4u * RM) + r % 4u;
        for (var q = 0u; q < TN4; q++) {
            let j = t.j0 + 4u * (place.y + q * CN);
            if i < p.m && j < p.n { c[((t.slot * p.m + i) * p.n + j) / 4u] = Out4(finish(sums[r][q], j)); }
        }
    }
}

// The same where N is no multiple of 4.
@compute @workgroup_size(WG)
fn ragged(at: At, @builtin(local_invocation_index) lid: u32) {
    let t = tile_of(p.first + group_index(at));
    let place = place_of(lid);
    var sums = multiply(t, lid);
    for (var r = 0u; r < 4u * TM4; r++) {
        let i = t.i0 + 4u * (place.x + r / 4u * RM) + r % 4u;
        for (var q = 0u; q < TN4; q++) {
            let j = t.j0 + 4u * (place.y + q * CN);
            let x = finish(sums[r][q], j);
            for (var d = 0u; d < 4u; d++) {
                if i < p.m && j + d < p.n { c1[(t.slot * p.m + i) * p.n + j + d] = Out(x[d]); }
            }
        }
    }
}
