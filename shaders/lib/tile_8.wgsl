enable wgpu_cooperative_matrix;
// The tile of a matrix unit: 8 x 8, as Apple and lavapipe have it. `tile_16.wgsl` is the same for 16 x 16.
//
// Workgroup memory is counted in vec4s, and holds scalars: Metal loads a matrix from no others.

const TILE = 8u;
const WIDE = 1u;        // values in a Stage and in a Spilled
alias Stage = f16;
alias Spilled = f32;
alias MatA = coop_mat8x8<f16, A>;
alias MatB = coop_mat8x8<f16, B>;
alias MatC = coop_mat8x8<f32, C>;

fn put_a(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { a_tile[4u * at + q] = x[q]; } }
fn put_b(at: u32, x: vec4<f16>) { for (var q = 0u; q < 4u; q++) { b_tile[4u * at + q] = x[q]; } }

// Tiles of the operands from workgroup memory, whose rows (of B: columns) lie `step` apart.
fn a_rows(at: u32, step: u32) -> MatA {
    let first = 4u * at;        // naga takes no expressions here
    let values = 4u * step;
    return coopLoadT<MatA>(&a_tile[first], values);
}
fn b_columns(at: u32, step: u32) -> MatB {
    let first = 4u * at;
    let values = 4u * step;
    return coopLoad<MatB>(&b_tile[first], values);
}

fn multiply_add(a: MatA, b: MatB, c: MatC) -> MatC { return coopMultiplyAdd(a, b, c); }
// c + factor d
fn add(c: MatC, d: MatC, factor: f32) -> MatC { return c + d * factor; }
fn store_rows(c: MatC, at: u32, step: u32) {
    let first = 4u * at;
    let values = 4u * step;
    coopStoreT(c, &c_tile[first], values);
}
fn stored(at: u32) -> vec4f { return vec4f(c_tile[4u * at], c_tile[4u * at + 1u], c_tile[4u * at + 2u], c_tile[4u * at + 3u]); }
fn keep(at: u32, x: vec4f) { for (var q = 0u; q < 4u; q++) { c_tile[4u * at + q] = x[q]; } }

// Called first; `subgroups` is their number in the workgroup.
fn begin_tiles(lid: u32, subgroups: u32) {}
