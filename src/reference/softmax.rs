//! Softmax over the last axis at temperature `tau`, and its logarithm.

/// `y = e^(x / tau) / sum e^(x / tau)` for each row of `x [rows, c]`.
pub fn softmax(x: &[f64], c: usize, tau: f64) -> Vec<f64> {
    log_softmax(x, c, tau).into_iter().map(f64::exp).collect()
}

/// `dx = y (dy - sum y dy) / tau`.
pub fn softmax_backward(x: &[f64], c: usize, tau: f64, dy: &[f64]) -> Vec<f64> {
    let y = softmax(x, c, tau);
    let mut dx = vec![];
    for (y, dy) in y.chunks_exact(c).zip(dy.chunks_exact(c)) {
        let dot = y.iter().zip(dy).map(|(y, d)| y * d).sum::<f64>();
        dx.extend(y.iter().zip(dy).map(|(y, d)| y * (d - dot) / tau));
    }
    dx
}

/// `y = x / tau - ln sum e^(x / tau)`, with the maximum taken out.
pub fn log_softmax(x: &[f64], c: usize, tau: f64) -> Vec<f64> {
    let mut y = vec![];
    for row in x.chunks_exact(c) {
        let lse = log_sum_exp(row, tau);
        y.extend(row.iter().map(|v| v / tau - lse));
    }
    y
}

/// `dx = (dy - e^y sum dy) / tau`.
pub fn log_softmax_backward(x: &[f64], c: usize, tau: f64, dy: &[f64]) -> Vec<f64> {
    let y = softmax(x, c, tau);
    let mut dx = vec![];
    for (y, dy) in y.chunks_exact(c).zip(dy.chunks_exact(c)) {
        let sum = dy.iter().sum::<f64>();
        dx.extend(y.iter().zip(dy).map(|(y, d)| (d - y * sum) / tau));
    }
    dx
}

/// `ln sum e^(x / tau)` of a row.
pub fn log_sum_exp(row: &[f64], tau: f64) -> f64 {
    let peak = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    peak / tau + row.iter().map(|v| ((v - peak) / tau).exp()).sum::<f64>().ln()
}
