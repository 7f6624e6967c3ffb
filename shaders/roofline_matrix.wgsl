enable f16;
// What this adapter's matrix units can do at best: chains of products of f16 tiles with f32 sums, from registers.
// lib: grid tile

override SUBGROUP: u32 = 32;
override WG: u32 = 4 * SUBGROUP;

struct Uniforms { n: u32, rounds: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;     // (n, 4 subgroups, TILE, TILE)
@group(0) @binding(2) var<storage, read> x: array<vec4<f16>>;       // two tiles and more

const SIZE = TILE * TILE;
var<workgroup> a_tile: array<Stage, 2u * SIZE / WIDE>;
var<workgroup> b_tile: array<Stage, 4u * SIZE / WIDE>;
var<workgroup> c_tile: array<Spilled, 4u * SIZE / WIDE>;
var<workgroup> team: vec4u;     // x: subgroups in the workgroup

// A subgroup makes 8 independent chains of `rounds` products: 16 TILE^3 flops a round.
@compute @workgroup_size(WG)
fn matrix_multiply_add(
    at: At, @builtin(local_invocation_index) lid: u32, @builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32
) {
    let group = group_index(at);
    for (var i = lid; i < SIZE; i += WG) {
        if i < SIZE / 2u { put_a(i, x[i]); }
        put_b(i, x[i]);
    }
    workgroupBarrier();
    // As much work whatever the size of subgroups is.
    if lid == 0u { team.x = subgroups; }
    let count = workgroupUniformLoad(&team).x;
    begin_tiles(lid, count);
    let rounds = p.rounds * 4u / count;
    let a0 = a_rows(0u, TILE / 4u);
    let a1 = a_rows(SIZE / 4u, TILE / 4u);
    let b0 = b_columns(0u, TILE / 4u);
    let b1 = b_columns(SIZE / 4u, TILE / 4u);
    let b2 = b_columns(SIZE / 2u, TILE / 4u);
    let b3 = b_columns(3u * SIZE / 4u, TILE / 4u);
    var c00 = MatC(); var c01 = MatC(); var c02 = MatC(); var c03 = MatC();
    var c10 = MatC(); var c11 = MatC(); var c12 = MatC(); var c13 = MatC();
    for (var r = 0u; r < rounds; r++) {
        c00 = multiply_add(a0, b0, c00);
        c01 = multiply_add(a0, b1, c01);
        c02 = multiply_add(a0, b2, c02);
        c03 = multiply_add(a0, b3, c03);
        c10 = multiply_add(a1, b0, c10);
        c11 = multiply_add(a1, b1, c11);
        c12 = multiply_add(a1, b2, c12);
        c13 = multiply_add(a1, b3, c13);
    }
    c00 = add(add(c00, c01, 1.0), add(c02, c03, 1.0), 1.0);
    c10 = add(add(c10, c11, 1.0), add(c12, c13, 1.0), 1.0);
    store_rows(add(c00, c10, 1.0), subgroup % 4u * SIZE / 4u, TILE / 4u);
    workgroupBarrier();
    // A workgroup past the work, which folding the grid may add, writes what the first one does.
    for (var i = lid; i < SIZE; i += WG) { y[group % p.n * SIZE + i] = stored(i); }
}
