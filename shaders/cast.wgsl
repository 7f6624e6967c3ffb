// Between element types. To u32 truncates towards zero and saturates; to a float rounds to nearest.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms { n: u32 } // groups of four
@group(0) @binding(0) var<uniform> p: Uniforms;

@group(0) @binding(1) var<storage, read_write> integers_out: array<vec4u>;
@group(0) @binding(2) var<storage, read> reals_in: array<Elem4>;

@group(0) @binding(1) var<storage, read_write> reals_out: array<Elem4>;
@group(0) @binding(2) var<storage, read> integers_in: array<vec4u>;

@group(0) @binding(1) var<storage, read_write> singles_out: array<vec4f>;
@group(0) @binding(2) var<storage, read> singles_in: array<vec4f>;

// One invocation converts four elements.
@compute @workgroup_size(WG)
fn to_u32(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { integers_out[i] = vec4u(clamp(vec4f(reals_in[i]), vec4f(), vec4f(4294967040.0))); }
}

@compute @workgroup_size(WG)
fn to_float(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { reals_out[i] = Elem4(vec4f(integers_in[i])); }
}

// f32 to f16, and back.
@compute @workgroup_size(WG)
fn narrow(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { reals_out[i] = Elem4(singles_in[i]); }
}

@compute @workgroup_size(WG)
fn widen(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, WG);
    if i < p.n { singles_out[i] = vec4f(reals_in[i]); }
}
