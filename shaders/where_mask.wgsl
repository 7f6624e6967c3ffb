// y = a where mask is not 0, else b. The gradient of a is dy where the mask is set, of b where it is not.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32, of_a: u32 } // n: groups of four. of_a: 1 for the gradient of a, 0 for that of b
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> y: array<Elem4>;
@group(0) @binding(2) var<storage, read> mask: array<vec4u>;
@group(0) @binding(3) var<storage, read> a: array<Elem4>;
@group(0) @binding(4) var<storage, read> b: array<Elem4>;

@group(0) @binding(1) var<storage, read_write> dx: array<Elem4>;
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;

// One invocation chooses four elements.
@compute @workgroup_size(WG)
fn where_mask(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { y[i] = select(b[i], a[i], mask[i] != vec4u()); }
}

@compute @workgroup_size(WG)
fn where_mask_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { dx[i] = select(Elem4(), dy[i], (mask[i] != vec4u()) == vec4<bool>(p.of_a == 1u)); }
}
