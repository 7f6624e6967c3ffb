//! Loss scaling for gradients in f16.

use super::optimizer::Optimizer;
use super::segments::check_flat;
use crate::error::Result;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::{Params, Precision};
use crate::tensor::Tensor;

static SOURCE: Source = source!("loss_scale.wgsl");
static UNSCALE: Kernel = SOURCE.kernel("unscale");
static UPDATE_SCALE: Kernel = SOURCE.kernel("update_scale");

/// The scale of a run's first step, as in PyTorch.
const FIRST_SCALE: f32 = 65_536.0;

uniforms! { struct UnscaleUniforms { n: u32 } }

/// Dynamic loss scaling (Micikevicius et al. 2018, "Mixed Precision Training"), as `torch.amp.GradScaler`, all of it on the
/// device: nothing waits to learn whether a gradient was finite.
///
/// f16 holds nothing below 6e-8, where many gradients of activations lie. So the loss is multiplied by a scale before
/// backward and the gradient of the parameters, in `f32`, divided by it after. A gradient that is not finite skips the step
/// and halves the scale, which starts at 65,536; 2,000 finite ones in a row double it. With parameters of
/// [`Precision::F32`] it does nothing at all.
///
/// ```no_run
/// # use wgrad::nn::{Linear, ParamBuilder, Precision};
/// # use wgrad::optim::{Group, LossScaler, Sgd, SgdOptions};
/// # fn main() -> wgrad::Result<()> {
/// # let gpu = wgrad::Gpu::new()?;
/// # let build = ParamBuilder::new(wgrad::Rng::new(1));
/// # let layer = Linear::new(&build, 3, 2, true);
/// let params = build.finish(&gpu)?.with_precision(Precision::F16);
/// let mut sgd = Sgd::new(&params, SgdOptions::default(), Group::default_for)?;
/// let scaler = LossScaler::new(&params)?;
/// # let x = gpu.full([4, 3], 1.0)?;
/// for _ in 0..100 {
///     let loss = layer.forward(&params, &x.cast(wgrad::DType::F16)).square().mean_all();
///     let gradient = scaler.gradient(&params, &loss);
///     scaler.step(&mut sgd, &params, &gradient, 0.1);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LossScaler {
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    /// `[4]`: scale, finite steps in a row, 1 where the newest step is to be skipped, steps skipped.
    guard: Tensor,
    /// The first of it, shape `[]`.
    scale: Tensor,
    /// `[1]` u32: 1 while a gradient that is not finite is on record.
    found: Tensor,
}

impl LossScaler {
    /// For steps of these parameters, in their precision.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(params: &Params) -> Result<Self> {
        if params.precision() == Precision::F32 {
            return Ok(Self { state: None });
        }
        let guard = params.gpu().tensor(&[FIRST_SCALE, 0.0, 0.0, 0.0], [4])?;
        let scale = Tensor::view(&guard, 0, []);
        Ok(Self { state: Some(State { guard, scale, found: params.gpu().zeros_u32([1])? }) })
    }

    /// The gradient of `loss`, in the layout of [`Params::flat`]: that of the scaled loss, divided by the scale. Two launches
    /// beside backward and pack.
    ///
    /// # Panics
    /// As [`Tensor::backward`].
    #[track_caller]
    #[must_use]
    pub fn gradient(&self, params: &Params, loss: &Tensor) -> Tensor {
        let Some(State { guard, scale, found }) = &self.state else {
            return params.pack(&loss.backward());
        };
        let gradient = params.pack(&loss.mul(scale).backward());
        let (gpu, n) = (params.gpu(), check_flat("LossScaler", params, &gradient));
        let work = Work::new(32 * u64::from(n), 4 * u64::from(n));
        gpu.run(&UNSCALE, &[&gradient, found, guard], &UnscaleUniforms { n }, Grid::items(n), work);
        gpu.run(&UPDATE_SCALE, &[guard, found], &(), Grid::Groups(1), Work::new(40, 0));
        gradient
    }

    /// A step of `optimizer` along `gradient`, unless that was not finite when [`gradient`](Self::gradient) made it.
    ///
    /// # Panics
    /// As [`Optimizer::step`].
    #[track_caller]
    pub fn step(&self, optimizer: &mut dyn Optimizer, params: &Params, gradient: &Tensor, lr: f32) {
        match &self.state {
            None => optimizer.step(params, gradient, lr),
            Some(State { guard, .. }) => optimizer.step_guarded(params, gradient, lr, guard),
        }
    }

    /// Scale, finite steps in a row, 1 if the newest step was skipped, and steps skipped, `[4]`; all that a checkpoint must
    /// keep. `None` in `f32`.
    #[must_use]
    pub fn state(&self) -> Option<&Tensor> {
        self.state.as_ref().map(|state| &state.guard)
    }
}
