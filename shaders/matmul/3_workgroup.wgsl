// Tiles in workgroup memory: 16 x 16 of C per workgroup, one element per invocation.
//
//   C[i, j] = sum_l A[i, l] B[l, j], with A[i, l] at a[i a_row + l a_k] and B[l, j] at b[l b_k + j b_col]
//
// For each 16 steps of l the workgroup brings 16 x 16 of A and of B, and every element serves 16 invocations: global memory
// gives 0.5 bytes for 2 FLOPs instead of 8. Workgroup memory now gives the 8 bytes for 2 FLOPs, and is the limit.
// Registers: one sum.
// lib: grid elem

const BM = 16u;
const BN = 16u;
const BK = 16u;
const WG = 256u;        // (BM, BN)

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

    // (l, i) and (l, j) of the elements this invocation brings: neighbours read along whichever axis is contiguous.
    let across = vec2u(lid / 16u, lid % 16u);
    let of_a = select(across, across.yx, vec2<bool>(p.a_k == 1u));
    let of_b = select(across, across.yx, vec2<bool>(p.b_k == 1u));

    let ty = lid / BN;
    let tx = lid % BN;
    var sum = 0.0;
    for (var l = l0; l < l1; l += BK) {
        var x = 0.0;
        var y = 0.0;
        if i0 + of_a.y < p.m && l + of_a.x < l1 { x = f32(a[a0 + (i0 + of_a.y) * p.a_row + (l + of_a.x) * p.a_k]); }
        if j0 + of_b.y < p.n && l + of_b.x < l1 { y = f32(b[b0 + (l + of_b.x) * p.b_k + (j0 + of_b.y) * p.b_col]); }
        a_tile[of_a.x * BM + of_a.y] = x;
        b_tile[of_b.x * BN + of_b.y] = y;
        workgroupBarrier();
        for (var s = 0u; s < BK; s++) { sum += a_tile[s * BM + ty] * b_tile[s * BN + tx]; }
        workgroupBarrier();
    }

    let i = i0 + ty;
    let j = j0 + tx;
    if slot < p.splits * p.batch && i < p.m && j < p.n { c[(slot * p.m + i) * p.n + j] = Out(sum); }
}
