//! Functions of one variable and their gradients `f'(x) dy`, element by element.

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

fn map(x: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    x.iter().map(|&x| f(x)).collect()
}

fn chain(x: &[f64], dy: &[f64], derivative: impl Fn(f64) -> f64) -> Vec<f64> {
    x.iter().zip(dy).map(|(&x, &dy)| derivative(x) * dy).collect()
}

/// `scale * x + shift`.
#[must_use]
pub fn affine(x: &[f64], scale: f64, shift: f64) -> Vec<f64> {
    map(x, |x| scale * x + shift)
}

/// `scale * dy`.
#[must_use]
pub fn affine_backward(x: &[f64], scale: f64, dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |_| scale)
}

/// `value / x`.
#[must_use]
pub fn scalar_div(x: &[f64], value: f64) -> Vec<f64> {
    map(x, |x| value / x)
}

/// `-value / x^2 dy`.
#[must_use]
pub fn scalar_div_backward(x: &[f64], value: f64, dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| -value / (x * x))
}

/// `e^x`.
#[must_use]
pub fn exp(x: &[f64]) -> Vec<f64> {
    map(x, f64::exp)
}

/// `e^x dy`.
#[must_use]
pub fn exp_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, f64::exp)
}

/// The natural logarithm.
#[must_use]
pub fn ln(x: &[f64]) -> Vec<f64> {
    map(x, f64::ln)
}

/// `dy / x`.
#[must_use]
pub fn ln_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, f64::recip)
}

/// The square root.
#[must_use]
pub fn sqrt(x: &[f64]) -> Vec<f64> {
    map(x, f64::sqrt)
}

/// `dy / (2 sqrt(x))`.
#[must_use]
pub fn sqrt_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| 0.5 / x.sqrt())
}

/// `x^2`.
#[must_use]
pub fn square(x: &[f64]) -> Vec<f64> {
    map(x, |x| x * x)
}

/// `2 x dy`.
#[must_use]
pub fn square_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| 2.0 * x)
}

/// `x^exponent`.
#[must_use]
pub fn powf(x: &[f64], exponent: f64) -> Vec<f64> {
    map(x, |x| x.powf(exponent))
}

/// `exponent x^(exponent - 1) dy`.
#[must_use]
pub fn powf_backward(x: &[f64], exponent: f64, dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| exponent * x.powf(exponent - 1.0))
}

/// `|x|`.
#[must_use]
pub fn abs(x: &[f64]) -> Vec<f64> {
    map(x, f64::abs)
}

/// `sign(x) dy`, 0 at 0.
#[must_use]
pub fn abs_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| if x == 0.0 { 0.0 } else { x.signum() })
}

/// `x` limited to `[low, high]`.
#[must_use]
pub fn clamp(x: &[f64], low: f64, high: f64) -> Vec<f64> {
    map(x, |x| x.clamp(low, high))
}

/// `dy` where `low <= x <= high`, else 0.
#[must_use]
pub fn clamp_backward(x: &[f64], low: f64, high: f64, dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| f64::from(u8::from((low..=high).contains(&x))))
}

/// `max(x, 0)`; NaN stays.
#[must_use]
pub fn relu(x: &[f64]) -> Vec<f64> {
    map(x, |x| if x < 0.0 { 0.0 } else { x })
}

/// `dy` where `x > 0`, else 0.
#[must_use]
pub fn relu_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| f64::from(u8::from(x > 0.0)))
}

/// `x Φ(x)`, `Φ` the distribution function of the standard normal (Hendrycks & Gimpel 2016, arXiv:1606.08415).
#[must_use]
pub fn gelu(x: &[f64]) -> Vec<f64> {
    map(x, |x| x * normal_cdf(x))
}

/// `(Φ(x) + x φ(x)) dy`, `φ` the density of the standard normal.
#[must_use]
pub fn gelu_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt())
}

/// `1 / (1 + e^-x)`.
#[must_use]
pub fn sigmoid(x: &[f64]) -> Vec<f64> {
    map(x, logistic)
}

/// `s (1 - s) dy`, `s` the sigmoid of `x`.
#[must_use]
pub fn sigmoid_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| logistic(x) * (1.0 - logistic(x)))
}

/// The hyperbolic tangent.
#[must_use]
pub fn tanh(x: &[f64]) -> Vec<f64> {
    map(x, f64::tanh)
}

/// `(1 - tanh(x)^2) dy`.
#[must_use]
pub fn tanh_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    chain(x, dy, |x| 1.0 - x.tanh().powi(2))
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * (1.0 + erf(x / SQRT_2))
}

/// The error function by its series without cancellation (Abramowitz & Stegun 7.1.6):
/// `erf(z) = 2/sqrt(pi) exp(-z^2) sum_n 2^n z^(2n+1) / (1 3 5 ... (2n+1))`. Past 6 it is 1 in f64.
#[must_use]
pub fn erf(z: f64) -> f64 {
    if z.abs() > 6.0 {
        return z.signum();
    }
    let (mut term, mut sum, mut n) = (z, z, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * z * z / (2.0 * n + 1.0);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-z * z).exp() * sum
}

#[cfg(test)]
mod tests {
    /// Values of Abramowitz & Stegun, table 7.1.
    #[test]
    fn erf_has_the_tabulated_values() {
        for (z, want) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
        ] {
            assert!((super::erf(z) - want).abs() < 1e-10, "erf({z})");
            assert!((super::erf(-z) + want).abs() < 1e-10, "erf(-{z})");
        }
    }
}
