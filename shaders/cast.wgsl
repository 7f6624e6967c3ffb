// Between f32 and u32. To u32 truncates towards zero and saturates; to f32 rounds to nearest.
// lib: grid elem

override WG: u32 = 64;

struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@group(0) @binding(1) var<storage, read_write> integers_out: array<u32>;
@group(0) @binding(2) var<storage, read> reals_in: array<Elem>;

@group(0) @binding(1) var<storage, read_write> reals_out: array<Elem>;
@group(0) @binding(2) var<storage, read> integers_in: array<u32>;

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

// One invocation converts one element.
@compute @workgroup_size(WG)
fn to_u32(at: At) {
    let i = item_index(at.wid, at.nwg, at.lid, WG);
    if i < p.n { integers_out[i] = u32(clamp(f32(reals_in[i]), 0.0, 4294967040.0)); }
}

@compute @workgroup_size(WG)
fn to_f32(at: At) {
    let i = item_index(at.wid, at.nwg, at.lid, WG);
    if i < p.n { reals_out[i] = Elem(f32(integers_in[i])); }
}
