enable wgpu_cooperative_matrix;
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
