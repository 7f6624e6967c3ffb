// Adds up pairs of partial sums over strips of rows: parts (c, strips) -> first and second sum of every column.
// The second pass of the column sums in batch_norm.wgsl and layer_norm.wgsl. LANES invocations take one column.
// lib: grid row

override WG: u32 = 64;
override LANES: u32 = 32;

struct Params { c: u32, strips: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> first: array<f32>;        // (c)
@group(0) @binding(2) var<storage, read_write> second: array<f32>;       // (c)
@group(0) @binding(3) var<storage, read> parts: array<vec2f>;            // (c, strips)

@compute @workgroup_size(WG)
fn add_strips(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let row = row_of(group_index(wid, nwg), lid, p.c, p.strips);
    var part = vec2f();
    for (var i = row.begin; i < row.end; i += LANES) { part += parts[i]; }
    let sum = row_sum(part, lid);
    if !row.live || row.lane != 0u { return; }
    first[row.index] = sum.x;
    second[row.index] = sum.y;
}
