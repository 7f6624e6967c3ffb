enable f16, wgpu_cooperative_matrix;
// What this adapter's matrix units can do at best: chains of products of f16 tiles with f32 sums, from registers.
// lib: grid tile

override SUBGROUP: u32 = 32;
override WG: u32 = 4 * SUBGROUP;

struct Uniforms { n: u32, rounds: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;       // (n, 4 subgroups, 8 tiles, TILE, TILE)
@group(0) @binding(2) var<storage, read> x: array<vec4<f16>>;       // two tiles and more

const SIZE = TILE * TILE;
var<workgroup> a_tile: array<Stage, 2u * SIZE / WIDE>;
var<workgroup> b_tile: array<Stage, 4u * SIZE / WIDE>;
var<workgroup> team: u32;       // subgroups in the workgroup

// A subgroup makes 8 independent chains of `rounds` products: 16 TILE^3 flops a round.
@compute @workgroup_size(WG)
fn matrix_multiply_add(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let group = group_index(at);
    for (var i = 4u * lid; i < 4u * SIZE; i += 4u * WG) {
        if i < 2u * SIZE { put_a(i, x[i / 4u]); }
        put_b(i, x[i / 4u]);
    }
    workgroupBarrier();
    let row = TILE / WIDE;
    let step = SIZE / WIDE;
    let a0 = coopLoadT<MatA>(&a_tile[0], row);
    let a1 = coopLoadT<MatA>(&a_tile[step], row);
    let b0 = coopLoadT<MatB>(&b_tile[0], row);
    let b1 = coopLoadT<MatB>(&b_tile[step], row);
    let b2 = coopLoadT<MatB>(&b_tile[2u * step], row);
    let b3 = coopLoadT<MatB>(&b_tile[3u * step], row);
    var c00 = MatC(); var c01 = MatC(); var c02 = MatC(); var c03 = MatC();
    var c10 = MatC(); var c11 = MatC(); var c12 = MatC(); var c13 = MatC();
    // As much work whatever the size of subgroups is.
    if lid == 0u { team = subgroups; }
    let rounds = p.rounds * 4u / workgroupUniformLoad(&team);
    for (var r = 0u; r < rounds; r++) {
        c00 = coopMultiplyAdd(a0, b0, c00);
        c01 = coopMultiplyAdd(a0, b1, c01);
        c02 = coopMultiplyAdd(a0, b2, c02);
        c03 = coopMultiplyAdd(a0, b3, c03);
        c10 = coopMultiplyAdd(a1, b0, c10);
        c11 = coopMultiplyAdd(a1, b1, c11);
        c12 = coopMultiplyAdd(a1, b2, c12);
        c13 = coopMultiplyAdd(a1, b3, c13);
    }
    // A workgroup past the work, which folding the grid may add, writes what the first one does.
    let at0 = (group % p.n * 4u + subgroup % 4u) * 8u * SIZE;
    let at1 = at0 + SIZE;
    let at2 = at0 + 2u * SIZE;
    let at3 = at0 + 3u * SIZE;
    let at4 = at0 + 4u * SIZE;
    let at5 = at0 + 5u * SIZE;
    let at6 = at0 + 6u * SIZE;
    let at7 = at0 + 7u * SIZE;
    let column = TILE;
    coopStoreT(c00, &y[at0], column);
    coopStoreT(c01, &y[at1], column);
    coopStoreT(c02, &y[at2], column);
    coopStoreT(c03, &y[at3], column);
    coopStoreT(c10, &y[at4], column);
    coopStoreT(c11, &y[at5], column);
    coopStoreT(c12, &y[at6], column);
    coopStoreT(c13, &y[at7], column);
}
