// Norms of every tensor of a model in two launches: squares summed by chunk, then chunks summed by segment.
// A chunk is at most 4096 neighbouring floats of one segment, so large tensors are shared by many workgroups. The order of
// every sum is fixed: lane by lane, a tree over the lanes, then chunks the same way. Results are the same bits each run.
// lib: grid segments

override WG: u32 = 64;

struct Chunks { chunks: u32, weight_decay: f32 }
@group(0) @binding(0) var<uniform> c: Chunks;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2f>;  // (chunks): of w, of the update
@group(0) @binding(2) var<storage, read> g: array<vec4f>;
@group(0) @binding(3) var<storage, read> chunks: array<vec4u>;          // (chunks): first vec4, vec4s, segment, 0
@group(0) @binding(4) var<storage, read> groups: array<vec4f>;          // (segments): decay, lr scale, fixed lr, adapt
@group(0) @binding(5) var<storage, read> w: array<vec4f>;

struct Plain { chunks: u32 }
@group(0) @binding(0) var<uniform> plain: Plain;

struct Ranges { ranges: u32 }
@group(0) @binding(0) var<uniform> r: Ranges;
@group(0) @binding(1) var<storage, read_write> norms: array<vec2f>;     // (ranges)
@group(0) @binding(2) var<storage, read> sums: array<vec2f>;            // (chunks)
@group(0) @binding(3) var<storage, read> ranges: array<vec2u>;          // (ranges): first chunk, chunks

var<workgroup> tree: array<vec2f, WG>;

// The sum of `x` over the workgroup, valid in lane 0. WG is a power of two.
fn sum_lanes(lid: u32, x: vec2f) -> vec2f {
    tree[lid] = x;
    for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
        workgroupBarrier();
        if lid < stride { tree[lid] += tree[lid + stride]; }
    }
    return tree[lid];
}

// One workgroup: one chunk, sums of w^2 and of (g + wd w)^2.
@compute @workgroup_size(WG)
fn chunk_update_squares(at: At, @builtin(local_invocation_index) lid: u32) {
    let k = group_index(at);
    if k >= c.chunks { return; }
    let chunk = chunks[k];
    let decay = group_decay(groups[chunk.z], c.weight_decay);
    var sum = vec2f();
    for (var i = chunk.x + lid; i < chunk.x + chunk.y; i += WG) {
        let u = g[i] + decay * w[i];
        sum += vec2f(dot(w[i], w[i]), dot(u, u));
    }
    sum = sum_lanes(lid, sum);
    if lid == 0u { partials[k] = sum; }
}

// One workgroup: one chunk, the sum of g^2 in the second place.
@compute @workgroup_size(WG)
fn chunk_squares(at: At, @builtin(local_invocation_index) lid: u32) {
    let k = group_index(at);
    if k >= plain.chunks { return; }
    let chunk = chunks[k];
    var sum = 0.0;
    for (var i = chunk.x + lid; i < chunk.x + chunk.y; i += WG) {
        sum += dot(g[i], g[i]);
    }
    let total = sum_lanes(lid, vec2f(0.0, sum));
    if lid == 0u { partials[k] = total; }
}

// One workgroup: one segment (or the whole model, as one range of all chunks), the roots of its sums.
@compute @workgroup_size(WG)
fn range_norms(at: At, @builtin(local_invocation_index) lid: u32) {
    let s = group_index(at);
    if s >= r.ranges { return; }
    let range = ranges[s];
    var sum = vec2f();
    for (var k = range.x + lid; k < range.x + range.y; k += WG) {
        sum += sums[k];
    }
    sum = sum_lanes(lid, sum);
    if lid == 0u { norms[s] = sqrt(sum); }
}
