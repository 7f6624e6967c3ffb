// AdamW over a model's flat buffer (Loshchilov & Hutter 2019, as torch.optim.AdamW):
// w *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m / c1) / (sqrt(v / c2) + eps), ck = 1 - bk^step.
// Padding stays 0, since 0 / (0 + eps) = 0.
// lib: grid segments

override WG: u32 = 64;

struct Params {
    n: u32,                 // vec4s in the flat buffer
    lr: f32,
    weight_decay: f32,
    beta1: f32,
    rest1: f32,             // 1 - b1, rounded once: in f32 the difference would lose half its digits
    beta2: f32,
    rest2: f32,
    correct1: f32,          // 1 / c1
    correct2: f32,          // 1 / c2
    eps: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> g: array<vec4f>;
@group(0) @binding(5) var<storage, read> block_segment: array<u32>;     // (n / 16)
@group(0) @binding(6) var<storage, read> groups: array<vec4f>;          // (segments): decay, lr scale, fixed lr, adapt

// One invocation: four neighbouring weights and their two moments.
@compute @workgroup_size(WG)
fn adamw(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nwg: vec3u, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(wid, nwg, lid, WG);
    if i >= p.n { return; }
    let group = groups[block_segment[block_of(i)]];
    let lr = group_lr(group, p.lr);
    let grad = g[i];
    let mean = p.beta1 * m[i] + p.rest1 * grad;
    let square = p.beta2 * v[i] + p.rest2 * grad * grad;
    m[i] = mean;
    v[i] = square;
    let decayed = w[i] * (1.0 - lr * group_decay(group, p.weight_decay));
    w[i] = decayed - lr * p.correct1 * mean / (sqrt(p.correct2 * square) + p.eps);
}
