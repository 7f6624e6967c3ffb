// Augmented views: bytes NHWC in, normalised floats NHWC out. src/reference/augment.rs says what a view is.
//
// crop, flip, jitter in random order, grey, [blur], solarise, normalise. Contrast needs the mean grey value of what comes
// before it, so one workgroup makes one view of one image: it takes each pixel as far as contrast, adds up the grey
// values, and then takes it the rest of the way. With a blur in the recipe, `augment` stops before it and `blur` is a
// second launch. All invocations of a workgroup make their view's draws at the same time, so none has to be shared.
// lib: grid elem philox view

override WG: u32 = 64;           // a power of two
override CHANNELS: u32 = 3;      // 1 or 3

const MAX_RADIUS: u32 = 15;
const RATIOS: u32 = 1024;        // aspects that a crop can have
const BRIGHTNESS: u32 = 0;       // digits of View.order
const CONTRAST: u32 = 1;
const SATURATION: u32 = 2;
const HUE: u32 = 3;
const NO_JITTER: u32 = 0x4444;

struct Uniforms {
    images: u32, views: u32, first_view: u32, height: u32, width: u32, out_height: u32, out_width: u32,
    seed: u32, stream: u32, time: u32,
    // Crop: the fields of CropPlan.
    tries: u32, scale_low: u32, scale_count: u32, area: f32, ratio_low: f32, inverse_high: f32, ratio_step: f32,
    center_top: u32, center_left: u32, center_height: u32, center_width: u32,
    // Probabilities in units of 2^-24.
    flip: u32, jitter: u32, grayscale: u32, blur: u32, solarize: u32,
    brightness_low: f32, brightness_span: f32, contrast_low: f32, contrast_span: f32,
    saturation_low: f32, saturation_span: f32, hue_low: f32, hue_span: f32,
    radius: u32, sigma_low: f32, sigma_span: f32, threshold: f32,
    mean_0: f32, mean_1: f32, mean_2: f32, inverse_std_0: f32, inverse_std_1: f32, inverse_std_2: f32,
}
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;      // (views * images, out_height, out_width, CHANNELS)
@group(0) @binding(2) var<storage, read> bytes: array<u32>;         // (images, height, width, CHANNELS), four a word
@group(0) @binding(2) var<storage, read> sharp: array<Elem>;        // `blur` only: as y, not yet blurred
@group(0) @binding(3) var<storage, read> indices: array<u32>;       // (images): where each stands in its data set

var<workgroup> partial: array<f32, WG>;

struct View {
    image: u32,
    top: u32, left: u32, height: u32, width: u32,
    flipped: bool, grey: bool, solarized: bool,
    order: u32,         // one jitter operation a hexadecimal digit, the first one lowest
    factors: vec4f,     // indexed by the operation
    sigma: f32,         // 0: not blurred
}

fn draw(row: u32) -> View {
    var v: View;
    v.image = row % p.images;
    let view = p.first_view + row / p.images;
    let index = indices[v.image];
    let key = vec2u(p.seed, p.stream);
    v.top = p.center_top;
    v.left = p.center_left;
    v.height = p.center_height;
    v.width = p.center_width;
    for (var attempt = 0u; attempt < p.tries; attempt++) {
        let bits = philox(vec4u(p.time, index, view, 3u + attempt), key);
        let area = f32(p.scale_low + below(bits.x, p.scale_count)) * p.area;
        let j = below(bits.y, RATIOS);
        let width = rounded_root(area * (p.ratio_low * power(p.ratio_step, j)));
        let height = rounded_root(area * (p.inverse_high * power(p.ratio_step, RATIOS - 1u - j)));
        if width > 0u && width <= p.width && height > 0u && height <= p.height {
            v.top = below(bits.z, p.height - height + 1u);
            v.left = below(bits.w, p.width - width + 1u);
            v.height = height;
            v.width = width;
            break;
        }
    }
    let choice = philox(vec4u(p.time, index, view, 0u), key);
    v.flipped = happens(choice.x, p.flip);
    v.order = select(NO_JITTER, jitter_order(choice.z), happens(choice.y, p.jitter));
    v.grey = happens(choice.w, p.grayscale);
    let factors = philox(vec4u(p.time, index, view, 1u), key);
    v.factors = vec4f(
        p.brightness_low + p.brightness_span * unit_f32(factors.x),
        p.contrast_low + p.contrast_span * unit_f32(factors.y),
        p.saturation_low + p.saturation_span * unit_f32(factors.z),
        p.hue_low + p.hue_span * unit_f32(factors.w),
    );
    let late = philox(vec4u(p.time, index, view, 2u), key);
    v.sigma = select(0.0, p.sigma_low + p.sigma_span * unit_f32(late.y), happens(late.x, p.blur));
    v.solarized = happens(late.z, p.solarize);
    return v;
}

fn byte(at: u32) -> f32 {
    return f32((bytes[at / 4u] >> (8u * (at % 4u))) & 0xffu);
}

// With one channel the second and third component are 0 and never used.
fn texel(v: View, row: u32, column: u32) -> vec3f {
    let at = ((v.image * p.height + v.top + row) * p.width + v.left + column) * CHANNELS;
    if CHANNELS == 1u { return vec3f(byte(at), 0.0, 0.0); }
    return vec3f(byte(at), byte(at + 1u), byte(at + 2u));
}

