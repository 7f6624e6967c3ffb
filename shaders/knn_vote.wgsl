// The vote of nearest neighbours: a class scores the sum of exp((s - 1) / tau) over its neighbours of similarity s.
// lib: grid elem nan

override WG: u32 = 64;

struct Uniforms {
    n: u32,          // queries
    k: u32,          // neighbours
    classes: u32,
    bank: u32,       // rows of the bank
    tau: f32,
}
@group(0) @binding(0) var<uniform> v: Uniforms;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;          // (N, CLASSES)
@group(0) @binding(2) var<storage, read> near_similarity: array<f32>;       // (N, K)
@group(0) @binding(3) var<storage, read> near_index: array<u32>;            // (N, K)
@group(0) @binding(4) var<storage, read> labels: array<u32>;                // (M)

// One invocation: eight classes of a query. It sums exp((s - 1) / tau) over the neighbours of each class, best first.
@compute @workgroup_size(WG)
fn knn_vote(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    let parts = (v.classes + 7u) / 8u;
    let q = i / parts;
    if q >= v.n { return; }
    let kind_a = vec4u(0u, 1u, 2u, 3u) + i % parts * 8u;
    let kind_b = kind_a + 4u;
    var a = vec4f();
    var b = vec4f();
    for (var j = q * v.k; j < (q + 1u) * v.k; j++) {
        let row = near_index[j];
        if row >= v.bank { continue; }     // a NaN similarity leaves an empty slot behind
        let label = vec4u(labels[row]);
        let similarity = near_similarity[j];
        let weight = vec4f(keep_nan_1(similarity, exp((similarity - 1.0) / v.tau)));
        a += select(vec4f(), weight, label == kind_a);
        b += select(vec4f(), weight, label == kind_b);
    }
    for (var l = 0u; l < 4u; l++) {
        if kind_a[l] < v.classes { scores[q * v.classes + kind_a[l]] = a[l]; }
        if kind_b[l] < v.classes { scores[q * v.classes + kind_b[l]] = b[l]; }
    }
}
