// The tile of a matrix unit: 8 x 8, as Apple and lavapipe have it. `tile_16.wgsl` is the same for 16 x 16.
//
// Operands are staged one value at a time: Metal loads a matrix from scalars only.

const TILE = 8u;
const WIDE = 1u;        // values in a Stage
alias Stage = f16;
alias MatA = coop_mat8x8<f16, A>;
alias MatB = coop_mat8x8<f16, B>;
alias MatC = coop_mat8x8<f32, C>;

fn put_a(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { a_tile[at + q] = x[q]; } }
fn put_b(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { b_tile[at + q] = x[q]; } }
