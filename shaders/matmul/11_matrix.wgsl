enable f16;
// Matrix product on matrix units (tensor cores, simdgroup matrices): f16 operands, f32 sums.
//
//   C[i, j] = sum_l A[i, l] B[l, j]
//
// The operands are f16 with a last axis that is a multiple of 8; `pack` makes such a copy of what is not. With 16 x 16
// tiles a workgroup makes 128 x 128 of C: 64 FLOP for each byte it loads, against 16 for f32 tiles of 64 x 64.
// lib: grid elem stage tile matrix result store

override A_ALONG_K: bool = true;        // a (M, K), else (K, M)
override B_ALONG_K: bool = false;       // b (N, K), else (K, N)

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own. lda and ldb: length of the last axis.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, lda: u32, ldb: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<Result>;    // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;

var<private> slot: u32;                         // (splits, batch)
var<private> a_rows_at: array<u32, 32>;         // of each piece: the vec4 at which its row begins, or its rows lie in row 0
var<private> b_rows_at: array<u32, 32>;

fn begin() {
    let matrix = slot % p.batch;
    for (var s = 0u; s < a_pieces(); s++) {
        let i = block.i0 + a_piece(s).y;
        let at = select(matrix * p.k * (p.lda / 4u) + i / 4u, (matrix * p.m + i) * (p.lda / 8u) * 2u, A_ALONG_K);
        a_rows_at[s] = select(NO_ROW, at, i < p.m);
    }
    for (var s = 0u; s < b_pieces(); s++) {
        let j = block.j0 + b_piece(s).y;
        let at = select(matrix * p.k * (p.ldb / 4u) + j / 4u, (matrix * p.n + j) * (p.ldb / 8u) * 2u, B_ALONG_K);
        b_rows_at[s] = select(NO_ROW, at, j < p.n);
    }
}

fn advance() {}
fn end_round() {}

fn load_a(s: u32, q: u32) -> vec4<f16> {
    let l = block.l + 4u * a_piece(0u).x;
    let inside = WHOLE || (a_rows_at[s] != NO_ROW && l + select(q, 0u, A_ALONG_K) < block.l1);
    let at = a_rows_at[s] + select((l + q) * (p.lda / 4u), block.l / 8u * 2u + a_piece(0u).x, A_ALONG_K);
    return select(vec4<f16>(), a[select(0u, at, inside) + select(0u, q, A_ALONG_K)], inside);
}

fn load_b(s: u32, q: u32) -> vec4<f16> {
    let l = block.l + 4u * b_piece(0u).x;
    let inside = WHOLE || (b_rows_at[s] != NO_ROW && l + select(q, 0u, B_ALONG_K) < block.l1);
    let at = b_rows_at[s] + select((l + q) * (p.ldb / 4u), block.l / 8u * 2u + b_piece(0u).x, B_ALONG_K);
    return select(vec4<f16>(), b[select(0u, at, inside) + select(0u, q, B_ALONG_K)], inside);
}

fn columns() -> u32 { return p.n; }
fn row_of(i: u32) -> u32 { return select(NO_ROW, (slot * p.m + i) * p.n, i < p.m && slot < p.splits * p.batch); }
fn use_strip(r: u32) { store_strip(r); }
fn total(at: u32, x: vec4f) -> vec4f { return x; }
fn stored_row(r: u32, x: vec4f) {}

@compute @workgroup_size(WG)
fn matmul(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let group = p.first + group_index(at);
    slot = group / (tiles_m * tiles_n);
    let place = banded(group % (tiles_m * tiles_n), tiles_m, tiles_n) * vec2u(BM, BN);
    let l0 = slot / p.batch * p.chunk;
    find_rows(place.x, lid);
    // A workgroup past the work, which folding the grid may add, has an empty range.
    product(place.x, place.y, l0, max(l0, min(l0 + p.chunk, p.k)), lid, subgroup, subgroups);
}
