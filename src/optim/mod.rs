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
mod scaler;
mod schedule;
mod segments;
mod sgd;

pub use adamw::{AdamW, AdamWOptions};
pub use clip::{ClipBy, clip_grad_norm};
pub use ema::{Ema, Momentum};
pub use lars::{Lars, LarsOptions};
pub use scaler::LossScaler;
pub use schedule::Schedule;
pub use segments::Group;
pub use sgd::{Sgd, SgdOptions};

use crate::nn::Params;
use crate::tensor::Tensor;

/// What the training loop and the checkpoint need of every optimiser.
pub trait Optimizer {
    /// Moves `params` by one step along `grads`, the flat gradient from [`Params::pack`], at learning rate `lr`.
    ///
    /// # Panics
    /// If `grads` does not have the shape of `params.flat()`.
    #[track_caller]
    fn step(&mut self, params: &Params, grads: &Tensor, lr: f32) {
        let unguarded = params.table().unguarded.clone();
        self.step_guarded(params, grads, lr, &unguarded);
    }

    /// [`step`](Self::step), unless `guard`, the device's [`LossScaler::state`], says that it is to be skipped.
    ///
    /// # Panics
    /// As [`step`](Self::step).
    #[track_caller]
    fn step_guarded(&mut self, params: &Params, grads: &Tensor, lr: f32, guard: &Tensor);

    /// State by name, flat like the parameters. Restored by [`Tensor::write`] on the same tensors.
    fn state(&self) -> Vec<(&'static str, &Tensor)>;

    /// Steps taken, skipped ones included. With [`state`](Self::state) it is all that a checkpoint needs to continue bit for bit.
    fn steps(&self) -> u64;

    /// Sets the number of steps taken, for a resumed run.
    fn set_steps(&mut self, steps: u64);
}
