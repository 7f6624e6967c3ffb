use crate::ops::Contrastive;
use crate::tensor::Tensor;

/// NT-Xent, the loss of SimCLR, on two views `z1`, `z2` `[N, d]` of the same N images.
///
/// The views are normalised and stacked to 2N rows. Row `i` has the other view of its image as its positive and the
/// other 2N - 2 rows as negatives; it is no candidate of its own. The mean is over all 2N rows (Google's code adds the
/// two views' means and gives twice this). At random it is near `ln(2N - 1)`.
///
/// Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1 and
/// algorithm 1. [`mi_bound`](super::mi_bound) turns the value into a bound, with 2N - 1 candidates.
///
/// ```
/// # fn main() -> wgrad::Result<()> {
/// # let gpu = wgrad::Gpu::new()?;
/// // Two images at right angles, each seen twice alike.
/// let z = gpu.tensor(&[1.0, 0.0, 0.0, 1.0], [2, 2])?;
/// let loss = wgrad::ssl::nt_xent(&z, &z, 0.5).item()?;
/// assert!((loss - (1.0 + 2.0 * (-2_f32).exp()).ln()).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Panics
/// If the shapes are not the same `[N, d]`, N > 0, or `tau` is not positive.
#[track_caller]
#[must_use]
pub fn nt_xent(z1: &Tensor, z2: &Tensor, tau: f32) -> Tensor {
    stacked(&views(z1, z2).l2_normalize(), tau)
}

/// [`nt_xent`] on the rows as they are, with dot products for cosines. It can also be lowered by longer vectors.
///
/// # Panics
/// As [`nt_xent`].
#[track_caller]
#[must_use]
pub fn nt_xent_dot(z1: &Tensor, z2: &Tensor, tau: f32) -> Tensor {
    stacked(&views(z1, z2), tau)
}

/// One view after the other.
#[track_caller]
pub(super) fn views(z1: &Tensor, z2: &Tensor) -> Tensor {
    let (a, b) = (z1.shape(), z2.shape());
    assert!(a.rank() == 2 && a == b, "nt_xent: views {a} and {b} must be the same [N, d]");
    Tensor::concat_rows(&[z1, z2])
}

/// The loss on both views `[2 N, d]`.
#[track_caller]
pub(super) fn stacked(z: &Tensor, tau: f32) -> Tensor {
    Contrastive::new(tau).positive_offset(z.shape()[0] / 2).exclude_offset(0).forward_self(z).loss
}
