use super::simsiam::{check_pairs, squared_distance};
use crate::tensor::Tensor;

/// The loss of BYOL: predictions `p1`, `p2` `[N, d]` of the student against projections `z1`, `z2` of the teacher, each for the
/// other view.
///
/// `mean |n(p1) - n(z2)|^2 + mean |n(p2) - n(z1)|^2`, means over rows and the sum of both directions; each term is
/// `2 - 2 cos`. Random rows give about 4. No gradient flows to `z1` and `z2`, which come from a moving average of the student.
///
/// Source: Grill et al. 2020, "Bootstrap Your Own Latent", eq. 2.
///
/// # Panics
/// If the shapes are not the same `[N, d]`.
#[track_caller]
#[must_use]
pub fn byol_loss(p1: &Tensor, z2: &Tensor, p2: &Tensor, z1: &Tensor) -> Tensor {
    check_pairs("byol_loss", [(p1, z2), (p2, z1)]);
    let term =
        |p: &Tensor, z: &Tensor| squared_distance(&p.l2_normalize(), &z.stop_gradient().l2_normalize());
    term(p1, z2).add(&term(p2, z1))
}
