//! Softsign.

/// `x / (1 + |x|)`.
#[must_use]
pub fn softsign(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| x / (1.0 + x.abs())).collect()
}

/// `dy / (1 + |x|)^2`.
#[must_use]
pub fn softsign_backward(x: &[f64], dy: &[f64]) -> Vec<f64> {
    x.iter().zip(dy).map(|(&x, &dy)| dy / (1.0 + x.abs()).powi(2)).collect()
}
