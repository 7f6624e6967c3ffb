enable f16;
// Matrix product of f32 accuracy on matrix units that take f16 (Ootomo & Yokota, 2022, doi:10.1177/10943420221090256).
//
//   C[i, j] = 2^(ea[i] + eb[j]) sum_l (hi hi + (hi lo + lo hi) / 2^11),   A and B as `split.wgsl` made them
//
// Three products on matrix units for one in f32; lo lo is below the last bit. Matrix units may cut off where f32 rounds,
// so the large term is added outside of them: each product starts from zero, and `sum + product` is f32 arithmetic.
// The small terms are added up inside: an error there counts 2^-11 of it.
//
// |C - C64| / (|A||B|) for N(0, 1), K = 300: 4e-8, one f32 sum after another 2e-7; rows and columns scaled by 2^-40 to 2^40
// change nothing. Where A falls along k by a spread in which B rises: 5e-8 up to 2^28, 1e-6 at 2^34, 6e-5 at 2^40.
// Three products, and 12 bytes an operand's element to prepare it, 4 for each time it is loaded.
//
// A workgroup makes 4 x 4 tiles of C; four subgroups, 2 x 2 quarters, keep 2 x 2 tiles each, twice: the large sum and the small.
// lib: grid stage tile

override SUBGROUP: u32 = 32;            // set by the engine, as in lib/matrix.wgsl
override WG: u32 = 4 * SUBGROUP;
override A_ALONG_K: bool = true;        // a (M, K), else (K, M)
override B_ALONG_K: bool = false;       // b (N, K), else (K, N)

const BM = 4u * TILE;
const BN = 4u * TILE;
override PART: u32 = BM * PITCH;        // vec4s of a staged part

