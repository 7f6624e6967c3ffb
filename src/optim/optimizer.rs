//! The interface of all optimisers.

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

    /// [`step`](Self::step), unless `guard`, the device's [`LossScaler::state`](super::LossScaler::state), says that it is to be skipped.
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
