//! Sums, means and maxima over axes. The axes are kept with length 1: element order is the same as if dropped.

use super::binary::source;

/// The shape with `axes` set to length 1.
#[must_use]
pub fn kept(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &dim)| if axes.contains(&axis) { 1 } else { dim }).collect()
}

/// The sum over `axes`.
#[must_use]
pub fn sum(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
    let kept = kept(shape, axes);
    let mut y = vec![0.0; kept.iter().product()];
    for (i, x) in x.iter().enumerate() {
        y[source(i, &kept, shape)] += x;
    }
    y
}

/// `dy` to every summand.
#[must_use]
pub fn sum_backward(shape: &[usize], axes: &[usize], dy: &[f64]) -> Vec<f64> {
    let kept = kept(shape, axes);
    (0..shape.iter().product()).map(|i| dy[source(i, &kept, shape)]).collect()
}

/// The mean over `axes`.
#[must_use]
pub fn mean(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
    sum(x, shape, axes).iter().map(|s| s / count(shape, axes)).collect()
}

/// `dy / count` to every summand.
#[must_use]
pub fn mean_backward(shape: &[usize], axes: &[usize], dy: &[f64]) -> Vec<f64> {
    sum_backward(shape, axes, dy).iter().map(|d| d / count(shape, axes)).collect()
}

fn count(shape: &[usize], axes: &[usize]) -> f64 {
    axes.iter().map(|&axis| shape[axis] as f64).product()
}

/// The maximum over `axes`; NaN if one element is.
#[must_use]
pub fn max(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
    let kept = kept(shape, axes);
    let mut y = vec![f64::NEG_INFINITY; kept.iter().product()];
    for (i, &x) in x.iter().enumerate() {
        let y = &mut y[source(i, &kept, shape)];
        *y = if x > *y || x.is_nan() { x } else { *y };
    }
    y
}

/// `dy` shared equally among the elements equal to the maximum (PyTorch's `amax`).
#[must_use]
pub fn max_backward(x: &[f64], shape: &[usize], axes: &[usize], dy: &[f64]) -> Vec<f64> {
    let kept = kept(shape, axes);
    let y = max(x, shape, axes);
    let is_max: Vec<f64> =
        x.iter().enumerate().map(|(i, &x)| f64::from(u8::from(x == y[source(i, &kept, shape)]))).collect();
    let ties = sum(&is_max, shape, axes);
    let share = |i: usize| dy[source(i, &kept, shape)] / ties[source(i, &kept, shape)];
    is_max.iter().enumerate().map(|(i, m)| m * share(i)).collect()
}