// Pixel i of the box, resized and flipped, in [0, 1].
fn resample(v: View, i: u32) -> vec3f {
    let row = i / p.out_width;
    let column = i % p.out_width;
    let out = vec2f(f32(row), f32(select(column, p.out_width - 1u - column, v.flipped)));
    let box = vec2u(v.height, v.width);
    let at = max((out + 0.5) * vec2f(box) / vec2f(f32(p.out_height), f32(p.out_width)) - 0.5, vec2f(0.0));
    let a = vec2u(at);
    let b = min(a + 1u, box - 1u);
    let weight = at - vec2f(a);
    let upper = mix(texel(v, a.x, a.y), texel(v, a.x, b.y), weight.y);
    let lower = mix(texel(v, b.x, a.y), texel(v, b.x, b.y), weight.y);
    return mix(upper, lower, weight.x) / 255.0;
}

fn grey(c: vec3f) -> f32 {
    if CHANNELS == 1u { return c.x; }
    return dot(c, vec3f(0.2989, 0.587, 0.114));
}

// Jitter operations `first` to `last` - 1 of the order; contrast is not among them.
fn jitter(v: View, pixel: vec3f, first: u32, last: u32) -> vec3f {
    var c = pixel;
    for (var k = first; k < last; k++) {
        let op = (v.order >> (4u * k)) & 0xfu;
        if op == BRIGHTNESS {
            c = saturate(v.factors.x * c);
        } else if CHANNELS == 3u && op == SATURATION {
            c = saturate(mix(vec3f(grey(c)), c, v.factors.z));
        } else if CHANNELS == 3u && op == HUE {
            c = turn_hue(c, v.factors.w);
        }
    }
    return c;
}

fn solarize_normalize(v: View, c: vec3f) -> vec3f {
    let inverted = select(c, 1.0 - c, c >= vec3f(p.threshold));
    let mean = vec3f(p.mean_0, p.mean_1, p.mean_2);
    return (select(c, inverted, v.solarized) - mean) * vec3f(p.inverse_std_0, p.inverse_std_1, p.inverse_std_2);
}

// What follows the jitter.
fn finish(v: View, pixel: vec3f) -> vec3f {
    var c = pixel;
    if CHANNELS == 3u && v.grey { c = vec3f(grey(c)); }
    if p.blur == 0u { c = solarize_normalize(v, c); }
    return c;
}

fn store(at: u32, c: vec3f) {
    y[at] = Elem(c.x);
    if CHANNELS == 3u {
        y[at + 1u] = Elem(c.y);
        y[at + 2u] = Elem(c.z);
    }
}

fn load(at: u32) -> vec3f {
    if CHANNELS == 1u { return vec3f(f32(y[at]), 0.0, 0.0); }
    return vec3f(f32(y[at]), f32(y[at + 1u]), f32(y[at + 2u]));
}

// One workgroup makes one view of one image; an invocation makes every WG-th pixel.
@compute @workgroup_size(WG)
fn augment(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = group_index(at);
    if row >= p.images * p.views { return; }
    let v = draw(row);
    var contrast = 0u;
    while contrast < 4u && ((v.order >> (4u * contrast)) & 0xfu) != CONTRAST { contrast++; }

    let pixels = p.out_height * p.out_width;
    var sum = 0.0;
    for (var i = lid; i < pixels; i += WG) {
        var c = jitter(v, resample(v, i), 0u, contrast);
        sum += grey(c);
        if contrast == 4u { c = finish(v, c); }
        store((row * pixels + i) * CHANNELS, c);
    }
    partial[lid] = sum;
    workgroupBarrier();
    for (var half = WG / 2u; half > 0u; half /= 2u) {
        if lid < half { partial[lid] += partial[lid + half]; }
        workgroupBarrier();
    }
    if contrast == 4u { return; }
    let mean = partial[0] / f32(pixels);
    for (var i = lid; i < pixels; i += WG) {
        let e = (row * pixels + i) * CHANNELS;
        let c = saturate(mix(vec3f(mean), load(e), v.factors.y));
        store(e, finish(v, jitter(v, c, contrast + 1u, 4u)));
    }
}

// The rest of a view that a blur may stand in: as `augment`, all taps read directly.
@compute @workgroup_size(WG)
fn blur(at: At, @builtin(local_invocation_index) lid: u32) {
    let row = group_index(at);
    if row >= p.images * p.views { return; }
    let v = draw(row);
    let radius = i32(select(p.radius, 0u, v.sigma == 0.0));
    var weights: array<f32, MAX_RADIUS + 1u>;
    weights[0] = 1.0;
    var total = 1.0;
    for (var d = 1; d <= radius; d++) {
        let t = f32(d) / v.sigma;
        weights[d] = exp(-0.5 * t * t);
        total += 2.0 * weights[d];
    }
    let pixels = p.out_height * p.out_width;
    for (var i = lid; i < pixels; i += WG) {
        let center = vec2i(i32(i / p.out_width), i32(i % p.out_width));
        var sum = vec3f(0.0);
        for (var dy = -radius; dy <= radius; dy++) {
            let line = (row * p.out_height + reflect_index(center.x + dy, p.out_height)) * p.out_width;
            for (var dx = -radius; dx <= radius; dx++) {
                let e = (line + reflect_index(center.y + dx, p.out_width)) * CHANNELS;
                let weight = weights[abs(dy)] * weights[abs(dx)];
                if CHANNELS == 1u {
                    sum.x += weight * f32(sharp[e]);
                } else {
                    sum += weight * vec3f(f32(sharp[e]), f32(sharp[e + 1u]), f32(sharp[e + 2u]));
                }
            }
        }
        store((row * pixels + i) * CHANNELS, solarize_normalize(v, sum / (total * total)));
    }
}
