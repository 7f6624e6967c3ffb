// The splits of a product with weights of matrix_weights.wgsl, added up in order: y += scale dloss sum_s part_s.
// lib: grid

override WG: u32 = 64;

struct Uniforms { n: u32, splits: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;       // (n)
@group(0) @binding(2) var<storage, read> part: array<f32>;          // (splits, n)
@group(0) @binding(3) var<storage, read> dloss: array<f32>;

@compute @workgroup_size(WG)
fn contrastive_sum_weighted(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    var sum = 0.0;
    for (var s = 0u; s < p.splits; s++) { sum += part[s * p.n + i]; }
    y[i] += p.scale * dloss[0] * sum;
}