// Split s sums l in [s chunk, (s + 1) chunk) and writes a partial C of its own. lda and ldb: length of the last axis.
// first: workgroups of earlier launches, where the work is cut into several.
struct Uniforms { batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, lda: u32, ldb: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;       // (splits, batch, M, N)
@group(0) @binding(2) var<storage, read> a: array<vec4<f16>>;       // (2, batch, ...)
@group(0) @binding(3) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read> ea: array<i32>;            // (batch, M)
@group(0) @binding(5) var<storage, read> eb: array<i32>;            // (batch, N)

var<workgroup> a_tile: array<Stage, 8u * PART / WIDE>;          // (2, BM, BK and a gap)
var<workgroup> b_tile: array<Stage, 8u * PART / WIDE>;          // (2, BN, BK and a gap)
var<workgroup> c_tile: array<Spilled, 8u * TILE * TILE / WIDE>; // (4 quarters, TILE, 2 TILE)
var<workgroup> team: vec4u;                                     // x: subgroups in the workgroup
var<private> made: vec2u;                                       // quarters made.x to made.y - 1 are in c_tile

// The vec4 at (row r, term l) of an operand with `rows` rows, which lie along its first or its last axis.
fn index(matrix: u32, r: u32, l: u32, rows: u32, last: u32, along_k: bool) -> u32 {
    if along_k { return ((matrix * rows + r) * last + l) / 4u; }
    return ((matrix * p.k + l) * last + r) / 4u;
}

// Copies both parts of a block of each operand to workgroup memory.
fn stage(matrix: u32, i0: u32, j0: u32, l0: u32, l1: u32, lid: u32) {
    for (var e = lid; e < pieces(BM, A_ALONG_K); e += WG) {
        let at = piece(e, A_ALONG_K);
        for (var part = 0u; part < 2u; part++) {
            var x: mat4x4<f16>;
            for (var q = 0u; q < quads(A_ALONG_K); q++) {
                let l = l0 + 4u * at.x + select(q, 4u * q, A_ALONG_K);
                let first = part * (arrayLength(&a) / 2u) + index(matrix, i0 + at.y, l, p.m, p.lda, A_ALONG_K);
                if i0 + at.y < p.m && l < l1 { x[q] = a[first]; }
            }
            put_piece_a(part * PART + at.y * PITCH + at.x, x);
        }
    }
    for (var e = lid; e < pieces(BN, B_ALONG_K); e += WG) {
        let at = piece(e, B_ALONG_K);
        for (var part = 0u; part < 2u; part++) {
            var y: mat4x4<f16>;
            for (var q = 0u; q < quads(B_ALONG_K); q++) {
                let l = l0 + 4u * at.x + select(q, 4u * q, B_ALONG_K);
                let first = part * (arrayLength(&b) / 2u) + index(matrix, j0 + at.y, l, p.n, p.ldb, B_ALONG_K);
                if j0 + at.y < p.n && l < l1 { y[q] = b[first]; }
            }
            put_piece_b(part * PART + at.y * PITCH + at.x, y);
        }
    }
}

@compute @workgroup_size(WG)
fn matmul(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    if lid == 0u { team.x = subgroups; }
    let count = workgroupUniformLoad(&team).x;
    begin_tiles(lid, count);
    // Fewer and larger subgroups make the quarters in several rounds, more of them repeat some.
    for (var first = 0u; first < 4u; first += count) {
        made = vec2u(first, first + count);
        quarter_of(p.first + group_index(at), lid, (first + subgroup) % 4u);
    }
}

fn quarter_of(group: u32, lid: u32, quarter: u32) {
    let tiles_m = (p.m + BM - 1u) / BM;
    let tiles_n = (p.n + BN - 1u) / BN;
    let slot = group / (tiles_m * tiles_n);
    let i0 = group / tiles_n % tiles_m * BM;
    let j0 = group % tiles_n * BN;
    let l0 = slot / p.batch * p.chunk;
    let i = quarter / 2u * 2u * TILE * PITCH;           // where this subgroup's rows of A, and columns of B, are staged
    let j = quarter % 2u * 2u * TILE * PITCH;
    var c00 = MatC(); var c01 = MatC(); var c10 = MatC(); var c11 = MatC();     // large terms
    var d00 = MatC(); var d01 = MatC(); var d10 = MatC(); var d11 = MatC();     // small terms
    // A workgroup past the work, which folding the grid may add, has an empty range.
    let l1 = min(l0 + p.chunk, p.k);
    for (var l = l0; l < l1; l += BK) {
        stage(slot % p.batch, i0, j0, l, l1, lid);
        workgroupBarrier();
        for (var s = 0u; s < BK / 4u; s += TILE / 4u) {
            let b0 = b_columns(j + s, PITCH);
            let b1 = b_columns(j + s + TILE * PITCH, PITCH);
            let small_b0 = b_columns(PART + j + s, PITCH);
            let small_b1 = b_columns(PART + j + s + TILE * PITCH, PITCH);
            let a0 = a_rows(i + s, PITCH);
            let small_a0 = a_rows(PART + i + s, PITCH);
            c00 = add(c00, multiply_add(a0, b0, MatC()), 1.0);
            c01 = add(c01, multiply_add(a0, b1, MatC()), 1.0);
            d00 = multiply_add(small_a0, b0, multiply_add(a0, small_b0, d00));
            d01 = multiply_add(small_a0, b1, multiply_add(a0, small_b1, d01));
            let a1 = a_rows(i + s + TILE * PITCH, PITCH);
            let small_a1 = a_rows(PART + i + s + TILE * PITCH, PITCH);
            c10 = add(c10, multiply_add(a1, b0, MatC()), 1.0);
            c11 = add(c11, multiply_add(a1, b1, MatC()), 1.0);
            d10 = multiply_add(small_a1, b0, multiply_add(a1, small_b0, d10));
            d11 = multiply_add(small_a1, b1, multiply_add(a1, small_b1, d11));
        }
        workgroupBarrier();
    }
    spill(quarter, add(c00, d00, 1.0 / 2048.0), add(c01, d01, 1.0 / 2048.0));
    drain(i0, j0, slot, lid);
    spill(quarter, add(c10, d10, 1.0 / 2048.0), add(c11, d11, 1.0 / 2048.0));
    drain(i0 + TILE, j0, slot, lid);
}

// One row of a quarter's tiles to workgroup memory. Subgroups that repeat a quarter write what the first of them does.
fn spill(quarter: u32, c0: MatC, c1: MatC) {
    let at = quarter * TILE * TILE / 2u;
    store_rows(c0, at, TILE / 2u);
    store_rows(c1, at + TILE / 4u, TILE / 2u);
}

fn power(n: i32) -> f32 { return bitcast<f32>(u32(clamp(n, -126, 127) + 127) << 23u); }

// The quarters that were made, scaled, to C.
fn drain(i0: u32, j0: u32, slot: u32, lid: u32) {
    workgroupBarrier();
    for (var e = lid; e < 2u * TILE * TILE; e += WG) {
        let quarter = e / (TILE * TILE / 2u);
        let i = i0 + quarter / 2u * 2u * TILE + e / (TILE / 2u) % TILE;
        let j = j0 + quarter % 2u * 2u * TILE + e % (TILE / 2u) * 4u;
        if quarter < made.x || quarter >= made.y || i >= p.m || slot >= p.splits * p.batch { continue; }
        let x = stored(e);
        for (var q = 0u; q < 4u && j + q < p.n; q++) {
            let n = ea[slot % p.batch * p.m + i] + eb[slot % p.batch * p.n + j + q];
            c[(slot * p.m + i) * p.n + j + q] = x[q] * power(n / 2) * power(n - n / 2);     // 2^n may be out of range
        }
    }
    workgroupBarrier();
}
