// A NaN is told by its bits: WGSL may assume that no value is one, and its built-ins need not pass one on. Some drivers' exp makes
// it infinite or 0, their log a number, and their max drops it.

// f, or v where v is NaN.
fn keep_nan(v: vec4f, f: vec4f) -> vec4f {
    return select(f, v, (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u));
}

fn keep_nan_1(v: f32, f: f32) -> f32 {
    return select(f, v, (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u);
}
