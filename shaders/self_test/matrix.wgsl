enable f16;
// One product of tiles on matrix units, in a workgroup like those of lib/matrix.wgsl: C = A B, and how many subgroups it has.
// lib: tile

override SUBGROUP: u32 = 32;
override WG: u32 = 4 * SUBGROUP;

@group(0) @binding(1) var<storage, read_write> y: array<vec4f>; // (TILE, TILE)
@group(0) @binding(2) var<storage, read_write> count: array<u32>;       // (1)
@group(0) @binding(3) var<storage, read> x: array<vec4<f16>>;   // A, then B by columns

const SIZE = TILE * TILE;
var<workgroup> a_tile: array<Stage, SIZE / WIDE>;
var<workgroup> b_tile: array<Stage, SIZE / WIDE>;
var<workgroup> c_tile: array<Spilled, SIZE / WIDE>;
var<workgroup> team: vec4u;

@compute @workgroup_size(WG)
fn matrix(@builtin(local_invocation_index) lid: u32, @builtin(num_subgroups) subgroups: u32) {
    for (var i = lid; i < SIZE / 4u; i += WG) {
        put_a(i, x[i]);
        put_b(i, x[SIZE / 4u + i]);
    }
    workgroupBarrier();
    if lid == 0u { team.x = subgroups; }
    begin_tiles(lid, workgroupUniformLoad(&team).x);
    store_rows(multiply_add(a_rows(0u, TILE / 4u), b_columns(0u, TILE / 4u), MatC()), 0u, TILE / 4u);   // every subgroup the same
    workgroupBarrier();
    for (var i = lid; i < SIZE / 4u; i += WG) { y[i] = stored(i); }
    if lid == 0u { count[0] = subgroups; }
}
