use crate::ops::Contrastive;
use crate::tensor::Tensor;

/// InfoNCE on unit vectors: for queries `q` `[N, d]` and keys `k` `[M, d]`, M >= N, the mean over rows of
/// `-ln exp(s_ii) / sum_j exp(s_ij)` with `s_ij = cos(q_i, k_j) / tau`.
///
/// Row `i` of `k` is the positive of row `i` of `q`, every other row of `k` a negative. Differentiable in both.
/// Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4, with cosine
/// similarity and temperature as in Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance
/// Discrimination", eq. 2. [`mi_bound`](super::mi_bound) turns the value into a bound, with M candidates.
///
/// # Panics
/// If the shapes are not `[N, d]` and `[M, d]` with M >= N > 0, or `tau` is not positive.
#[track_caller]
#[must_use]
pub fn info_nce(q: &Tensor, k: &Tensor, tau: f32) -> Tensor {
    info_nce_dot(&q.l2_normalize(), &k.l2_normalize(), tau)
}

/// InfoNCE on the rows as they are: [`info_nce`] with `s_ij = q_i . k_j / tau`.
///
/// Without normalisation the loss can also be lowered by longer vectors.
///
/// # Panics
/// As [`info_nce`].
#[track_caller]
#[must_use]
pub fn info_nce_dot(q: &Tensor, k: &Tensor, tau: f32) -> Tensor {
    let (rows, keys) = (q.shape(), k.shape());
    assert!(
        rows.rank() == 2 && keys.rank() == 2 && rows[0] <= keys[0],
        "info_nce: queries {rows} and keys {keys} must be [N, d] and [M, d] with M >= N"
    );
    Contrastive::new(tau).forward(q, k).loss
}
