// Which taps of a convolution a pixel has something under, as bits: it takes one comparison to ask for a tap, and 2 registers to
// remember 4 pixels, whose rows and columns are 8.

// Taps [low, high) of the first n.
fn taps_in(low: vec4i, high: vec4i, n: u32) -> vec4u {
    let first = clamp(low, vec4i(), vec4i(i32(n)));
    let end = clamp(high, first, vec4i(i32(n)));
    return (vec4u(1u) << vec4u(end)) - (vec4u(1u) << vec4u(first));
}

// 4 pixels, 16 bits each: taps along y in the first kh bits, those along x after them. kh + kw <= 15.
fn packed_taps(along_y: vec4u, along_x: vec4u, kh: u32) -> vec2u {
    let taps = along_y | (along_x << vec4u(kh));
    return taps.xz | (taps.yw << vec2u(16u));
}

// What a pixel has if there is something under tap (y, x); if not `any`, what none has.
fn tap_bits(y: u32, x: u32, kh: u32, any: bool) -> u32 { return select(0xffffu, (1u << y) | (1u << (kh + x)), any); }

// Whether pixel r of the 4 has that.
fn has_tap(taps: vec2u, r: u32, tap: u32) -> bool {
    let bits = tap << (16u * (r % 2u));
    return (taps[r / 2u] & bits) == bits;
}
