// Choices and arithmetic of an augmented view; src/reference/augment.rs says what they mean.

fn happens(bits: u32, chance: u32) -> bool {
    return (bits >> 8u) < chance;
}

// Products in a fixed order: the same bits everywhere.
fn power(base: f32, exponent: u32) -> f32 {
    var result = 1.0;
    var square = base;
    for (var bit = 0u; bit < 10u; bit++) {
        if ((exponent >> bit) & 1u) == 1u { result *= square; }
        square *= square;
    }
    return result;
}

// The integer nearest to sqrt(x). The root may be inexact: (k + 1/2)^2 decides.
fn rounded_root(x: f32) -> u32 {
    let k = u32(sqrt(x));
    return select(k, k + 1u, x >= f32(k * k + k) + 0.25);
}

// The four jitter operations in one of 24 orders: one a hexadecimal digit, the first one lowest.
fn jitter_order(bits: u32) -> u32 {
    var number = below(bits, 24u);
    var left = 0x3210u;
    var order = 0u;
    for (var k = 0u; k < 4u; k++) {
        let digit = 4u * (number % (4u - k));
        number /= 4u - k;
        order |= ((left >> digit) & 0xfu) << (4u * k);
        let below_digit = (1u << digit) - 1u;
        left = (left & below_digit) | ((left >> 4u) & ~below_digit);
    }
    return order;
}

// Hue by `shift` of the circle. In HSV, channel n = 5, 3, 1 is v - v s clamp(min(k, 4 - k), 0, 1), k = (n + 6 h) mod 6, and
// v s is the chroma.
fn turn_hue(c: vec3f, shift: f32) -> vec3f {
    let high = max(c.x, max(c.y, c.z));
    let chroma = high - min(c.x, min(c.y, c.z));
    if chroma == 0.0 { return c; }
    var sextant = 4.0 + (c.x - c.y) / chroma;
    if c.x == high {
        sextant = (c.y - c.z) / chroma;
    } else if c.y == high {
        sextant = 2.0 + (c.z - c.x) / chroma;
    }
    // At least 1 - 1 - 3 + 6, so that the remainder is that of a positive number.
    let k = (vec3f(5.0, 3.0, 1.0) + 6.0 * shift + sextant + 6.0) % 6.0;
    return high - chroma * clamp(min(k, 4.0 - k), vec3f(0.0), vec3f(1.0));
}

// The edge is reflected without repeating its pixel.
fn reflect_index(i: i32, size: u32) -> u32 {
    let last = i32(size) - 1;
    return u32(last - abs(last - abs(i)));
}
