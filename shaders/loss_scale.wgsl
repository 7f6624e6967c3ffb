// Dynamic loss scaling (Micikevicius et al. 2018): the loss is multiplied by a scale, so that small gradients survive in
// f16; the gradient is divided by it again, and a step whose gradient is not finite is skipped. Nothing leaves the device.
//
//   not finite: scale / 2, and the step is skipped;   INTERVAL finite steps in a row: scale * 2
// lib: grid

override WG: u32 = 64;
override INTERVAL: f32 = 2000.0;

struct Uniforms { n: u32 }                                                // vec4s in the flat buffer
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> g: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> found: atomic<u32>;      // 1 where a gradient is not finite
@group(0) @binding(3) var<storage, read> guard: vec4f;                  // scale, finite steps in a row, skip, steps skipped

@group(0) @binding(1) var<storage, read_write> new_guard: vec4f;
@group(0) @binding(2) var<storage, read_write> found_in_all: u32;

// One invocation: four neighbouring gradients. The scale is a power of two, so dividing by it rounds nothing.
@compute @workgroup_size(WG)
fn unscale(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    let v = g[i] / guard.x;
    // By its bits: a compiler may assume that no value is infinite or NaN.
    if any((bitcast<vec4u>(v) & vec4u(0x7f800000u)) == vec4u(0x7f800000u)) { atomicStore(&found, 1u); }
    g[i] = v;
}

// One invocation in all: what the step found decides whether it is made, and the scale of the next.
@compute @workgroup_size(1)
fn update_scale() {
    var next = vec4f(new_guard.x, new_guard.y + 1.0, 0.0, new_guard.w);
    if found_in_all != 0u {
        next = vec4f(max(0.5 * new_guard.x, 1.1754944e-38), 0.0, 1.0, new_guard.w + 1.0);
    } else if next.y >= INTERVAL {
        next = vec4f(min(2.0 * new_guard.x, 1.7014118e38), 0.0, 0.0, new_guard.w);
    }
    new_guard = next;
    found_in_all = 0u;
}
