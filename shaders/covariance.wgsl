// The pieces of the covariance of the columns of x [n, d] around two matrix products, s = 1 / sqrt(n - 1):
//   a = s (x - mean),  cov = aᵀ a
//   dx = a h,  h = s (dcov + dcovᵀ)
// dx needs no centring: the columns of a sum to zero, so those of a h do.
// lib: grid elem

override WG: u32 = 64;

struct Params { n: u32, d: u32, s: f32 }
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> a: array<Elem>;           // (n, d)
@group(0) @binding(2) var<storage, read> x: array<Elem>;                 // (n, d)
@group(0) @binding(3) var<storage, read> mean: array<f32>;               // column means first, (>= d)

@group(0) @binding(1) var<storage, read_write> h: array<f32>;            // (d, d)
@group(0) @binding(2) var<storage, read> dcov: array<f32>;               // (d, d)

// One invocation an element of a.
@compute @workgroup_size(WG)
fn covariance_center(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.n * p.d { return; }
    a[i] = Elem((f32(x[i]) - mean[i % p.d]) * p.s);
}

// One invocation an element of h.
@compute @workgroup_size(WG)
fn covariance_backward(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.d * p.d { return; }
    h[i] = (dcov[i] + dcov[(i % p.d) * p.d + i / p.d]) * p.s;
}
