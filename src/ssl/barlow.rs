use crate::ops::BatchNormOptions;
use crate::tensor::Tensor;

/// The loss of Barlow Twins on two views `z1`, `z2` `[N, D]` of the same images.
///
/// With the columns of each view standardised over the batch (biased variance, 1e-5 added to it as in batch normalisation)
/// and `C = z1ᵀ z2 / N`: `sum_i (C_ii - 1)^2 + lambda sum_(i != j) C_ij^2`. The paper's lambda is .0051. A collapsed
/// embedding has C = 0 and the loss D.
///
/// Source: Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", eq. 1 and 2.
///
/// # Panics
/// If the shapes are not the same `[N, D]` with N > 1.
#[track_caller]
#[must_use]
pub fn barlow_twins_loss(z1: &Tensor, z2: &Tensor, lambda: f32) -> Tensor {
    let (a, b) = (z1.shape(), z2.shape());
    assert!(
        a.rank() == 2 && a == b && a[0] > 1,
        "barlow_twins_loss: views {a} and {b} must be the same [N, D], N > 1"
    );
    let [z1, z2] = [z1, z2].map(|z| z.batch_norm(BatchNormOptions::train()));
    let diagonal = z1.mul(&z2).mean(&[0]);
    let c = z1.matmul_tn(&z2).mul_scalar(1.0 / a[0] as f32);
    // Off the diagonal, row by row: what a row has beyond its own entry.
    let redundant = c.square().sum(&[1]).sub(&diagonal.square());
    diagonal.sub_scalar(1.0).square().add(&redundant.mul_scalar(lambda)).sum_all()
}
