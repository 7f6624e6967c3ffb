enable f16, wgpu_cooperative_matrix;
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

@compute @workgroup_size(WG)
fn matrix(@builtin(local_invocation_index) lid: u32, @builtin(num_subgroups) subgroups: u32) {
    for (var i = 4u * lid; i < SIZE; i += 4u * WG) {
        put_a(i, x[i / 4u]);
        put_b(i, x[(SIZE + i) / 4u]);
    }
    workgroupBarrier();
    let row = TILE / WIDE;
    let a = coopLoadT<MatA>(&a_tile[0], row);
    let b = coopLoadT<MatB>(&b_tile[0], row);
    let c = coopMultiplyAdd(a, b, MatC());
    let column = TILE;
    coopStoreT(c, &y[0], column);       // every subgroup the same
    if lid == 0u { count[0] = subgroups; }
}
