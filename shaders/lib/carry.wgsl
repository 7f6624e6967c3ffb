// Counting in three digits, as a kernel does that walks the taps (ky, kx, channel) or the pixels (n, y, x) of a sum: no
// division a step.

// `at` plus `by` in its last digit, which runs to `z`; the middle one runs to `y`.
fn carry(at: vec3u, by: u32, y: u32, z: u32) -> vec3u {
    var d = at + vec3u(0u, 0u, by);
    while d.z >= z {
        d.z -= z;
        d.y += 1u;
        if d.y == y { d = vec3u(d.x + 1u, 0u, d.z); }
    }
    return d;
}

// The digits of `i`.
fn digits(i: u32, y: u32, z: u32) -> vec3u { return vec3u(i / z / y, i / z % y, i % z); }

// The sum of two counts, neither past its digits.
fn sum_of(a: vec3u, b: vec3u, y: u32, z: u32) -> vec3u {
    var d = a + b;
    if d.z >= z { d = vec3u(d.x, d.y + 1u, d.z - z); }
    if d.y >= y { d = vec3u(d.x + 1u, d.y - y, d.z); }
    return d;
}
