use crate::tensor::Tensor;

/// The loss of SimSiam: predictions `p1`, `p2` `[N, d]` of the two views against the projections of the other.
///
/// `-1/2 (mean cos(p1, sg z2) + mean cos(p2, sg z1))`, means over rows: -1 at best. No gradient flows to `z1` and `z2` here; the
/// same `z1` trained through `p1` is what keeps the method from collapse.
///
/// Source: Chen & He 2021, "Exploring Simple Siamese Representation Learning", eq. 1 to 4.
///
/// # Panics
/// If the shapes are not the same `[N, d]`.
#[track_caller]
#[must_use]
pub fn simsiam_loss(p1: &Tensor, z2: &Tensor, p2: &Tensor, z1: &Tensor) -> Tensor {
    check_pairs("simsiam_loss", [(p1, z2), (p2, z1)]);
    let cosine =
        |p: &Tensor, z: &Tensor| p.l2_normalize().mul(&z.stop_gradient().l2_normalize()).sum(&[1]).mean_all();
    cosine(p1, z2).add(&cosine(p2, z1)).mul_scalar(-0.5)
}

/// SimSiam's loss as squared errors: `1/2 |p1 - sg z2|^2 + 1/2 |p2 - sg z1|^2`, means over rows.
///
/// On unit rows it is 2 + 2 [`simsiam_loss`], with twice the gradient. On rows as they are it trains their length as well.
/// It is the form that the analysis by alternating minimisation starts from: Chen & He 2021, section 5.1.
///
/// # Panics
/// As [`simsiam_loss`].
#[track_caller]
#[must_use]
pub fn simsiam_squared_loss(p1: &Tensor, z2: &Tensor, p2: &Tensor, z1: &Tensor) -> Tensor {
    check_pairs("simsiam_squared_loss", [(p1, z2), (p2, z1)]);
    squared_distance(p1, &z2.stop_gradient()).add(&squared_distance(p2, &z1.stop_gradient())).mul_scalar(0.5)
}

/// Mean over rows of `|a - b|^2`.
pub(super) fn squared_distance(a: &Tensor, b: &Tensor) -> Tensor {
    a.sub(b).square().sum(&[1]).mean_all()
}

/// Panics unless predictions and targets have one shape `[N, d]`.
#[track_caller]
pub(super) fn check_pairs(name: &str, pairs: [(&Tensor, &Tensor); 2]) {
    let shape = pairs[0].0.shape();
    let same = pairs.iter().all(|(p, z)| p.shape() == shape && z.shape() == shape);
    let shapes = pairs.map(|(p, z)| format!("{} {}", p.shape(), z.shape())).join(" ");
    assert!(same && shape.rank() == 2 && shape[0] > 0, "{name}: {shapes} must be the same [N, d]");
}
