// SGD over a model's flat buffer, PyTorch's form: g' = g + wd w; v = m v + g'; w -= lr (g' + m v if nesterov, else v).
// Each tensor is a segment of whole 64-float blocks; a segment has its own weight decay and learning rate. Padding stays 0.
// lib: grid segments

override WG: u32 = 64;

struct Uniforms { n: u32, lr: f32, weight_decay: f32, momentum: f32, nesterov: u32 }     // n: vec4s in the flat buffer
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> g: array<vec4f>;
@group(0) @binding(4) var<storage, read> block_segment: array<u32>;     // (n / 16)
@group(0) @binding(5) var<storage, read> groups: array<vec4f>;          // (segments): decay, lr scale, fixed lr, adapt
@group(0) @binding(6) var<storage, read> guard: vec4f;                  // see loss_scale.wgsl; z != 0: the step is skipped

struct Plain { n: u32, lr: f32, weight_decay: f32 }
@group(0) @binding(0) var<uniform> q: Plain;
@group(0) @binding(2) var<storage, read> plain_g: array<vec4f>;
@group(0) @binding(3) var<storage, read> plain_block_segment: array<u32>;
@group(0) @binding(4) var<storage, read> plain_groups: array<vec4f>;
@group(0) @binding(5) var<storage, read> plain_guard: vec4f;

// One invocation: four neighbouring weights and their momentum.
@compute @workgroup_size(WG)
fn sgd_momentum(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n || guard.z != 0.0 { return; }
    let group = groups[block_segment[block_of(i)]];
    let grad = g[i] + group_decay(group, p.weight_decay) * w[i];
    let velocity = p.momentum * v[i] + grad;
    v[i] = velocity;
    w[i] -= group_lr(group, p.lr) * select(velocity, grad + p.momentum * velocity, p.nesterov != 0u);
}

// The same with m = 0: no momentum buffer to read or write.
@compute @workgroup_size(WG)
fn sgd(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= q.n || plain_guard.z != 0.0 { return; }
    let group = plain_groups[plain_block_segment[block_of(i)]];
    w[i] -= group_lr(group, q.lr) * (plain_g[i] + group_decay(group, q.weight_decay) * w[i]);
}
