// Second pass of split-K: y[i] = sum_s part[s, i], always in the order of s, so the bits do not depend on scheduling.
// Then the epilogue of a product, y = relu(sum + bias) with a bias a column, where the first pass could not do it.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32, splits: u32, columns: u32, add_bias: u32, relu: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;      // (n)
@group(0) @binding(2) var<storage, read> part: array<f32>;          // (splits, n)
@group(0) @binding(3) var<storage, read> bias: array<f32>;          // (columns); any buffer without add_bias

@compute @workgroup_size(WG)
fn sum_splits(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    var sum = 0.0;
    for (var s = 0u; s < p.splits; s++) { sum += part[s * p.n + i]; }
    if p.add_bias != 0u { sum += bias[i % p.columns]; }
    y[i] = Elem(select(sum, 0.0, p.relu != 0u && sum <= 0.0));
}
