// Adds up partial sums over strips of rows, the second pass of the column sums in batch_norm.wgsl and layer_norm.wgsl.
// LANES invocations take one column, or four neighbouring ones (lib/lane_4.wgsl).
// lib: grid elem lane row sums

override WG: u32 = 64;
override LANES: u32 = 32;

struct Uniforms { c: u32, strips: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> first: array<f32>;        // (c)
@group(0) @binding(2) var<storage, read_write> second: array<f32>;       // (c)
@group(0) @binding(3) var<storage, read> parts: array<vec2f>;            // (c, strips)
@group(0) @binding(3) var<storage, read> rows: array<Lane>;              // (strips, 2, c)

// Pairs that lie together: parts (c, strips) -> first and second sum of every column.
@compute @workgroup_size(WG)
fn add_strips(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(at), lid, p.c, p.strips);
    var part = vec2f();
    for (var i = row.begin; i < row.end; i += LANES) { part += parts[i]; }
    let sum = row_sum(part, lid);
    if !row.live || row.lane != 0u { return; }
    first[row.index] = sum.x;
    second[row.index] = sum.y;
}

// Pairs of rows: rows (strips, 2, c) -> the same.
@compute @workgroup_size(WG)
fn add_strip_rows(at: At, @builtin(local_invocation_index) lid: u32) {
    let cells = p.c / LANE;
    let columns = row_of(group_index(at), lid, cells, 1u);
    var a = Lane();
    var b = Lane();
    for (var s = columns.lane; columns.live && s < p.strips; s += LANES) {
        a += rows[2u * s * cells + columns.index];
        b += rows[(2u * s + 1u) * cells + columns.index];
    }
    for (var k = 0u; k < LANE; k++) {
        let sum = row_sum(vec2f(lane_at(a, k), lane_at(b, k)), lid);
        if columns.live && columns.lane == 0u {
            first[columns.index * LANE + k] = sum.x;
            second[columns.index * LANE + k] = sum.y;
        }
    }
}
