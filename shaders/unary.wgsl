// y = f(x) and dx = f'(x) dy, element by element. A backward kernel reads `saved`: the output where f' is cheapest
// from y (exp, sqrt, relu, sigmoid, tanh), else the input. NaN passes through every function.
// lib: grid elem special

override WG: u32 = 64;

// affine: a x + b. recip: a / x. clamp: to [a, b]. powf: exponent a, kind b.
struct Params { n: u32, a: f32, b: f32 }
@group(0) @binding(0) var<uniform> p: Params;

// Forward.
@group(0) @binding(1) var<storage, read_write> y: array<Elem>;
@group(0) @binding(2) var<storage, read> x: array<Elem>;

// Backward. That of affine is affine: dx = a dy + 0.
@group(0) @binding(1) var<storage, read_write> dx: array<Elem>;
@group(0) @binding(2) var<storage, read> saved: array<Elem>;
@group(0) @binding(3) var<storage, read> dy: array<Elem>;

struct At {
    @builtin(workgroup_id) wid: vec3u,
    @builtin(num_workgroups) nwg: vec3u,
    @builtin(local_invocation_index) lid: u32,
}

fn index(at: At) -> u32 { return item_index(at.wid, at.nwg, at.lid, WG); }

const SQRT_HALF: f32 = 0.70710678;
const INV_SQRT_2PI: f32 = 0.39894228;

// Distribution function of the standard normal, with no cancellation in the lower tail.
fn normal_cdf(v: f32) -> f32 { return 0.5 * erfc(-v * SQRT_HALF); }

// x^e with the sign rule for integer e: WGSL's pow is undefined for x < 0. kind: 0 e is even, 1 odd, 2 no integer.
fn power(v: f32, e: f32, kind: f32) -> f32 {
    if e == 0.0 { return 1.0; }
    let magnitude = pow(abs(v), e);
    if v >= 0.0 || kind == 0.0 { return magnitude; }
    return select(-magnitude, sqrt(v), kind == 2.0); // sqrt of a negative: NaN
}

// Each invocation of each entry point handles one element.
@compute @workgroup_size(WG)
fn affine_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(p.a * f32(x[i]) + p.b); } }

@compute @workgroup_size(WG)
fn exp_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(exp(f32(x[i]))); } }
@compute @workgroup_size(WG)
fn exp_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(f32(saved[i]) * f32(dy[i])); } }

@compute @workgroup_size(WG)
fn ln_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(log(f32(x[i]))); } }
@compute @workgroup_size(WG)
fn ln_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(f32(dy[i]) / f32(saved[i])); } }

@compute @workgroup_size(WG)
fn sqrt_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(sqrt(f32(x[i]))); } }
@compute @workgroup_size(WG)
fn sqrt_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(0.5 * f32(dy[i]) / f32(saved[i])); } }

@compute @workgroup_size(WG)
fn square_forward(at: At) { let i = index(at); if i < p.n { let v = f32(x[i]); y[i] = Elem(v * v); } }
@compute @workgroup_size(WG)
fn square_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(2.0 * f32(saved[i]) * f32(dy[i])); } }

@compute @workgroup_size(WG)
fn recip_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(p.a / f32(x[i])); } }
@compute @workgroup_size(WG)
fn recip_backward(at: At) {
    let i = index(at);
    if i < p.n { let v = f32(saved[i]); dx[i] = Elem(-(p.a / v) / v * f32(dy[i])); }
}

@compute @workgroup_size(WG)
fn powf_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(power(f32(x[i]), p.a, p.b)); } }
@compute @workgroup_size(WG)
fn powf_backward(at: At) {
    let i = index(at);
    // The exponent e - 1 is odd where e is even, and no integer where e is none.
    if i < p.n { dx[i] = Elem(p.a * power(f32(saved[i]), p.a - 1.0, select(1.0 - p.b, p.b, p.b == 2.0)) * f32(dy[i])); }
}

@compute @workgroup_size(WG)
fn abs_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(abs(f32(x[i]))); } }
@compute @workgroup_size(WG)
fn abs_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(sign(f32(saved[i])) * f32(dy[i])); } }

@compute @workgroup_size(WG)
fn clamp_forward(at: At) {
    let i = index(at);
    if i < p.n { let v = f32(x[i]); y[i] = Elem(select(select(v, p.a, v < p.a), p.b, v > p.b)); }
}
@compute @workgroup_size(WG)
fn clamp_backward(at: At) {
    let i = index(at);
    if i < p.n { let v = f32(saved[i]); dx[i] = Elem(select(f32(dy[i]), 0.0, v < p.a || v > p.b)); }
}

@compute @workgroup_size(WG)
fn relu_forward(at: At) { let i = index(at); if i < p.n { let v = f32(x[i]); y[i] = Elem(select(v, 0.0, v <= 0.0)); } }
@compute @workgroup_size(WG)
fn relu_backward(at: At) { let i = index(at); if i < p.n { dx[i] = Elem(select(f32(dy[i]), 0.0, f32(saved[i]) <= 0.0)); } }

@compute @workgroup_size(WG)
fn gelu_forward(at: At) { let i = index(at); if i < p.n { let v = f32(x[i]); y[i] = Elem(v * normal_cdf(v)); } }
@compute @workgroup_size(WG)
fn gelu_backward(at: At) {
    let i = index(at);
    if i >= p.n { return; }
    let v = f32(saved[i]);
    dx[i] = Elem((normal_cdf(v) + v * INV_SQRT_2PI * exp(-0.5 * v * v)) * f32(dy[i]));
}

@compute @workgroup_size(WG)
fn sigmoid_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(1.0 / (1.0 + exp(-f32(x[i])))); } }
@compute @workgroup_size(WG)
fn sigmoid_backward(at: At) {
    let i = index(at);
    if i < p.n { let v = f32(saved[i]); dx[i] = Elem(v * (1.0 - v) * f32(dy[i])); }
}

@compute @workgroup_size(WG)
fn tanh_forward(at: At) { let i = index(at); if i < p.n { y[i] = Elem(tanh_accurate(f32(x[i]))); } }
@compute @workgroup_size(WG)
fn tanh_backward(at: At) {
    let i = index(at);
    if i < p.n { let v = f32(saved[i]); dx[i] = Elem((1.0 - v * v) * f32(dy[i])); }
}
