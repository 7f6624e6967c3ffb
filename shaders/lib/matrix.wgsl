// C = A B on matrix units (cooperative matrices): f16 operands, f32 sums.
//
// A workgroup makes a block of C, DOWN x ACROSS patches of 4 x 4 tiles, a patch a subgroup; it keeps its 16 tiles of sums in
// named variables, because naga has no arrays of matrices. Every step copies (BM, BK) of A and (BK, BN) of B to workgroup
// memory; while it is multiplied, the next one is on its way into registers. At 2 x 2 patches an element of A is read BN times for
// each time it is loaded, and a matrix in registers 4 times for each time it is read from workgroup memory.
//
// The kernel says what is multiplied:
//   override A_ALONG_K, B_ALONG_K     whether its loads run along k, or along the rows of A and the columns of B
//   fn begin()                        called before the first step, when `block` says where this is
//   fn load_a(s, q) -> vec4<f16>      vec4 q of the s-th piece of A that this invocation brings (lib/stage.wgsl), for the step that
//   fn load_b(s, q) -> vec4<f16>      `block.l` names; 0 outside the operand and from block.l1 on
//   fn advance()                      called when block.l has moved on by BK
//   fn use_strip(r)                   does what is to be done with strip r of 8, two tiles of each patch, in c_tile
//   fn end_round()                    called after the strips of the patches that are made together
// Wants `stage` and `tile`. SUBGROUP is set by the engine: the size of subgroups that the adapter takes for such workgroups.
// Results do not depend on it: fewer and larger subgroups make the patches in several rounds, more of them repeat some.

override SUBGROUP: u32 = 32;
override DOWN: u32 = 2;                 // patches along M
override ACROSS: u32 = 2;               // patches along N
override WHOLE: bool = false;           // every step of every block lies inside A and B, and every block inside C
override WG: u32 = max(DOWN * ACROSS * SUBGROUP, BK);     // no fewer than terms: all pieces of an invocation have the same terms
override BM: u32 = DOWN * 4u * TILE;
override BN: u32 = ACROSS * 4u * TILE;
// Lengths of the arrays: naga cannot make an override of an expression that stands in an array's type before it has met others.
override A_LENGTH: u32 = BM * PITCH * 4u / WIDE;
override B_LENGTH: u32 = BN * PITCH * 4u / WIDE;
override C_LENGTH: u32 = DOWN * ACROSS * 2u * TILE * TILE / WIDE;
override A_WHOLE: bool = BM * BK / 16u % WG == 0u;         // whether all invocations bring as many pieces
override B_WHOLE: bool = BN * BK / 16u % WG == 0u;
override STRIP_ROWS: u32 = DOWN * TILE;
override STRIP_QUADS: u32 = ACROSS * TILE / 2u;             // vec4s in a row of a strip
override STRIP_STEP: u32 = WG / STRIP_QUADS;                // rows that a workgroup takes at a time
alias Staged = array<mat4x4<f16>, 32>;  // what an invocation brings of one operand in a step: a piece a matrix

// Rows from i0 and columns from j0 on, terms up to l1; the step that begins at term l is loaded next.
struct Block { i0: u32, j0: u32, l1: u32, l: u32, lid: u32 }
var<private> block: Block;

var<workgroup> a_tile: array<Stage, A_LENGTH>;       // (BM, BK and a gap)
var<workgroup> b_tile: array<Stage, B_LENGTH>;       // (BN, BK and a gap)
var<workgroup> c_tile: array<Spilled, C_LENGTH>;     // (patches, TILE, 2 TILE): a strip of C
var<workgroup> team: vec4u;             // x: subgroups in the workgroup. Whole vec4s keep the others' addresses even
var<private> made: vec2u;               // patches made.x to made.y - 1 are in c_tile

// The s-th piece that this invocation brings: its first vec4 along k, and its first row in the block. Between two of them lie
// `a_step()` rows.
fn a_piece(s: u32) -> vec2u { return piece(block.lid, A_ALONG_K) + vec2u(0u, s * a_step()); }
fn b_piece(s: u32) -> vec2u { return piece(block.lid, B_ALONG_K) + vec2u(0u, s * b_step()); }
fn a_step() -> u32 { return select(16u, 8u, A_ALONG_K) * WG / BK; }
fn b_step() -> u32 { return select(16u, 8u, B_ALONG_K) * WG / BK; }
fn a_pieces() -> u32 { return (pieces(BM, A_ALONG_K) + WG - 1u) / WG; }
fn b_pieces() -> u32 { return (pieces(BN, B_ALONG_K) + WG - 1u) / WG; }

fn fetch(x: ptr<function, Staged>, y: ptr<function, Staged>) {
    for (var s = 0u; s < a_pieces(); s++) {
        for (var q = 0u; q < quads(A_ALONG_K); q++) { (*x)[s][q] = load_a(s, q); }
    }
    for (var s = 0u; s < b_pieces(); s++) {
        for (var q = 0u; q < quads(B_ALONG_K); q++) { (*y)[s][q] = load_b(s, q); }
    }
}

// `a` and `b`: where this invocation's first pieces lie in workgroup memory.
fn put(x: ptr<function, Staged>, y: ptr<function, Staged>, a: u32, b: u32) {
    for (var s = 0u; s < a_pieces(); s++) {
        if A_WHOLE || block.lid + s * WG < pieces(BM, A_ALONG_K) { put_piece_a(a + s * a_step() * PITCH, (*x)[s]); }
    }
    for (var s = 0u; s < b_pieces(); s++) {
        if B_WHOLE || block.lid + s * WG < pieces(BN, B_ALONG_K) { put_piece_b(b + s * b_step() * PITCH, (*y)[s]); }
    }
}

