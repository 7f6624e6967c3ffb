// Tensors of random numbers. random_uniform: y = a + (b - a) u with u in [0, 1). random_normal: y = a + b z with z standard normal.
// Element i comes from word i % 4 of the Philox block with counter (i / 4, draw, 0, 0) and key (seed, stream), so a
// value depends on its place in the tensor and on nothing else. One invocation makes the four elements of one block.
// lib: grid elem philox

override WG: u32 = 64;

const TAU: f32 = 6.283185307179586;

struct Uniforms { n: u32, draw: u32, seed: u32, stream: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;

fn units(block: u32) -> vec4f {
    let bits = philox(vec4u(block, p.draw, 0u, 0u), vec2u(p.seed, p.stream));
    return vec4f(unit_f32(bits.x), unit_f32(bits.y), unit_f32(bits.z), unit_f32(bits.w));
}

fn store(block: u32, values: vec4f) {
    for (var lane = 0u; lane < 4u; lane++) {
        let i = 4u * block + lane;
        if i < p.n { y[i] = Elem(values[lane]); }
    }
}

@compute @workgroup_size(WG)
fn random_uniform(at: At, @builtin(local_invocation_index) lid: u32) {
    let block = item_index(at, lid, WG);
    if block > (p.n - 1u) / 4u { return; }
    store(block, vec4f(p.a) + (p.b - p.a) * units(block));
}

// Box-Muller: words 0 and 1 give a radius and an angle, 2 and 3 the next; each pair makes a cosine and a sine.
// 1 - u is in (0, 1], so the logarithm is finite.
@compute @workgroup_size(WG)
fn random_normal(at: At, @builtin(local_invocation_index) lid: u32) {
    let block = item_index(at, lid, WG);
    if block > (p.n - 1u) / 4u { return; }
    let u = units(block);
    let radius = sqrt(-2.0 * log(1.0 - u.xz));
    let z = vec4f(radius.x * vec2f(cos(TAU * u.y), sin(TAU * u.y)), radius.y * vec2f(cos(TAU * u.w), sin(TAU * u.w)));
    store(block, vec4f(p.a) + p.b * z);
}
