// Matrix product, 64 x 64 of C per workgroup: tiles of A and B go through workgroup memory, 8 x 4 sums per invocation.
//
//   C[i, j] = sum_l A[i, l] B[l, j], with A[i, l] at a[i a_row + l a_k] and B[l, j] at b[l b_k + j b_col]
//
// Every element of A and B is read from memory once a workgroup, not once an output: 64 times less traffic than
// 1_naive. Each step of l costs an invocation 3 vec4 reads of workgroup memory and 32 multiply-adds.
// lib: grid elem

const BM = 64u;
const BN = 64u;
const BK = 16u;
const WG = 128u;        // (8, 16) invocations of 8 x 4 elements

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own.
struct Params { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> c: array<Out>;      // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<Elem>;            // (batch, ...)
@group(0) @binding(3) var<storage, read> b: array<Elem>;

var<workgroup> a_tile: array<vec4f, BK * BM / 4u>;      // (BK, BM)
var<workgroup> b_tile: array<vec4f, BK * BN / 4u>;      // (BK, BN)

@compute @workgroup_size(WG)
fn matmul(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let group = group_index(wid, nwg);
    let slot = group / (tiles_m * tiles_n);
    let i0 = group / tiles_n % tiles_m * BM;
    let j0 = group % tiles_n * BN;
    let a0 = slot % p.batch * p.m * p.k;
    let b0 = slot % p.batch * p.n * p.k;
    let l0 = slot / p.batch * p.chunk;
    let l1 = select(l0, min(l0 + p.chunk, p.k), slot < p.splits * p.batch);      // an extra group of the folding does nothing

    // Neighbouring invocations read along whichever axis is contiguous.
    let a_along_k = p.a_k == 1u;
    let b_along_k = p.b_k == 1u;
    let ty = lid / 16u;
    let tx = lid % 16u;
    var sum: array<vec4f, 8>;
    for (var l = l0; l < l1; l += BK) {
        for (var e = lid; e < BK * BM / 4u; e += WG) {
            // Entry e of a tile holds 4 neighbours along M (or N) at one l.
            let at = select(vec2u(e / (BM / 4u), e % (BM / 4u)), vec2u(e % BK, e / BK), vec2<bool>(a_along_k));
            let bt = select(vec2u(e / (BN / 4u), e % (BN / 4u)), vec2u(e % BK, e / BK), vec2<bool>(b_along_k));
            var x = vec4f();
            var y = vec4f();
            for (var q = 0u; q < 4u; q++) {
                let i = i0 + 4u * at.y + q;
                let j = j0 + 4u * bt.y + q;
                if i < p.m && l + at.x < l1 { x[q] = f32(a[a0 + i * p.a_row + (l + at.x) * p.a_k]); }
                if j < p.n && l + bt.x < l1 { y[q] = f32(b[b0 + (l + bt.x) * p.b_k + j * p.b_col]); }
            }
            a_tile[at.x * (BM / 4u) + at.y] = x;
            b_tile[bt.x * (BN / 4u) + bt.y] = y;
        }
        workgroupBarrier();
        for (var s = 0u; s < BK; s++) {
            let x0 = a_tile[s * (BM / 4u) + 2u * ty];
            let x1 = a_tile[s * (BM / 4u) + 2u * ty + 1u];
            let y = b_tile[s * (BN / 4u) + tx];
            for (var r = 0u; r < 4u; r++) {
                sum[r] += x0[r] * y;
                sum[r + 4u] += x1[r] * y;
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < 8u; r++) {
        let i = i0 + 8u * ty + r;
        for (var q = 0u; q < 4u; q++) {
            let j = j0 + 4u * tx + q;
            if slot < p.splits * p.batch && i < p.m && j < p.n { c[(slot * p.m + i) * p.n + j] = Out(sum[r][q]); }
        }
    }
}
