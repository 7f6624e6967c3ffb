// Stores the blocks of lib/matrix.wgsl, for kernels whose C is a matrix in memory. The kernel says where:
//   c: array<Result>                          binding 1
//   fn row_of(i: u32) -> u32                  the element at which row i of C begins, NO_ROW if there is no such row
//   fn columns() -> u32                       the length of a row
//   fn total(at: u32, x: vec4f) -> vec4f      what to store for the sums x of a vec4 from element `at` on
//   fn stored_row(r: u32, x: vec4f)           called for each vec4 of strip r that this invocation stores
// Wants `elem`, `result` and `matrix`.

const NO_ROW = 0xffffffffu;
var<workgroup> c_rows: array<u32, BM>;      // row_of

// Called before the product: each row is looked up once, and not once for each of its vec4s.
fn find_rows(i0: u32, lid: u32) { for (var e = lid; e < BM; e += WG) { c_rows[e] = row_of(i0 + e); } }

fn store_strip(r: u32) {
    let quad = block.lid % STRIP_QUADS;
    let j = block.j0 + strip_column(r, quad);
    for (var s = 0u; s < (STRIP_ROWS + STRIP_STEP - 1u) / STRIP_STEP; s++) {
        let row = block.lid / STRIP_QUADS + s * STRIP_STEP;
        if STRIP_ROWS % STRIP_STEP != 0u && row >= STRIP_ROWS { break; }
        let at = c_rows[strip_row(r, row)];
        if at == NO_ROW || (!WHOLE && j >= columns()) || !strip_has(row, quad) { continue; }
        let x = total(at + j, strip_at(row, quad));
        store(at + j, columns() - j, x);
        stored_row(r, x);
    }
}
