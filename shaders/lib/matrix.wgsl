// C = A B on matrix units (cooperative matrices): f16 operands, f32 sums.
//
// A workgroup makes 8 x 8 tiles of C. Four subgroups share it, 2 x 2 quarters, and each keeps 4 x 4 tiles of sums, in named
// variables because naga has no arrays of matrices. Every step copies (BM, BK) of A and (BK, BN) of B to workgroup
// memory; while it is multiplied, the next one is on its way into registers. An element of A is read BN times for each
// time it is loaded, and a matrix in registers 4 times for each time it is read from workgroup memory.
//
// The kernel says what is multiplied:
//   override A_ALONG_K, B_ALONG_K             whether four neighbours in memory lie along k, or along the rows of A and
//                                             the columns of B; they are staged as they lie
//   fn load_a(i, l, l1) -> vec4<f16>          four neighbours from A[i, l] on; 0 outside, with l1 the end of k
//   fn load_b(l, j, l1) -> vec4<f16>          the same from B[l, j] on
//   fn use_strip(i0, j0, r, lid)              does what is to be done with a strip, an eighth of the block at (i0, j0)
//                                             in c_tile: rows `strip_row(r, ..)`, columns `strip_column(r, ..)`
// Wants `stage` and `tile`. SUBGROUP is set by the engine: the size of subgroups that the adapter takes for such workgroups.
// Results do not depend on it: fewer and larger subgroups make the quarters in several rounds, more of them repeat some.

override SUBGROUP: u32 = 32;
override WG: u32 = 4 * SUBGROUP;

const BM = 8u * TILE;
const BN = 8u * TILE;
const C_COLUMNS = 4u * TILE;            // of a strip
const C_ROW = 2u * TILE + 4u;
alias Staged = array<vec4<f16>, 32>;    // what an invocation stages of one operand: BM BK / 4 / WG

var<workgroup> a_tile: array<Stage, BM * (BK + PAD) / WIDE>;    // (BM, BK + PAD) or (BK, BM + PAD)
var<workgroup> b_tile: array<Stage, BN * (BK + PAD) / WIDE>;    // (BN, BK + PAD) or (BK, BN + PAD)
var<workgroup> c_tile: array<f32, 4u * TILE * C_ROW>;           // (4 quarters, TILE, 2 TILE + 4): a strip of C
var<workgroup> team: u32;                                       // subgroups in the workgroup
var<private> made: vec2u;                                       // quarters made.x to made.y - 1 are in c_tile

// This invocation's share of the next block of A, and of B.
fn fetch_a(x: ptr<function, Staged>, i0: u32, l: u32, l1: u32, lid: u32) {
    for (var s = 0u; s < BM * BK / 4u / WG; s++) {
        let at = within_block(lid + s * WG, A_ALONG_K, BM);
        (*x)[s] = load_a(i0 + at.y, l + at.x, l1);
    }
}

fn fetch_b(y: ptr<function, Staged>, j0: u32, l: u32, l1: u32, lid: u32) {
    for (var s = 0u; s < BN * BK / 4u / WG; s++) {
        let at = within_block(lid + s * WG, B_ALONG_K, BN);
        (*y)[s] = load_b(l + at.x, j0 + at.y, l1);
    }
}

fn mat_a(i: u32, l: u32) -> MatA {
    let at = offset(vec2u(l, i), A_ALONG_K, BM);
    if A_ALONG_K { return a_rows(at, BK + PAD); }
    return a_columns(at, BM + PAD);
}

fn mat_b(l: u32, j: u32) -> MatB {
    let at = offset(vec2u(l, j), B_ALONG_K, BN);
    if B_ALONG_K { return b_columns(at, BK + PAD); }
    return b_rows(at, BN + PAD);
}

// C from row i0 and column j0 on, summed over k in [l0, l1). All invocations of a workgroup call it alike.
fn product(i0: u32, j0: u32, l0: u32, l1: u32, lid: u32, subgroup: u32, subgroups: u32) {
    if lid == 0u { team = subgroups; }
    let count = workgroupUniformLoad(&team);
    begin_tiles(lid, count);
    for (var first = 0u; first < 4u; first += count) {
        made = vec2u(first, first + count);
        quarter_of(i0, j0, l0, l1, lid, (first + subgroup) % 4u);
    }
}

