//! Layer-wise adaptive rate scaling.

use super::optimizer::Optimizer;
use super::segments::{Group, Of, check_flat, norms, upload_groups};
use crate::error::Result;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::{Params, Segment};
use crate::tensor::Tensor;

static SOURCE: Source = source!("lars.wgsl");
static LARS: Kernel = SOURCE.kernel("lars");

uniforms! { struct LarsUniforms { n: u32, lr: f32, weight_decay: f32, momentum: f32, eta: f32 } }

/// Options of [`Lars`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LarsOptions {
    /// Momentum.
    pub momentum: f32,
    /// Weight decay, added to the gradient before its norm is taken.
    pub weight_decay: f32,
    /// Trust coefficient.
    pub eta: f32,
}

impl Default for LarsOptions {
    /// Momentum .9, weight decay 1e-4, eta .001.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-4, eta: 1e-3 }
    }
}

/// LARS (You, Gitman & Ginsburg 2017) as in the public VICReg and Barlow Twins code. Three launches a step.
///
/// `u = g + wd w`, `u *= eta |w| / |u|` where both norms are positive, `v = m v + u`, `w -= lr v`. The learning rate is
/// not part of `v` (other versions differ). Norms stay on the device and are summed in fixed order.
#[derive(Debug)]
pub struct Lars {
    options: LarsOptions,
    groups: Tensor,
    velocity: Tensor,
    steps: u64,
}

impl Lars {
    /// State for `params`. [`Group::exclude_1d`] is what the papers do: no weight decay and no trust ratio for biases
    /// and normalisation.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(params: &Params, options: LarsOptions, group_of: impl Fn(&Segment) -> Group) -> Result<Self> {
        let velocity = params.gpu().zeros(params.flat().shape())?;
        Ok(Self { options, groups: upload_groups(params, group_of)?, velocity, steps: 0 })
    }
}

impl Optimizer for Lars {
    #[track_caller]
    fn step_guarded(&mut self, params: &Params, grads: &Tensor, lr: f32, guard: &Tensor) {
        let n = check_flat("Lars", params, grads);
        let LarsOptions { momentum, weight_decay, eta } = self.options;
        let norms = norms(params, grads, &Of::Update { groups: &self.groups, weight_decay });
        let (w, blocks) = (params.flat(), &params.table().block_segment);
        params.gpu().run(
            &LARS,
            &[w, &self.velocity, grads, blocks, &self.groups, &norms, guard],
            &LarsUniforms { n, lr, weight_decay, momentum, eta },
            Grid::items(n),
            Work::new(80 * u64::from(n), 28 * u64::from(n)),
        );
        self.steps += 1;
    }

    fn state(&self) -> Vec<(&'static str, &Tensor)> {
        vec![("momentum", &self.velocity)]
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }
}
