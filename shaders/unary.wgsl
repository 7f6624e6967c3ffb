// y = f(x) and dx = f'(x) dy, element by element, four elements an invocation. The last four may pass the end of a
// tensor; its buffer is padded. A backward kernel reads `saved`: the output where f' is cheapest
// from y (exp, sqrt, relu, sigmoid, tanh), else the input. NaN passes through every function.
// lib: grid elem special nan

override WG: u32 = 64;

// n: groups of four. affine: a x + b. recip: a / x. clamp: to [a, b]. powf: exponent a, kind b.
struct Uniforms { n: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Elem4>;
@group(0) @binding(2) var<storage, read> x: array<Elem4>;

// Backward. That of affine is affine: dx = a dy + 0.
@group(0) @binding(1) var<storage, read_write> dx: array<Elem4>;
@group(0) @binding(2) var<storage, read> saved: array<Elem4>;
@group(0) @binding(3) var<storage, read> dy: array<Elem4>;

fn index(at: At, lid: u32) -> u32 { return item_index(at, lid, WG); }

const SQRT_HALF: f32 = 0.70710678;
const INV_SQRT_2PI: f32 = 0.39894228;

// Distribution function of the standard normal, with no cancellation in the lower tail.
fn normal_cdf(v: vec4f) -> vec4f {
    let z = -SQRT_HALF * v;
    return 0.5 * vec4f(erfc(z.x), erfc(z.y), erfc(z.z), erfc(z.w));
}

// v^e with the sign rule for integer e: WGSL's pow is undefined for v < 0. kind: 0 e is even, 1 odd, 2 no integer.
fn power(v: vec4f, e: f32, kind: f32) -> vec4f {
    if e == 0.0 { return vec4f(1.0); }
    // Some drivers' pow is only near 0 at 0.
    let at_zero = select(1.0 / abs(v), abs(v), vec4<bool>(e > 0.0));
    let magnitude = keep_nan(v, select(pow(abs(v), vec4f(e)), at_zero, v == vec4f()));
    if kind == 0.0 { return magnitude; }
    if kind == 1.0 { return select(magnitude, -magnitude, v < vec4f()); }
    return select(magnitude, sqrt(v), v < vec4f()); // sqrt of a negative: NaN
}

// Each invocation of each entry point handles four elements.
@compute @workgroup_size(WG)
fn affine_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { y[i] = Elem4(p.a * vec4f(x[i]) + vec4f(p.b)); }
}

@compute @workgroup_size(WG)
fn exp_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(x[i]); y[i] = Elem4(keep_nan(v, exp(v))); }
}

@compute @workgroup_size(WG)
fn exp_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { dx[i] = Elem4(vec4f(saved[i]) * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn ln_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(x[i]); y[i] = Elem4(keep_nan(v, log(v))); }
}

@compute @workgroup_size(WG)
fn ln_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { dx[i] = Elem4(vec4f(dy[i]) / vec4f(saved[i])); }
}

@compute @workgroup_size(WG)
fn sqrt_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { y[i] = Elem4(sqrt(vec4f(x[i]))); }
}

@compute @workgroup_size(WG)
fn sqrt_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { dx[i] = Elem4(0.5 * vec4f(dy[i]) / vec4f(saved[i])); }
}

@compute @workgroup_size(WG)
fn square_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(x[i]); y[i] = Elem4(v * v); }
}

@compute @workgroup_size(WG)
fn square_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { dx[i] = Elem4(2.0 * vec4f(saved[i]) * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn recip_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { y[i] = Elem4(vec4f(p.a) / vec4f(x[i])); }
}

@compute @workgroup_size(WG)
fn recip_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(saved[i]); dx[i] = Elem4(-(vec4f(p.a) / v) / v * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn powf_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { y[i] = Elem4(power(vec4f(x[i]), p.a, p.b)); }
}

@compute @workgroup_size(WG)
fn powf_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    let kind = select(1.0 - p.b, p.b, p.b == 2.0); // e - 1 is odd where e is even
    if i < p.n { dx[i] = Elem4(p.a * power(vec4f(saved[i]), p.a - 1.0, kind) * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn abs_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { y[i] = Elem4(abs(vec4f(x[i]))); }
}

@compute @workgroup_size(WG)
fn abs_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(saved[i]); dx[i] = Elem4(keep_nan(v, sign(v)) * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn clamp_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let v = vec4f(x[i]);
    let lo = vec4f(p.a);
    let hi = vec4f(p.b);
    y[i] = Elem4(select(select(v, lo, v < lo), hi, v > hi));
}

@compute @workgroup_size(WG)
fn clamp_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let v = vec4f(saved[i]);
    let lo = vec4f(p.a);
    let hi = vec4f(p.b);
    dx[i] = Elem4(select(vec4f(dy[i]), vec4f(), (v < lo) | (v > hi)));
}

@compute @workgroup_size(WG)
fn relu_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let v = vec4f(x[i]);
    y[i] = Elem4(select(v, vec4f(), v <= vec4f()));
}

@compute @workgroup_size(WG)
fn relu_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    dx[i] = Elem4(select(vec4f(dy[i]), vec4f(), vec4f(saved[i]) <= vec4f()));
}

@compute @workgroup_size(WG)
fn gelu_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(x[i]); y[i] = Elem4(v * normal_cdf(v)); }
}

@compute @workgroup_size(WG)
fn gelu_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let v = vec4f(saved[i]);
    dx[i] = Elem4((normal_cdf(v) + v * INV_SQRT_2PI * exp(-0.5 * v * v)) * vec4f(dy[i]));
}

@compute @workgroup_size(WG)
fn sigmoid_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(x[i]); y[i] = Elem4(keep_nan(v, vec4f(1.0) / (1.0 + exp(-vec4f(x[i]))))); }
}

@compute @workgroup_size(WG)
fn sigmoid_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(saved[i]); dx[i] = Elem4(v * (1.0 - v) * vec4f(dy[i])); }
}

@compute @workgroup_size(WG)
fn tanh_forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i >= p.n { return; }
    let v = vec4f(x[i]);
    y[i] = Elem4(vec4f(tanh_accurate(v.x), tanh_accurate(v.y), tanh_accurate(v.z), tanh_accurate(v.w)));
}

@compute @workgroup_size(WG)
fn tanh_backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = index(at, lid);
    if i < p.n { let v = vec4f(saved[i]); dx[i] = Elem4((1.0 - v * v) * vec4f(dy[i])); }
}
