// Counting in three digits, as a kernel does that walks the taps (ky, kx, channel) or the pixels (n, y, x) of a sum: no
// division a step, and no loop.

// `at` plus `by`, both in digits of which the last runs to `z` and the middle one to `y`. by = (0, 0, 1) may be z itself.
fn carry(at: vec3u, by: vec3u, y: u32, z: u32) -> vec3u {
    var d = at + by;
    if d.z >= z { d = vec3u(d.x, d.y + 1u, d.z - z); }
    if d.y >= y { d = vec3u(d.x + 1u, d.y - y, d.z); }
    return d;
}

// The digits of `i`.
fn digits(i: u32, y: u32, z: u32) -> vec3u { return vec3u(i / z / y, i / z % y, i % z); }
