//! Moving averages.

/// `y + weight (x - y)`.
#[must_use]
pub fn lerp(y: &[f64], x: &[f64], weight: f64) -> Vec<f64> {
    y.iter().zip(x).map(|(y, x)| y + weight * (x - y)).collect()
}
