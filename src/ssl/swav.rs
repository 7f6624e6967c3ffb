use super::views;
use crate::tensor::Tensor;

/// Settings of [`swav_loss`]; the default is the paper's for large batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwavOptions {
    /// Temperature of the student's softmax.
    pub tau: f32,
    /// Entropy weight of the assignments: lower is sharper.
    pub epsilon: f32,
    /// Rounds of Sinkhorn-Knopp.
    pub iterations: usize,
}

impl Default for SwavOptions {
    fn default() -> Self {
        Self { tau: 0.1, epsilon: 0.05, iterations: 3 }
    }
}

/// Assigns rows to prototypes in equal parts: for scores `[B, K]`, a matrix `[B, K]` whose rows sum to 1 and whose columns
/// come near B / K each.
///
/// Sinkhorn-Knopp on `e^(scores / epsilon)`: columns and rows are scaled to equal sums in turn, `iterations` times, rows
/// last. In logarithms, where scaling is subtracting a log-sum-exp with its maximum taken out: nothing overflows, and no
/// prototype divides 0 by 0. No gradient flows.
///
/// Source: Cuturi 2013, "Sinkhorn Distances"; Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting
/// Cluster Assignments", eq. 3 to 5.
///
/// # Panics
/// If the shape is not `[B, K]`, there are no iterations, or `epsilon` is not positive.
#[track_caller]
#[must_use]
pub fn sinkhorn(scores: &Tensor, epsilon: f32, iterations: usize) -> Tensor {
    assert!(scores.shape().rank() == 2, "sinkhorn: scores {} must be [B, K]", scores.shape());
    assert!(epsilon > 0.0 && iterations > 0, "sinkhorn: epsilon {epsilon}, {iterations} iterations");
    let mut q = scores.stop_gradient().div_scalar(epsilon);
    for _ in 0..iterations {
        q = q.transpose().log_softmax(None).transpose().log_softmax(None);
    }
    q.exp()
}

/// The loss of SwAV: each view predicts the cluster assignment of another.
///
/// `scores` `[V N, K]` are cosines between embeddings and prototypes, of V views of N images, one view after another: the two
/// global ones first, then any number of local crops. With assignments `q_i` of the global views from [`sinkhorn`], the mean
/// over images and over pairs i != j of `-sum_k q_ik ln softmax(scores_j / tau)_k`. No gradient flows through assignments.
///
/// `queue` holds scores `[L, K]` of earlier embeddings of each global view with the present prototypes, without a graph. They
/// join the assignment, where N alone is small against K, and not the loss.
///
/// Source: Caron et al. 2020, eq. 1 and 2 and algorithm 1. The authors let prototypes rest for the first epoch, and
/// use the queue from epoch 15.
///
/// # Panics
/// If the shapes are not those with V > 1, `images` is not N, or an option is not positive.
#[track_caller]
#[must_use]
pub fn swav_loss(
    scores: &Tensor,
    images: usize,
    queue: Option<[&Tensor; 2]>,
    options: SwavOptions,
) -> Tensor {
    let SwavOptions { tau, epsilon, iterations } = options;
    let shape = scores.shape();
    assert!(
        shape.rank() == 2 && images > 0 && shape[0] >= 2 * images,
        "swav_loss: scores {shape} of {images} images"
    );
    let fixed = scores.stop_gradient();
    let assign = |view: usize| {
        let own = fixed.slice_rows(view * images, images);
        match queue {
            None => sinkhorn(&own, epsilon, iterations),
            Some(queue) => {
                let all = Tensor::concat_rows(&[&own, &queue[view].stop_gradient()]);
                sinkhorn(&all, epsilon, iterations).slice_rows(0, images)
            }
        }
    };
    let targets = Tensor::concat_rows(&[&assign(0), &assign(1)]);
    views::check("swav_loss", &targets, scores);
    views::cross_entropy(&targets, scores, tau)
}
