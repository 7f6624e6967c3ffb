//! Stochastic gradient descent.

use super::optimizer::Optimizer;
use super::segments::{Group, check_flat, upload_groups};
use crate::error::Result;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::{Params, Segment};
use crate::tensor::Tensor;

static SOURCE: Source = source!("sgd.wgsl");
static SGD: Kernel = SOURCE.kernel("sgd");
static SGD_MOMENTUM: Kernel = SOURCE.kernel("sgd_momentum");

uniforms! { struct Plain { n: u32, lr: f32, weight_decay: f32 } }
uniforms! { struct Momentum { n: u32, lr: f32, weight_decay: f32, momentum: f32, nesterov: u32 } }

/// Options of [`Sgd`], with `torch.optim.SGD`'s defaults (all off).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SgdOptions {
    /// Momentum; 0 keeps no state.
    pub momentum: f32,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Weight decay, added to the gradient.
    pub weight_decay: f32,
}

/// SGD with momentum, as `torch.optim.SGD` without dampening. One launch a step.
///
/// `g' = g + wd w`, `v = m v + g'`, `w -= lr v`, or with Nesterov `w -= lr (g' + m v)`.
#[derive(Debug)]
pub struct Sgd {
    options: SgdOptions,
    groups: Tensor,
    velocity: Option<Tensor>,
    steps: u64,
}

impl Sgd {
    /// State for `params`; `group_of` says how each parameter is treated ([`Group::default_for`] for all alike).
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(params: &Params, options: SgdOptions, group_of: impl Fn(&Segment) -> Group) -> Result<Self> {
        let flat = params.flat();
        let velocity = (options.momentum != 0.0).then(|| flat.gpu().zeros(flat.shape())).transpose()?;
        Ok(Self { options, groups: upload_groups(params, group_of)?, velocity, steps: 0 })
    }
}

impl Optimizer for Sgd {
    #[track_caller]
    fn step_guarded(&mut self, params: &Params, grads: &Tensor, lr: f32, guard: &Tensor) {
        let n = check_flat("Sgd", params, grads);
        let SgdOptions { momentum, nesterov, weight_decay } = self.options;
        let (gpu, w, blocks) = (params.gpu(), params.flat(), &params.table().block_segment);
        let (grid, bytes) = (Grid::items(n), 16 * u64::from(n));
        match &self.velocity {
            Some(v) => {
                let launch = Momentum { n, lr, weight_decay, momentum, nesterov: u32::from(nesterov) };
                let work = Work::new(5 * bytes, 6 * bytes / 4);
                gpu.run(&SGD_MOMENTUM, &[w, v, grads, blocks, &self.groups, guard], &launch, grid, work);
            }
            None => {
                let launch = Plain { n, lr, weight_decay };
                let work = Work::new(3 * bytes, bytes);
                gpu.run(&SGD, &[w, grads, blocks, &self.groups, guard], &launch, grid, work);
            }
        }
        self.steps += 1;
    }

    fn state(&self) -> Vec<(&'static str, &Tensor)> {
        self.velocity.iter().map(|v| ("momentum", v)).collect()
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }
}
