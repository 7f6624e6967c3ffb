enable f16;
// One product of tiles on matrix units, in a workgroup like those of lib/matrix.wgsl: C = A B, and how many subgroups it has.
// lib: tile

override SUBGROUP: u32 = 32;
override WG: u32 = 4 * SUBGROUP;

@group(0) @binding(1) var<storage, read_write> y: array<f32>;   // (TILE, TILE)
@group(0) @binding(2) var<storage, read_write> count: array<u32>;       // (1)
@group(0) @binding(3) var<storage, read> x: array<vec4<f16>>;   // A, then B

const SIZE = TILE * TILE;
var<workgroup> a_tile: array<Stage, SIZE / WIDE>;
var<workgroup> b_tile: array<Stage, SIZE / WIDE>;
var<workgroup> c_tile: array<f32, SIZE>;
var<workgroup> team: u32;

@compute @workgroup_size(WG)
fn matrix(@builtin(local_invocation_index) lid: u32, @builtin(num_subgroups) subgroups: u32) {
    for (var i = 4u * lid; i < SIZE; i += 4u * WG) {
        put_a(i, x[i / 4u]);
        put_b(i, x[(SIZE + i) / 4u]);
    }
    workgroupBarrier();
    if lid == 0u { team = subgroups; }
    begin_tiles(lid, workgroupUniformLoad(&team));
    store_rows(multiply_add(a_rows(0u, TILE), b_rows(0u, TILE), MatC()), 0u, TILE);     // every subgroup the same
    workgroupBarrier();
    for (var i = lid; i < SIZE; i += WG) { y[i] = c_tile[i]; }
    if lid == 0u { count[0] = subgroups; }
}
