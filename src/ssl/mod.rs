//! Self-supervised losses: pure functions of embeddings, on ops alone, and the state that some of them keep between steps.
//!
//! | method | loss | state |
//! |---|---|---|
//! | InfoNCE | [`info_nce`], [`info_nce_dot`] | |
//! | SimCLR | [`nt_xent`], [`nt_xent_dot`] | |
//! | instance discrimination | [`instance_discrimination_loss`], [`Nce`] | [`Bank`] |
//! | MoCo | [`moco_loss`], [`Shuffle`] | [`Queue`] |
//! | SimSiam | [`simsiam_loss`], [`simsiam_squared_loss`] | |
//! | BYOL | [`byol_loss`] | |
//! | VICReg | [`vicreg_loss`] | |
//! | Barlow Twins | [`barlow_twins_loss`] | |
//! | DINO | [`dino_loss`] | [`Center`] |
//! | SwAV | [`swav_loss`], [`sinkhorn`] | [`Queue`], if wanted |
//! | NNCLR | [`nnclr_loss`] | [`Queue`] |
//! | SupCon | [`SupCon`] | |
//!
//! What a teacher, a target, a queue or a bank gives is a constant to every loss: no gradient flows there. State lives on
//! the device, is updated in place after backward, and is a tensor that a checkpoint can copy. Projectors and predictors are
//! in [`nn`](crate::nn), teachers in [`optim::Ema`](crate::optim::Ema).

mod barlow;
mod byol;
mod dino;
mod info_nce;
mod instance;
mod moco;
mod nnclr;
mod nt_xent;
mod queue;
mod shuffle;
mod simsiam;
mod supcon;
mod swav;
mod vicreg;
mod views;

pub use barlow::barlow_twins_loss;
pub use byol::byol_loss;
pub use dino::{Center, DinoLoss, TeacherTemperature, dino_loss};
pub use info_nce::{info_nce, info_nce_dot};
pub use instance::{Bank, Nce, instance_discrimination_loss};
pub use moco::moco_loss;
pub use nnclr::{nearest, nnclr_loss};
pub use nt_xent::{nt_xent, nt_xent_dot};
pub use queue::{Probe, Queue};
pub use shuffle::Shuffle;
pub use simsiam::{simsiam_loss, simsiam_squared_loss};
pub use supcon::SupCon;
pub use swav::{SwavOptions, sinkhorn, swav_loss};
pub use vicreg::{VicRegLoss, VicRegWeights, vicreg_loss};

/// Lower bound on the mutual information of the two sides, in nats: `ln(candidates) - loss`.
///
/// `candidates` counts the positive: N for [`info_nce`] on N keys, 2N - 1 for [`nt_xent`] on N images, K + 1 for a queue
/// of K. The bound saturates at `ln(candidates)`: van den Oord et al. 2018, section 2.3 and appendix A.1; Poole et al.
/// 2019, "On Variational Bounds of Mutual Information", eq. 10.
#[must_use]
pub fn mi_bound(loss: f32, candidates: usize) -> f32 {
    (candidates as f32).ln() - loss
}
