//! Layer normalisation over the last axis with an affine map (Ba, Kiros, Hinton 2016, arXiv:1607.06450).

/// `y = gamma xhat + beta`, `xhat = (x - mean) / sqrt(var + eps)`; mean and biased variance of each row of `x [rows, c]`.
pub fn forward(x: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let c = gamma.len();
    let mut y = vec![];
    for row in x.chunks_exact(c) {
        let (mean, inv_std) = moments(row, eps);
        y.extend((0..c).map(|j| gamma[j] * (row[j] - mean) * inv_std + beta[j]));
    }
    y
}

/// `(dx, dgamma, dbeta)`: with `g = gamma dy`, `dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)`, means over the
/// row; `dgamma = sum dy xhat` and `dbeta = sum dy` over the rows.
pub fn backward(x: &[f64], gamma: &[f64], eps: f64, dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let c = gamma.len();
    let (mut dx, mut dgamma, mut dbeta) = (vec![], vec![0.; c], vec![0.; c]);
    for (row, d) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
        let (mean, inv_std) = moments(row, eps);
        let (mut g_mean, mut gx_mean) = (0., 0.);
        for j in 0..c {
            let xhat = (row[j] - mean) * inv_std;
            g_mean += gamma[j] * d[j] / c as f64;
            gx_mean += gamma[j] * d[j] * xhat / c as f64;
            dgamma[j] += d[j] * xhat;
            dbeta[j] += d[j];
        }
        dx.extend((0..c).map(|j| inv_std * (gamma[j] * d[j] - g_mean - (row[j] - mean) * inv_std * gx_mean)));
    }
    (dx, dgamma, dbeta)
}

/// Mean of a row and `1 / sqrt(var + eps)`.
fn moments(row: &[f64], eps: f64) -> (f64, f64) {
    let c = row.len() as f64;
    let mean = row.iter().sum::<f64>() / c;
    let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / c;
    (mean, 1. / (var + eps).sqrt())
}
