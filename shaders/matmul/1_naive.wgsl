// Matrix product, one invocation per element of C: the definition, and an oracle for the faster kernels.
//
//   C[i, j] = sum_l A[i, l] B[l, j], with A[i, l] at a[i a_row + l a_k] and B[l, j] at b[l b_k + j b_col]
//
// The strides make it A B, A B^T or A^T B without a copy. Each multiply-add waits for two loads: 8 bytes for 2 FLOPs.
// Neighbouring invocations go down a column of C, as one would write it first: in A B they read rows of A that lie K
// apart, so each load of 4 bytes fetches a cache line of its own, and so does each store.
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
    let i = e % p.m;
    let j = e / p.m % p.n;
    let a0 = slot % p.batch * p.m * p.k + i * p.a_row;
    let b0 = slot % p.batch * p.n * p.k + j * p.b_col;
    let l0 = slot / p.batch * p.chunk;
    var sum = 0.0;
    for (var l = l0; l < min(l0 + p.chunk, p.k); l++) {
        sum += f32(a[a0 + l * p.a_k]) * f32(b[b0 + l * p.b_k]);
    }
    c[(slot * p.m + i) * p.n + j] = Out(sum);
}
