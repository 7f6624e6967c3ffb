use super::Queue;
use crate::ops::Contrastive;
use crate::tensor::Tensor;

/// The loss of NNCLR: the nearest neighbour of one view in a support set has to find the prediction of the other.
///
/// For projections `z1`, `z2` and predictions `p1`, `p2` `[N, d]` of two views, all normalised here, the mean of
/// InfoNCE(NN(z1), p2) and InfoNCE(NN(z2), p1): queries are the queue's rows nearest to `z`, the positive of row `i` is row `i`
/// of `p`, the other rows are its negatives. A gradient flows to `p1` and `p2` alone. Similarities to the queue are
/// computed in strips and never stored.
///
/// Enqueue `z1.l2_normalize()` after backward.
///
/// Source: Dwibedi et al. 2021, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
/// Representations", eq. 2 to 4, symmetric. [`mi_bound`](super::mi_bound) takes N candidates.
///
/// # Panics
/// If the shapes are not the same `[N, d]`, the queue has another width, or `tau` is not positive.
#[track_caller]
#[must_use]
pub fn nnclr_loss(z1: &Tensor, p1: &Tensor, z2: &Tensor, p2: &Tensor, queue: &Queue, tau: f32) -> Tensor {
    super::simsiam::check_pairs("nnclr_loss", [(p1, z2), (p2, z1)]);
    let term = |z: &Tensor, p: &Tensor| {
        let neighbours = nearest(z, queue);
        Contrastive::new(tau).forward(&neighbours, &p.l2_normalize()).loss
    };
    term(z1, p2).add(&term(z2, p1)).mul_scalar(0.5)
}

/// The row of `queue` with the largest cosine to each row of `z` `[N, d]`: a copy `[N, d]`, without a graph.
///
/// # Panics
/// If the widths differ.
#[track_caller]
#[must_use]
pub fn nearest(z: &Tensor, queue: &Queue) -> Tensor {
    let (_, index) = z.stop_gradient().l2_normalize().knn(queue.rows(), 1);
    queue.rows().gather_rows(&index.reshape([index.len()]))
}
