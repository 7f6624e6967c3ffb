//! Covariance of the columns of `x [n, d]`, unbiased: `cov = xcᵀ xc / (n - 1)`, `xc = x - mean`.

/// `cov [d, d]`.
pub fn forward(x: &[f64], d: usize) -> Vec<f64> {
    let n = x.len() / d;
    let xc = centred(x, d);
    let mut cov = vec![0.; d * d];
    for row in xc.chunks_exact(d) {
        for i in 0..d {
            for j in 0..d {
                cov[i * d + j] += row[i] * row[j] / (n as f64 - 1.);
            }
        }
    }
    cov
}

/// `dx = xc (dcov + dcovᵀ) / (n - 1)`. Its columns sum to zero because those of `xc` do, so the mean adds no term.
pub fn backward(x: &[f64], d: usize, dcov: &[f64]) -> Vec<f64> {
    let n = x.len() / d;
    let xc = centred(x, d);
    let mut dx = vec![0.; x.len()];
    for (r, row) in xc.chunks_exact(d).enumerate() {
        for i in 0..d {
            for j in 0..d {
                dx[r * d + i] += row[j] * (dcov[i * d + j] + dcov[j * d + i]) / (n as f64 - 1.);
            }
        }
    }
    dx
}

fn centred(x: &[f64], d: usize) -> Vec<f64> {
    let (mean, _) = super::batch_norm::moments(x, d);
    x.iter().enumerate().map(|(i, v)| v - mean[i % d]).collect()
}
