// LARS over a model's flat buffer (You, Gitman & Ginsburg 2017; the form of the public VICReg and Barlow Twins code):
// u = g + wd w; u *= eta |w| / |u| where both norms are positive; v = m v + u; w -= lr v.
// Segments whose group does not adapt (biases, normalisation) keep u as it is. The norms come from segment_norms.wgsl.
// lib: grid segments

override WG: u32 = 64;

struct Uniforms { n: u32, lr: f32, weight_decay: f32, momentum: f32, eta: f32 }          // n: vec4s in the flat buffer
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> g: array<vec4f>;
@group(0) @binding(4) var<storage, read> block_segment: array<u32>;     // (n / 16)
@group(0) @binding(5) var<storage, read> groups: array<vec4f>;          // (segments): decay, lr scale, fixed lr, adapt
@group(0) @binding(6) var<storage, read> norms: array<vec2f>;           // (segments): |w|, |g + wd w|
@group(0) @binding(7) var<storage, read> guard: vec4f;                  // see loss_scale.wgsl; z != 0: the step is skipped

// One invocation: four neighbouring weights and their momentum.
@compute @workgroup_size(WG)
fn lars(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n || guard.z != 0.0 { return; }
    let segment = block_segment[block_of(i)];
    let group = groups[segment];
    let norm = norms[segment];
    var trust = 1.0;
    if group.w != 0.0 && norm.x > 0.0 && norm.y > 0.0 { trust = p.eta * norm.x / norm.y; }
    let velocity = p.momentum * v[i] + trust * (g[i] + group_decay(group, p.weight_decay) * w[i]);
    v[i] = velocity;
    w[i] -= group_lr(group, p.lr) * velocity;
}
