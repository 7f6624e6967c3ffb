//! Optimisers on flat parameter buffers.
//!
//! A model's parameters lie in one flat tensor, its gradient in another ([`Params::pack`](crate::nn::Params::pack)),
//! and so does each state of an optimiser. A step is one launch for the whole model (three where norms are needed),
//! however many tensors it has, and reads nothing back.
//!
//! ```no_run
//! use wgrad::nn::{Linear, ParamBuilder};
//! use wgrad::optim::{Group, Optimizer, Schedule, Sgd, SgdOptions};
//! # fn main() -> wgrad::Result<()> {
//! # let gpu = wgrad::Gpu::new()?;
//! let build = ParamBuilder::new(wgrad::Rng::new(1));
//! let layer = Linear::new(&build, 3, 2, true);
//! let params = build.finish(&gpu)?;
//! let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
//! let mut sgd = Sgd::new(&params, options, Group::default_for)?;
//! let schedule = Schedule::warmup_cosine(0.2, 10, 100);
//! let x = gpu.full([4, 3], 1.0)?;
//! for step in 0..100 {
//!     let loss = layer.forward(&params, &x).square().mean_all();
//!     let grads = params.pack(&loss.backward());
//!     sgd.step(&params, &grads, schedule.at(step));
//! }
//! # Ok(())
//! # }
//! ```

mod adamw;
mod clip;
mod ema;
mod lars;
mod optimizer;
mod scaler;
mod schedule;
mod segments;
mod sgd;

pub use adamw::{AdamW, AdamWOptions};
pub use clip::{ClipBy, clip_grad_norm};
pub use ema::{Ema, Momentum};
pub use lars::{Lars, LarsOptions};
pub use optimizer::Optimizer;
pub use scaler::LossScaler;
pub use schedule::Schedule;
pub use segments::Group;
pub use sgd::{Sgd, SgdOptions};
