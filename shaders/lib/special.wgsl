// Special functions that WGSL lacks, or has with too little accuracy. The polynomials are Chebyshev fits in f64; each
// names its interval and the largest error seen in f32. A plain `exp` costs up to 1e-6 relative on top.

// 1 - erf(z), to 1e-7 relative for |z| < 1, growing as z^2 (rounding of z^2 in the exponent).
// erfc(z) = t Q(t) exp(-z^2), t = 1 / (1 + z/2), fitted for z in [0, 10].
fn erfc(z: f32) -> f32 {
    let a = min(abs(z), 10.0);
    let t = 1.0 / (1.0 + 0.5 * a);
    var q = -0.059714919;
    q = q * t + 0.28776831;
    q = q * t - 0.493863649;
    q = q * t + 0.28569771;
    q = q * t - 0.0318417574;
    q = q * t + 0.204853655;
    q = q * t + 0.242572893;
    q = q * t + 0.282445042;
    q = q * t + 0.282082674;
    let tail = q * t * exp(-a * a);
    return select(tail, 2.0 - tail, z < 0.0);
}

// (2 / sqrt(pi)) times the integral of exp(-s^2) from 0 to z, to 2e-7 relative: odd polynomial up to 1, then erfc.
fn erf(z: f32) -> f32 {
    let u = z * z;
    if u > 1.0 { return sign(z) * (1.0 - erfc(abs(z))); }
    var q = 7.87587506e-5;
    q = q * u - 0.000801686429;
    q = q * u + 0.00518908742;
    q = q * u - 0.026854212;
    q = q * u + 0.112835947;
    q = q * u - 0.376126267;
    q = q * u + 1.12837917;
    return q * z;
}

// tanh to 1e-6 relative everywhere; the built-in is off by 1e-4 near 0 on some drivers.
fn tanh_accurate(x: f32) -> f32 {
    let u = x * x;
    if u > 0.390625 { // |x| > 0.625; past 16 the result rounds to +-1
        return sign(x) * (1.0 - 2.0 / (exp(2.0 * min(abs(x), 16.0)) + 1.0));
    }
    var q = -0.00604516509;
    q = q * u + 0.0209613291;
    q = q * u - 0.0538432632;
    q = q * u + 0.133327188;
    q = q * u - 0.333333284;
    return x + x * (u * q);
}
