// Register blocking in two dimensions: 128 x 128 of C per workgroup, 8 x 8 per invocation.
//
//   C[i, j] = sum_l A[i, l] B[l, j], with A[i, l] at a[i a_row + l a_k] and B[l, j] at b[l b_k + j b_col]
//
// Each step of l reads 8 + 8 elements of workgroup memory for 64 multiply-adds: 1 byte for 2 FLOPs, where 4_row had 4.5.
// Global memory gives 4 (1/128 + 1/128) = 0.06 bytes for 2 FLOPs. Registers: 64 sums and 16 operands.
// Of the columns, an invocation has every 16th, so that neighbours read neighbouring words: no bank is asked twice.
// lib: grid elem

const BM = 128u;
const BN = 128u;
const BK = 16u;
const TM = 8u;          // rows per invocation, next to each other
const TN = 8u;          // columns per invocation, BN / TN apart
const WG = 256u;        // (BM / TM, BN / TN)

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms {
    batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32,
    a_row: u32, a_k: u32, b_k: u32, b_col: u32
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Out>;      // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<Elem>;            // (batch, ...)
@group(0) @binding(3) var<storage, read> b: array<Elem>;

var<workgroup> a_tile: array<f32, BK * BM>;     // (BK, BM)
var<workgroup> b_tile: array<f32, BK * BN>;     // (BK, BN)

@compute @workgroup_size(WG)
fn matmul(at: At, @builtin(local_invocation_index) lid: u32) {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let group = p.first + group_index(at);
    let slot = group / (tiles_m * tiles_n);
    let i0 = group / tiles_n % tiles_m * BM;
    let j0 = group % tiles_n * BN;
    let a0 = slot % p.batch * p.m * p.k;
    let b0 = slot % p.batch * p.n * p.k;
    let l0 = slot / p.batch * p.chunk;
    let l1 = select(l0, min(l0 + p.chunk, p.k), slot < p.splits * p.batch);      // an extra group of the folding does nothing

    let ty = lid / (BN / TN);
    let tx = lid % (BN / TN);
    var sum: array<array<f32, TN>, TM>;
    for (var l = l0; l < l1; l += BK) {
        // Neighbouring invocations read along whichever axis is contiguous.
        for (var e = lid; e < BK * BM; e += WG) {
            let of_a = select(vec2u(e / BM, e % BM), vec2u(e % BK, e / BK), vec2<bool>(p.a_k == 1u));
            var x = 0.0;
            if i0 + of_a.y < p.m && l + of_a.x < l1 { x = f32(a[a0 + (i0 + of_a.y) * p.a_row + (l + of_a.x) * p.a_k]); }
            a_tile[of_a.x * BM + of_a.y] = x;
        }
        for (var e = lid; e < BK * BN; e += WG) {
            let of_b = select(vec2u(e / BN, e % BN), vec2u(e % BK, e / BK), vec2<bool>(p.b_k == 1u));
            var y = 0.0;
            if j0 + of_b.y < p.n && l + of_b.x < l1 { y = f32(b[b0 + (l + of_b.x) * p.b_k + (j0 + of_b.y) * p.b_col]); }
            b_tile[of_b.x * BN + of_b.y] = y;
        }
        workgroupBarrier();
        for (var s = 0u; s < BK; s++) {
            var y: array<f32, TN>;
            for (var q = 0u; q < TN; q++) { y[q] = b_tile[s * BN + tx + q * (BN / TN)]; }
            for (var r = 0u; r < TM; r++) {
                let x = a_tile[s * BM + TM * ty + r];
                for (var q = 0u; q < TN; q++) { sum[r][q] += x * y[q]; }
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < TM; r++) {
        for (var q = 0u; q < TN; q++) {
            let i = i0 + TM * ty + r;
            let j = j0 + tx + q * (BN / TN);
            if slot < p.splits * p.batch && i < p.m && j < p.n { c[(slot * p.m + i) * p.n + j] = Out(sum[r][q]); }
        }
    }
}
