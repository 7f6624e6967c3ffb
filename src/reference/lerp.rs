//! Moving averages.

/// `y + weight (x - y)`.
#[must_use]
pub fn lerp(y: &[f64], x: &[f64], weight: f64) -> Vec<f64> {
    y.iter().zip(x).map(|(y, x)| y + weight * (x - y)).collect()
}

/// `y + weight (mean row of x - y)` for `y [c]` and `x [n, c]`.
#[must_use]
pub fn lerp_mean(y: &[f64], x: &[f64], weight: f64) -> Vec<f64> {
    lerp(y, &super::batch_norm::moments(x, y.len()).0, weight)
}

/// `y [m, c]` with row `at[i]` moved by `weight` towards row `i` of `x [n, c]` and scaled to unit length.
#[must_use]
pub fn lerp_unit_rows(y: &[f64], x: &[f64], at: &[usize], c: usize, weight: f64) -> Vec<f64> {
    let mut out = y.to_vec();
    for (&to, row) in at.iter().zip(x.chunks_exact(c)) {
        let place = to * c..(to + 1) * c;
        let moved = lerp(&y[place.clone()], row, weight);
        out[place].copy_from_slice(&super::l2_normalize::forward(&moved, c, 1e-12));
    }
    out
}
