//! Arithmetic on two tensors with NumPy broadcasting: shapes align at the last axis, and length 1 stretches.

/// The shape that `a` and `b` broadcast to.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (1, n) | (n, 1) => n,
            (m, n) => {
                assert_eq!(m, n, "{a:?} and {b:?} do not broadcast");
                m
            }
        })
        .collect()
}

/// Flat index into a tensor of shape `from` that element `i` of its broadcast to `to` reads.
#[must_use]
pub fn source(mut i: usize, from: &[usize], to: &[usize]) -> usize {
    let (mut at, mut stride) = (0, 1);
    for (axis, &dim) in to.iter().enumerate().rev() {
        let coordinate = i % dim;
        i /= dim;
        if let Some(own) = (axis + from.len()).checked_sub(to.len()) {
            at += if from[own] == 1 { 0 } else { coordinate * stride };
            stride *= from[own];
        }
    }
    at
}

/// `f(a, b)` over the broadcast shape.
#[must_use]
pub fn forward(a: (&[f64], &[usize]), b: (&[f64], &[usize]), f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let shape = broadcast(a.1, b.1);
    let n = shape.iter().product();
    (0..n).map(|i| f(a.0[source(i, a.1, &shape)], b.0[source(i, b.1, &shape)])).collect()
}

/// Gradients of [`forward`], summed over the stretched axes: `derivative(a, b)` gives both partial derivatives.
#[must_use]
pub fn backward(
    a: (&[f64], &[usize]),
    b: (&[f64], &[usize]),
    derivative: impl Fn(f64, f64) -> (f64, f64),
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let shape = broadcast(a.1, b.1);
    let (mut da, mut db) = (vec![0.0; a.0.len()], vec![0.0; b.0.len()]);
    for (i, dy) in dy.iter().enumerate() {
        let (at_a, at_b) = (source(i, a.1, &shape), source(i, b.1, &shape));
        let (by_a, by_b) = derivative(a.0[at_a], b.0[at_b]);
        da[at_a] += by_a * dy;
        db[at_b] += by_b * dy;
    }
    (da, db)
}

/// The four operations: value, and partial derivatives by `a` and by `b`.
pub mod op {
    /// `a + b`.
    #[must_use]
    pub fn add(a: f64, b: f64) -> f64 {
        a + b
    }
    /// `(1, 1)`.
    #[must_use]
    pub fn add_backward(_: f64, _: f64) -> (f64, f64) {
        (1.0, 1.0)
    }
    /// `a - b`.
    #[must_use]
    pub fn sub(a: f64, b: f64) -> f64 {
        a - b
    }
    /// `(1, -1)`.
    #[must_use]
    pub fn sub_backward(_: f64, _: f64) -> (f64, f64) {
        (1.0, -1.0)
    }
    /// `a b`.
    #[must_use]
    pub fn mul(a: f64, b: f64) -> f64 {
        a * b
    }
    /// `(b, a)`.
    #[must_use]
    pub fn mul_backward(a: f64, b: f64) -> (f64, f64) {
        (b, a)
    }
    /// `a / b`.
    #[must_use]
    pub fn div(a: f64, b: f64) -> f64 {
        a / b
    }
    /// `(1 / b, -a / b^2)`.
    #[must_use]
    pub fn div_backward(a: f64, b: f64) -> (f64, f64) {
        (1.0 / b, -a / (b * b))
    }
}

/// `x` broadcast to `shape`.
#[must_use]
pub fn expand(x: &[f64], from: &[usize], shape: &[usize]) -> Vec<f64> {
    let n = shape.iter().product();
    (0..n).map(|i| x[source(i, from, shape)]).collect()
}

/// `dy` summed over the stretched axes.
#[must_use]
pub fn expand_backward(from: &[usize], shape: &[usize], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; from.iter().product()];
    for (i, dy) in dy.iter().enumerate() {
        dx[source(i, from, shape)] += dy;
    }
    dx
}
