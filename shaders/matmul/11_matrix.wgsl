enable f16;
// Matrix product on matrix units (tensor cores, simdgroup matrices): f16 operands, f32 sums.
//
//   C[i, j] = sum_l A[i, l] B[l, j]
//
// The operands are f16 with a last axis that is a multiple of 4; `pack` makes such a copy of what is not. With 16 x 16
// tiles a workgroup makes 128 x 128 of C: 64 FLOP for each byte it loads, against 16 for f32 tiles of 64 x 64.
// lib: grid elem stage tile matrix

override A_ALONG_K: bool = true;        // a (M, K), else (K, M)
override B_ALONG_K: bool = false;       // b (N, K), else (K, N)

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own. lda and ldb: length of the last axis.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, lda: u32, ldb: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Out>;       // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;

var<private> slot: u32;     // (splits, batch)

fn load_a(i: u32, l: u32, l1: u32) -> vec4<f16> {
    if i >= p.m || l >= l1 { return vec4<f16>(); }
    let matrix = slot % p.batch;
    if A_ALONG_K { return a[((matrix * p.m + i) * p.lda + l) / 4u]; }
    return a[((matrix * p.k + l) * p.lda + i) / 4u];
}

fn load_b(l: u32, j: u32, l1: u32) -> vec4<f16> {
    if j >= p.n || l >= l1 { return vec4<f16>(); }
    let matrix = slot % p.batch;
    if B_ALONG_K { return b[((matrix * p.n + j) * p.ldb + l) / 4u]; }
    return b[((matrix * p.k + l) * p.ldb + j) / 4u];
}

fn store(i: u32, j: u32, sum: f32) {
    if i < p.m && j < p.n && slot < p.splits * p.batch { c[(slot * p.m + i) * p.n + j] = Out(sum); }
}

fn use_strip(i0: u32, j0: u32, r: u32, lid: u32) {
    for (var e = lid; e < 2u * TILE * C_COLUMNS; e += WG) {
        let row = e / C_COLUMNS;
        let column = e % C_COLUMNS;
        if strip_has(row, column) {
            store(i0 + strip_row(r, row), j0 + strip_column(r, column), c_tile[strip_at(row, column)]);
        }
    }
}

@compute @workgroup_size(WG)
fn matmul(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let group = p.first + group_index(at);
    slot = group / (tiles_m * tiles_n);
    let l0 = slot / p.batch * p.chunk;
    // A workgroup past the work, which folding the grid may add, has an empty range.
    product(group / tiles_n % tiles_m * BM, group % tiles_n * BN, l0, max(l0, min(l0 + p.chunk, p.k)), lid, subgroup, subgroups);
}
