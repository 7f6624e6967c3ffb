// Philox4x32-10: four random words for a 128-bit counter and a 64-bit key (Salmon et al., SC 2011).
// The same bits as src/rng.rs, which says who owns which counter.

// Upper word of the 64-bit product a b, from 16-bit halves: WGSL has no 64-bit integers.
fn mul_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let mid = a1 * b0 + ((a0 * b0) >> 16u);      // at most 2^32 - 1: no carry is lost
    let mid2 = a0 * b1 + (mid & 0xffffu);
    return a1 * b1 + (mid >> 16u) + (mid2 >> 16u);
}

fn philox(counter: vec4u, key: vec2u) -> vec4u {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let high0 = mul_high(0xd2511f53u, c.x);
        let high1 = mul_high(0xcd9e8d57u, c.z);
        c = vec4u(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
        k += vec2u(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// The upper 24 bits of a word as a number in [0, 1).
fn unit_f32(bits: u32) -> f32 {
    return f32(bits >> 8u) * 5.9604644775390625e-8;      // 2^-24
}

// A word as an integer in 0..n.
fn below(bits: u32, n: u32) -> u32 {
    return mul_high(bits, n);
}
