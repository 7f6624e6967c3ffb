enable wgpu_cooperative_matrix;
// The tile of a matrix unit: 16 x 16, as NVIDIA and AMD have it. `tile_8.wgsl` is the same for 8 x 8.
//
// Workgroup memory is counted in vec4s: operands go there and come back in wide accesses.

const TILE = 16u;
const WIDE = 4u;        // values in a Stage and in a Spilled
alias Stage = vec4<f16>;
alias Spilled = vec4f;
alias MatA = coop_mat16x16<f16, A>;
alias MatB = coop_mat16x16<f16, B>;
alias MatC = coop_mat16x16<f32, C>;

fn put_a(at: u32, x: vec4<f16>) { a_tile[at] = x; }
fn put_b(at: u32, x: vec4<f16>) { b_tile[at] = x; }

// Tiles of the operands from workgroup memory, whose rows (of B: columns) lie `step` apart.
fn a_rows(at: u32, step: u32) -> MatA { return coopLoadT<MatA>(&a_tile[at], step); }
fn b_columns(at: u32, step: u32) -> MatB { return coopLoad<MatB>(&b_tile[at], step); }

fn multiply_add(a: MatA, b: MatB, c: MatC) -> MatC { return coopMultiplyAdd(a, b, c); }
// c + factor d
fn add(c: MatC, d: MatC, factor: f32) -> MatC { return c + d * factor; }
fn store_rows(c: MatC, at: u32, step: u32) { coopStoreT(c, &c_tile[at], step); }
fn stored(at: u32) -> vec4f { return c_tile[at]; }
fn keep(at: u32, x: vec4f) { c_tile[at] = x; }

// Called first; `subgroups` is their number in the workgroup.
fn begin_tiles(lid: u32, subgroups: u32) {}
