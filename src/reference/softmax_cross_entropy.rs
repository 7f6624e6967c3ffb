//! Cross-entropy of `softmax(x / tau)` against one label a row.

use super::softmax::{log_sum_exp, softmax};

/// `ln sum e^(x / tau) - x[label] / tau` for each row of `x [rows, c]`; NaN where `label >= c`.
pub fn losses(x: &[f64], c: usize, labels: &[u32], tau: f64) -> Vec<f64> {
    let loss = |(row, &label): (&[f64], &u32)| {
        row.get(label as usize).map_or(f64::NAN, |v| log_sum_exp(row, tau) - v / tau)
    };
    x.chunks_exact(c).zip(labels).map(loss).collect()
}

/// The mean of [`losses`].
pub fn forward(x: &[f64], c: usize, labels: &[u32], tau: f64) -> f64 {
    losses(x, c, labels, tau).iter().sum::<f64>() / labels.len() as f64
}

/// `dx = (softmax(x / tau) - onehot(label)) dloss / (rows tau)`; NaN in a row whose `label >= c`.
pub fn backward(x: &[f64], c: usize, labels: &[u32], tau: f64, dloss: f64) -> Vec<f64> {
    let mut dx = softmax(x, c, tau);
    for (row, &label) in dx.chunks_exact_mut(c).zip(labels) {
        match row.get_mut(label as usize) {
            Some(v) => *v -= 1.,
            None => row.fill(f64::NAN),
        }
    }
    dx.iter().map(|v| v * dloss / (labels.len() as f64 * tau)).collect()
}