// The quarter of the block that one subgroup makes. All invocations of a workgroup call it alike, but for `quarter`.
fn quarter_of(i0: u32, j0: u32, l0: u32, l1: u32, lid: u32, quarter: u32) {
    let i = quarter / 2u * 4u * TILE;           // where this subgroup's sums are in the block
    let j = quarter % 2u * 4u * TILE;
    var c00 = MatC(); var c01 = MatC(); var c02 = MatC(); var c03 = MatC();
    var c10 = MatC(); var c11 = MatC(); var c12 = MatC(); var c13 = MatC();
    var c20 = MatC(); var c21 = MatC(); var c22 = MatC(); var c23 = MatC();
    var c30 = MatC(); var c31 = MatC(); var c32 = MatC(); var c33 = MatC();
    var x: Staged;
    var y: Staged;
    fetch_a(&x, i0, l0, l1, lid);
    fetch_b(&y, j0, l0, l1, lid);
    for (var l = l0; l < l1; l += BK) {
        for (var s = 0u; s < BM * BK / 4u / WG; s++) {
            put_a(offset(within_block(lid + s * WG, A_ALONG_K, BM), A_ALONG_K, BM), x[s]);
        }
        for (var s = 0u; s < BN * BK / 4u / WG; s++) {
            put_b(offset(within_block(lid + s * WG, B_ALONG_K, BN), B_ALONG_K, BN), y[s]);
        }
        workgroupBarrier();
        fetch_a(&x, i0, l + BK, l1, lid);
        fetch_b(&y, j0, l + BK, l1, lid);
        for (var s = 0u; s < BK; s += TILE) {
            let b0 = mat_b(s, j);
            let b1 = mat_b(s, j + TILE);
            let b2 = mat_b(s, j + 2u * TILE);
            let b3 = mat_b(s, j + 3u * TILE);
            let a0 = mat_a(i, s);
            c00 = multiply_add(a0, b0, c00);
            c01 = multiply_add(a0, b1, c01);
            c02 = multiply_add(a0, b2, c02);
            c03 = multiply_add(a0, b3, c03);
            let a1 = mat_a(i + TILE, s);
            c10 = multiply_add(a1, b0, c10);
            c11 = multiply_add(a1, b1, c11);
            c12 = multiply_add(a1, b2, c12);
            c13 = multiply_add(a1, b3, c13);
            let a2 = mat_a(i + 2u * TILE, s);
            c20 = multiply_add(a2, b0, c20);
            c21 = multiply_add(a2, b1, c21);
            c22 = multiply_add(a2, b2, c22);
            c23 = multiply_add(a2, b3, c23);
            let a3 = mat_a(i + 3u * TILE, s);
            c30 = multiply_add(a3, b0, c30);
            c31 = multiply_add(a3, b1, c31);
            c32 = multiply_add(a3, b2, c32);
            c33 = multiply_add(a3, b3, c33);
        }
        workgroupBarrier();
    }
    spill(quarter, c00, c01);
    use_strip(i0, j0, 0u, lid);
    spill(quarter, c02, c03);
    use_strip(i0, j0, 1u, lid);
    spill(quarter, c10, c11);
    use_strip(i0, j0, 2u, lid);
    spill(quarter, c12, c13);
    use_strip(i0, j0, 3u, lid);
    spill(quarter, c20, c21);
    use_strip(i0, j0, 4u, lid);
    spill(quarter, c22, c23);
    use_strip(i0, j0, 5u, lid);
    spill(quarter, c30, c31);
    use_strip(i0, j0, 6u, lid);
    spill(quarter, c32, c33);
    use_strip(i0, j0, 7u, lid);
}

// Two tiles of each quarter to workgroup memory, 2 TILE rows and C_COLUMNS columns of C together. Subgroups that repeat a
// quarter write what the first of them does.
fn spill(quarter: u32, c0: MatC, c1: MatC) {
    workgroupBarrier();
    let at = quarter * TILE * C_ROW;
    store_rows(c0, at, C_ROW);
    store_rows(c1, at + TILE, C_ROW);
    workgroupBarrier();
}

// Which row of the block is row `row` of strip r, and which column its column `column`.
fn strip_row(r: u32, row: u32) -> u32 { return (row / TILE * 4u + r / 2u) * TILE + row % TILE; }
fn strip_column(r: u32, column: u32) -> u32 {
    return (column / (2u * TILE) * 2u + r % 2u) * 2u * TILE + column % (2u * TILE);
}

fn strip_quarter(row: u32, column: u32) -> u32 { return row / TILE * 2u + column / (2u * TILE); }

// Whether an element of the strip is in c_tile, and where.
fn strip_has(row: u32, column: u32) -> bool {
    let quarter = strip_quarter(row, column);
    return quarter >= made.x && quarter < made.y;
}
fn strip_at(row: u32, column: u32) -> u32 {
    return (strip_quarter(row, column) * TILE + row % TILE) * C_ROW + column % (2u * TILE);
}
