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

/// VICReg's covariance term: `sum_(i != j) cov_ij^2 / d`, one number.
pub fn penalty(x: &[f64], d: usize) -> Vec<f64> {
    let cov = forward(x, d);
    let squares = cov.iter().enumerate().filter(|(i, _)| i / d != i % d).map(|(_, v)| v * v);
    vec![squares.sum::<f64>() / d as f64]
}

/// `dx = 4 / (d (n - 1)) xc offdiag(cov)` times the gradient of the term.
pub fn penalty_backward(x: &[f64], d: usize, dpenalty: &[f64]) -> Vec<f64> {
    let mut dcov = forward(x, d);
    for (i, v) in dcov.iter_mut().enumerate() {
        *v *= if i / d == i % d { 0. } else { 2. * dpenalty[0] / d as f64 };
    }
    backward(x, d, &dcov)
}

/// VICReg's variance term: the mean over columns of `max(0, gamma - sqrt(var + eps))`, `var` unbiased; one number.
pub fn hinge(x: &[f64], d: usize, gamma: f64, eps: f64) -> Vec<f64> {
    let std = deviations(x, d, eps);
    vec![std.iter().map(|&s| if s > gamma { 0. } else { gamma - s }).sum::<f64>() / d as f64]
}

/// `dx = -xc / (d (n - 1) std)` where `std < gamma`, times the gradient of the term.
pub fn hinge_backward(x: &[f64], d: usize, gamma: f64, eps: f64, dhinge: &[f64]) -> Vec<f64> {
    let n = x.len() / d;
    let std = deviations(x, d, eps);
    let slope =
        |j: usize| if std[j] < gamma { -dhinge[0] / (d as f64 * (n as f64 - 1.) * std[j]) } else { 0. };
    centred(x, d).iter().enumerate().map(|(i, v)| v * slope(i % d)).collect()
}

/// `sqrt(var + eps)` of each column.
fn deviations(x: &[f64], d: usize, eps: f64) -> Vec<f64> {
    let cov = forward(x, d);
    (0..d).map(|j| (cov[j * d + j] + eps).sqrt()).collect()
}

fn centred(x: &[f64], d: usize) -> Vec<f64> {
    let (mean, _) = super::batch_norm::moments(x, d);
    x.iter().enumerate().map(|(i, v)| v - mean[i % d]).collect()
}
