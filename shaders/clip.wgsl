// Gradient clipping (torch.nn.utils.clip_grad_norm_): g *= min(1, max / (|g| + 1e-6)). The norm never leaves the device. One that
// is NaN makes all of g NaN, as there.
// lib: grid segments nan

override WG: u32 = 64;

struct Uniforms { n: u32, max_norm: f32 }                                 // n: vec4s in the flat buffer
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> g: array<vec4f>;
@group(0) @binding(2) var<storage, read> norms: array<vec2f>;           // (segments) or (1): unused, |g|
@group(0) @binding(3) var<storage, read> block_segment: array<u32>;     // (n / 16)

fn clip_scale(norm: f32) -> f32 { return keep_nan_1(norm, min(1.0, p.max_norm / (norm + 1e-6))); }

// One invocation: four neighbouring gradients, scaled by the norm of the whole model.
@compute @workgroup_size(WG)
fn clip_global(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { g[i] *= clip_scale(norms[0].y); }
}

// The same, scaled by the norm of their own tensor.
@compute @workgroup_size(WG)
fn clip_per_tensor(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { g[i] *= clip_scale(norms[block_segment[block_of(i)]].y); }
}
