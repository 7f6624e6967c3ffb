use super::Queue;
use crate::ops::Contrastive;
use crate::tensor::Tensor;

/// The loss of MoCo: queries `q` `[N, d]` of the student, keys `k` `[N, d]` of the teacher, negatives from a queue
/// `[K, d]`.
///
/// The mean over rows of `-ln e^(q_i . k_i / tau) / (e^(q_i . k_i / tau) + sum_j e^(q_i . queue_j / tau))` on unit vectors: `q`
/// and `k` are normalised here, the queue holds unit rows. A gradient flows to `q` alone. The N x K logits are never stored.
///
/// The order of a step is part of the method: move the teacher, compute the keys with it, take this loss with the old queue,
/// run backward, and enqueue `k.l2_normalize()` last, so that no key meets itself as a negative. Teacher and student need
/// batch normalisation over different images (split or shuffled), or the statistics tell them apart. The symmetric form is the
/// mean of two calls with the views exchanged.
///
/// Source: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", eq. 1 and algorithm 1.
/// [`mi_bound`](super::mi_bound) turns the value into a bound, with K + 1 candidates.
///
/// # Panics
/// If the shapes are not `[N, d]`, `[N, d]` and `[K, d]`, N > 0, or `tau` is not positive.
#[track_caller]
#[must_use]
pub fn moco_loss(q: &Tensor, k: &Tensor, queue: &Queue, tau: f32) -> Tensor {
    let (a, b) = (q.shape(), k.shape());
    assert!(a.rank() == 2 && a == b, "moco_loss: queries {a} and keys {b} must be the same [N, d]");
    let positive = k.stop_gradient().l2_normalize();
    Contrastive::new(tau).extra_positive(&positive).forward(&q.l2_normalize(), queue.rows()).loss
}
