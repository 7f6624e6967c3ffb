//! Batch normalisation over the last axis (Ioffe & Szegedy 2015, arXiv:1502.03167).
//!
//! `y = gamma xhat + beta`, `xhat = (x - mean) / sqrt(var + eps)`, each of the `c` columns of `x [m, c]` on its own.

/// Mean and biased variance of every column of `x [m, c]`.
pub fn moments(x: &[f64], c: usize) -> (Vec<f64>, Vec<f64>) {
    let m = (x.len() / c) as f64;
    let mut mean = vec![0.; c];
    for row in x.chunks_exact(c) {
        for j in 0..c {
            mean[j] += row[j] / m;
        }
    }
    let mut var = vec![0.; c];
    for row in x.chunks_exact(c) {
        for j in 0..c {
            var[j] += (row[j] - mean[j]).powi(2) / m;
        }
    }
    (mean, var)
}

/// `y` for given column statistics: those of [`moments`] in training, the running ones in evaluation.
pub fn forward(x: &[f64], mean: &[f64], var: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let c = mean.len();
    let y =
        |(i, v): (usize, &f64)| (v - mean[i % c]) / (var[i % c] + eps).sqrt() * gamma[i % c] + beta[i % c];
    x.iter().enumerate().map(y).collect()
}

/// `(dx, dgamma, dbeta)` in training, where `mean` and `var` depend on `x`:
/// `dbeta = sum dy`, `dgamma = sum dy xhat`, `dx = gamma (dy - dbeta / m - xhat dgamma / m) / sqrt(var + eps)`.
pub fn backward(x: &[f64], gamma: &[f64], eps: f64, dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let c = gamma.len();
    let m = (x.len() / c) as f64;
    let (mean, var) = moments(x, c);
    let (scaled, dgamma, dbeta) = backward_fixed(x, &mean, &var, gamma, eps, dy);
    let dx = |(i, d): (usize, &f64)| {
        let j = i % c;
        let inv_std = 1. / (var[j] + eps).sqrt();
        d - gamma[j] * inv_std / m * (dbeta[j] + (x[i] - mean[j]) * inv_std * dgamma[j])
    };
    (scaled.iter().enumerate().map(dx).collect(), dgamma, dbeta)
}

/// `(dx, dgamma, dbeta)` in evaluation, where `mean` and `var` are constants: `dx = gamma dy / sqrt(var + eps)`.
pub fn backward_fixed(
    x: &[f64],
    mean: &[f64],
    var: &[f64],
    gamma: &[f64],
    eps: f64,
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let c = gamma.len();
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.; x.len()], vec![0.; c], vec![0.; c]);
    for i in 0..x.len() {
        let j = i % c;
        let inv_std = 1. / (var[j] + eps).sqrt();
        dx[i] = dy[i] * gamma[j] * inv_std;
        dgamma[j] += dy[i] * (x[i] - mean[j]) * inv_std;
        dbeta[j] += dy[i];
    }
    (dx, dgamma, dbeta)
}

/// Running mean and variance after a batch of `m` rows: `old + momentum (new - old)`, with the unbiased variance.
pub fn running(
    old: (&[f64], &[f64]),
    batch: (&[f64], &[f64]),
    m: usize,
    momentum: f64,
) -> (Vec<f64>, Vec<f64>) {
    let unbiased = m as f64 / (m as f64 - 1.);
    let mean = old.0.iter().zip(batch.0).map(|(o, n)| o + momentum * (n - o));
    let var = old.1.iter().zip(batch.1).map(|(o, n)| o + momentum * (n * unbiased - o));
    (mean.collect(), var.collect())
}
