// Writes one value to every element. `value` is the bit pattern, so f32 and u32 tensors share the kernel.
// lib: grid

override WG: u32 = 64;

struct Uniforms { n: u32, value: u32 } // n: groups of four
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<vec4u>;

// One invocation writes four elements.
@compute @workgroup_size(WG)
fn fill(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i >= p.n { return; }
    y[i] = vec4u(p.value);
}
