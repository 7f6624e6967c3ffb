// The tile of a matrix unit: 16 x 16, as NVIDIA and AMD have it. `tile_8.wgsl` is the same for 8 x 8.
//
// Operands are staged four values at a time, one wide access of workgroup memory.

const TILE = 16u;
const WIDE = 4u;        // values in a Stage
alias Stage = vec4<f16>;
alias MatA = coop_mat16x16<f16, A>;
alias MatB = coop_mat16x16<f16, B>;
alias MatC = coop_mat16x16<f32, C>;

fn put_a(at: u32, x: vec4<f16>) { a_tile[at / WIDE] = x; }
fn put_b(at: u32, x: vec4<f16>) { b_tile[at / WIDE] = x; }
