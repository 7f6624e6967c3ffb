//! Self-supervised losses: pure functions of embeddings, on ops alone.

mod info_nce;
mod nt_xent;

pub use info_nce::{info_nce, info_nce_dot};
pub use nt_xent::nt_xent;

/// Lower bound on the mutual information of the two sides, in nats: `ln(candidates) - loss`.
///
/// `candidates` counts the positive: N for [`info_nce`] on N keys, 2N - 1 for [`nt_xent`] on N images, K + 1 for a queue
/// of K. The bound saturates at `ln(candidates)`: van den Oord et al. 2018, section 2.3 and appendix A.1; Poole et al.
/// 2019, "On Variational Bounds of Mutual Information", eq. 10.
#[must_use]
pub fn mi_bound(loss: f32, candidates: usize) -> f32 {
    (candidates as f32).ln() - loss
}
