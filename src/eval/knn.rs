//! Weighted kNN classification, as instance discrimination introduced it for frozen features.

use super::accuracy::accuracy;
use crate::error::Result;
use crate::tensor::Tensor;

/// Settings of [`knn_accuracy`]. The default is k = 200, tau = 0.1, as MoCo's and lightly's CIFAR benchmarks use it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knn {
    /// Neighbours that vote; at most the size of the bank.
    pub k: usize,
    /// Temperature of the weights.
    pub tau: f32,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 200, tau: 0.1 }
    }
}

/// Share of `queries` `[n, d]` whose class wins the vote of their nearest neighbours in `bank` `[m, d]`, by cosine.
///
/// A neighbour at cosine s votes with weight `exp(s / tau)`; ties go to the lower class. Wu et al. 2018, "Unsupervised
/// Feature Learning via Non-Parametric Instance Discrimination", section 3.4.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If the shapes do not fit, or a label is missing.
#[track_caller]
pub fn knn_accuracy(
    bank: &Tensor,
    bank_labels: &[u32],
    queries: &Tensor,
    labels: &[u32],
    knn: Knn,
) -> Result<f64> {
    let counts = [bank.shape()[0], queries.shape()[0]];
    assert_eq!([bank_labels.len(), labels.len()], counts, "knn_accuracy: labels and rows");
    let classes = bank_labels.iter().max().map_or(1, |&c| c as usize + 1);
    let on_gpu = bank.gpu().tensor_u32(bank_labels, [bank_labels.len()])?;
    let (similarity, index) = queries.l2_normalize().knn(&bank.l2_normalize(), knn.k.min(counts[0]));
    accuracy(&similarity.knn_vote(&index, &on_gpu, classes, knn.tau), labels)
}