// C from row i0 and column j0 on, summed over k in [l0, l1). All invocations of a workgroup call it alike.
fn product(i0: u32, j0: u32, l0: u32, l1: u32, lid: u32, subgroup: u32, subgroups: u32) {
    if lid == 0u { team.x = subgroups; }
    let count = workgroupUniformLoad(&team).x;
    begin_tiles(lid, count);
    for (var first = 0u; first < DOWN * ACROSS; first += count) {
        made = vec2u(first, first + count);
        block = Block(i0, j0, l1, l0, lid);
        begin();
        patch_of(l0, l1, lid, (first + subgroup) % (DOWN * ACROSS));
        end_round();
    }
}

// The patch of the block that one subgroup makes. All invocations of a workgroup call it alike, but for `own`.
fn patch_of(l0: u32, l1: u32, lid: u32, own: u32) {
    // Where this subgroup's rows of A and columns of B, and this invocation's pieces, lie in workgroup memory.
    let i = own / ACROSS * 4u * TILE * PITCH;
    let j = own % ACROSS * 4u * TILE * PITCH;
    let a = piece(lid, A_ALONG_K).y * PITCH + piece(lid, A_ALONG_K).x;
    let b = piece(lid, B_ALONG_K).y * PITCH + piece(lid, B_ALONG_K).x;
    var c00 = MatC(); var c01 = MatC(); var c02 = MatC(); var c03 = MatC();
    var c10 = MatC(); var c11 = MatC(); var c12 = MatC(); var c13 = MatC();
    var c20 = MatC(); var c21 = MatC(); var c22 = MatC(); var c23 = MatC();
    var c30 = MatC(); var c31 = MatC(); var c32 = MatC(); var c33 = MatC();
    var x: Staged;
    var y: Staged;
    if !WHOLE || l0 < l1 { fetch(&x, &y); }
    for (var l = l0; l < l1; l += BK) {
        put(&x, &y, a, b);
        workgroupBarrier();
        block.l = l + BK;
        advance();
        if !WHOLE || l + BK < l1 { fetch(&x, &y); }
        for (var s = 0u; s < BK / 4u; s += TILE / 4u) {
            let row = i + s;
            let column = j + s;
            let b0 = b_columns(column, PITCH);
            let b1 = b_columns(column + TILE * PITCH, PITCH);
            let b2 = b_columns(column + 2u * TILE * PITCH, PITCH);
            let b3 = b_columns(column + 3u * TILE * PITCH, PITCH);
            let a0 = a_rows(row, PITCH);
            c00 = multiply_add(a0, b0, c00);
            c01 = multiply_add(a0, b1, c01);
            c02 = multiply_add(a0, b2, c02);
            c03 = multiply_add(a0, b3, c03);
            let a1 = a_rows(row + TILE * PITCH, PITCH);
            c10 = multiply_add(a1, b0, c10);
            c11 = multiply_add(a1, b1, c11);
            c12 = multiply_add(a1, b2, c12);
            c13 = multiply_add(a1, b3, c13);
            let a2 = a_rows(row + 2u * TILE * PITCH, PITCH);
            c20 = multiply_add(a2, b0, c20);
            c21 = multiply_add(a2, b1, c21);
            c22 = multiply_add(a2, b2, c22);
            c23 = multiply_add(a2, b3, c23);
            let a3 = a_rows(row + 3u * TILE * PITCH, PITCH);
            c30 = multiply_add(a3, b0, c30);
            c31 = multiply_add(a3, b1, c31);
            c32 = multiply_add(a3, b2, c32);
            c33 = multiply_add(a3, b3, c33);
        }
        workgroupBarrier();
    }
    spill(own, c00, c01);
    use_strip(0u);
    spill(own, c02, c03);
    use_strip(1u);
    spill(own, c10, c11);
    use_strip(2u);
    spill(own, c12, c13);
    use_strip(3u);
    spill(own, c20, c21);
    use_strip(4u);
    spill(own, c22, c23);
    use_strip(5u);
    spill(own, c30, c31);
    use_strip(6u);
    spill(own, c32, c33);
    use_strip(7u);
}

// Two tiles of each patch to workgroup memory. Subgroups that repeat a patch write what the first of them does.
fn spill(own: u32, c0: MatC, c1: MatC) {
    workgroupBarrier();
    let at = own * TILE * TILE / 2u;
    store_rows(c0, at, TILE / 2u);
    store_rows(c1, at + TILE / 4u, TILE / 2u);
    workgroupBarrier();
}

// Which row of the block is row `row` of strip r, of STRIP_ROWS, and which column the first of its vec4 `quad`, of STRIP_QUADS.
fn strip_row(r: u32, row: u32) -> u32 { return (row / TILE * 4u + r / 2u) * TILE + row % TILE; }
fn strip_column(r: u32, quad: u32) -> u32 { return (quad / (TILE / 2u) * 2u + r % 2u) * 2u * TILE + quad % (TILE / 2u) * 4u; }

// Whether a vec4 of the strip is in c_tile, and the vec4.
fn strip_has(row: u32, quad: u32) -> bool {
    let patch_index = row / TILE * ACROSS + quad / (TILE / 2u);
    return patch_index >= made.x && patch_index < made.y;
}
fn strip_at(row: u32, quad: u32) -> vec4f {
    return stored(((row / TILE * ACROSS + quad / (TILE / 2u)) * TILE + row % TILE) * (TILE / 2u) + quad % (TILE / 2u));
}
