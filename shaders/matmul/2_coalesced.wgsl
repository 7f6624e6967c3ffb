// 1_naive with the indices of C the other way round: neighbouring invocations go along a row of C.
//
//   C[i, j] = sum_l A[i, l] B[l, j], with A[i, l] at a[i a_row + l a_k] and B[l, j] at b[l b_k + j b_col]
//
// The arithmetic is the same, still 8 bytes loaded for 2 FLOPs. But 32 invocations now read one element of A, which costs one
// load, and in A B and A^T B 32 elements of B that lie together, 128 bytes, which is one cache line instead of 32. In A B^T
// they read B down its columns, and gain on A and C alone.
// lib: grid elem

override WG: u32 = 64;

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

@compute @workgroup_size(WG)
fn matmul(at: At, @builtin(local_invocation_index) lid: u32) {
    let e = p.first * WG + item_index(at, lid, WG);
    let slot = e / (p.m * p.n);
    if slot >= p.splits * p.batch { return; }
    let i = e / p.n % p.m;
    let j = e % p.n;
    let a0 = slot % p.batch * p.m * p.k + i * p.a_row;
    let b0 = slot % p.batch * p.n * p.k + j * p.b_col;
    let l0 = slot / p.batch * p.chunk;
    var sum = 0.0;
    for (var l = l0; l < min(l0 + p.chunk, p.k); l++) {
        sum += f32(a[a0 + l * p.a_k]) * f32(b[b0 + l * p.b_k]);
    }
    c[e] = Out(sum);
}
