enable wgpu_cooperative_matrix;
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

// Tiles of the operands from workgroup memory, whose rows or columns lie `step` apart.
fn a_rows(at: u32, step: u32) -> MatA { return coopLoadT<MatA>(&a_tile[at / WIDE], step / WIDE); }
fn a_columns(at: u32, step: u32) -> MatA { return coopLoad<MatA>(&a_tile[at / WIDE], step / WIDE); }
fn b_rows(at: u32, step: u32) -> MatB { return coopLoadT<MatB>(&b_tile[at / WIDE], step / WIDE); }
fn b_columns(at: u32, step: u32) -> MatB { return coopLoad<MatB>(&b_tile[at / WIDE], step / WIDE); }

fn multiply_add(a: MatA, b: MatB, c: MatC) -> MatC { return coopMultiplyAdd(a, b, c); }
// c + factor d
fn add(c: MatC, d: MatC, factor: f32) -> MatC { return c + d * factor; }
fn store_rows(c: MatC, at: u32, step: u32) { coopStoreT(c, &c_tile[at], step); }

// Called first; `subgroups` is their number in the workgroup.
fn begin_tiles(lid: u32, subgroups: u32) {}
