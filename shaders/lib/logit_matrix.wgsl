// The operands of q kᵀ for lib/matrix.wgsl: rows of f16 in memory, both along k.
//
// The kernel file has `a`, the queries, and `b`, the keys, as vec4s, and says
//   fn queries_end() -> u32, fn keys_end() -> u32     the first row that is none
//   fn row_length() -> u32                            a multiple of 8

const A_ALONG_K = true;
const B_ALONG_K = true;

fn begin() {}
fn advance() {}
fn end_round() {}

// The vec4 at a piece whose first row lies at row `first`; vec4 0 where there is none.
fn place(first: u32, at: vec2u, inside: bool) -> u32 {
    return select(0u, (first + at.y) * (row_length() / 4u) + block.l / 4u + at.x, inside);
}

fn load_a(s: u32, q: u32) -> vec4<f16> {
    let at = a_piece(s);
    let inside = block.i0 + at.y < queries_end() && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), a[place(block.i0, at, inside) + q], inside);
}

fn load_b(s: u32, q: u32) -> vec4<f16> {
    let at = b_piece(s);
    let inside = block.j0 + at.y < keys_end() && block.l + 4u * at.x < block.l1;
    return select(vec4<f16>(), b[place(block.j0, at, inside) + q], inside);
}
