// Bytes to normalised floats: y = (x / 255 - mean) / std in each channel. The view that evaluation uses.
// lib: grid elem

override WG: u32 = 64;

struct Uniforms {
    n: u32, channels: u32,
    mean_0: f32, mean_1: f32, mean_2: f32, inverse_std_0: f32, inverse_std_1: f32, inverse_std_2: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;      // (n), NHWC
@group(0) @binding(2) var<storage, read> bytes: array<u32>;         // (n), four a word

// One invocation makes the four values of one word.
@compute @workgroup_size(WG)
fn normalize_bytes(at: At, @builtin(local_invocation_index) lid: u32) {
    let word = item_index(at, lid, WG);
    if word > (p.n - 1u) / 4u { return; }
    let mean = vec3f(p.mean_0, p.mean_1, p.mean_2);
    let inverse_std = vec3f(p.inverse_std_0, p.inverse_std_1, p.inverse_std_2);
    let values = unpack4x8unorm(bytes[word]);
    for (var lane = 0u; lane < 4u; lane++) {
        let e = 4u * word + lane;
        let channel = e % p.channels;
        if e < p.n { y[e] = Elem((values[lane] - mean[channel]) * inverse_std[channel]); }
    }
}
