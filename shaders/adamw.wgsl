// AdamW over a model's flat buffer (Loshchilov & Hutter 2019, as torch.optim.AdamW):
// w *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m / c1) / (sqrt(v / c2) + eps), ck = 1 - bk^step.
// Padding stays 0, since 0 / (0 + eps) = 0.
// lib: grid segments

override WG: u32 = 64;

struct Uniforms {
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
    steps: f32,             // steps taken, skipped ones included
    log_beta1: f32,
    log_beta2: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> w: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> g: array<vec4f>;
@group(0) @binding(5) var<storage, read> block_segment: array<u32>;     // (n / 16)
@group(0) @binding(6) var<storage, read> groups: array<vec4f>;          // (segments): decay, lr scale, fixed lr, adapt
@group(0) @binding(7) var<storage, read> guard: vec4f;                  // see loss_scale.wgsl; z != 0: the step is skipped

// 1 - b^steps with x = steps ln b; where the difference would cancel, its series.
fn rest(x: vec2f) -> vec2f {
    let series = -x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * 0.0083333333))));
    return select(1.0 - exp(x), series, x > vec2f(-0.1));
}

// One invocation: four neighbouring weights and their two moments.
@compute @workgroup_size(WG)
fn adamw(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n || guard.z != 0.0 { return; }
    let group = groups[block_segment[block_of(i)]];
    let lr = group_lr(group, p.lr);
    let grad = g[i];
    let mean = p.beta1 * m[i] + p.rest1 * grad;
    let square = p.beta2 * v[i] + p.rest2 * grad * grad;
    m[i] = mean;
    v[i] = square;
    var correct = vec2f(p.correct1, p.correct2);
    if guard.w != 0.0 { correct = 1.0 / rest((p.steps - guard.w) * vec2f(p.log_beta1, p.log_beta2)); }
    let decayed = w[i] * (1.0 - lr * group_decay(group, p.weight_decay));
    w[i] = decayed - lr * correct.x * mean / (sqrt(correct.y * square) + p.eps);
}
