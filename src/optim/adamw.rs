//! Adam with decoupled weight decay.

use super::optimizer::Optimizer;
use super::segments::{Group, check_flat, upload_groups};
use crate::error::Result;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::{Params, Segment};
use crate::tensor::Tensor;

static SOURCE: Source = source!("adamw.wgsl");
static ADAMW: Kernel = SOURCE.kernel("adamw");

uniforms! {
    struct AdamWUniforms {
        n: u32,
        lr: f32,
        weight_decay: f32,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        correct1: f32,
        correct2: f32,
        eps: f32,
        steps: f32,
        log_beta1: f32,
        log_beta2: f32,
    }
}

/// Options of [`AdamW`]; `f64`, because `1 - beta` is formed before it is rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Decay of the mean and of the mean square.
    pub betas: (f64, f64),
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Weight decay, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWOptions {
    /// `torch.optim.AdamW`'s: betas (.9, .999), eps 1e-8, weight decay .01.
    fn default() -> Self {
        Self { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }
}

/// AdamW (Loshchilov & Hutter 2019) as `torch.optim.AdamW` without AMSGrad. One launch a step.
///
/// `w *= 1 - lr wd`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `w -= lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)`, `t` counted from 1 without skipped steps.
#[derive(Debug)]
pub struct AdamW {
    options: AdamWOptions,
    groups: Tensor,
    mean: Tensor,
    square: Tensor,
    steps: u64,
}

impl AdamW {
    /// State for `params`; `group_of` says how each parameter is treated.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(params: &Params, options: AdamWOptions, group_of: impl Fn(&Segment) -> Group) -> Result<Self> {
        let zeros = || params.gpu().zeros(params.flat().shape());
        Ok(Self {
            options,
            groups: upload_groups(params, group_of)?,
            mean: zeros()?,
            square: zeros()?,
            steps: 0,
        })
    }
}

impl Optimizer for AdamW {
    #[track_caller]
    fn step_guarded(&mut self, params: &Params, grads: &Tensor, lr: f32, guard: &Tensor) {
        let n = check_flat("AdamW", params, grads);
        self.steps += 1;
        let AdamWOptions { betas: (b1, b2), eps, weight_decay } = self.options;
        let correct = |beta: f64| (1.0 / (1.0 - beta.powf(self.steps as f64))) as f32;
        let launch = AdamWUniforms {
            n,
            lr,
            weight_decay: weight_decay as f32,
            beta1: b1 as f32,
            rest1: (1.0 - b1) as f32,
            beta2: b2 as f32,
            rest2: (1.0 - b2) as f32,
            correct1: correct(b1),
            correct2: correct(b2),
            eps: eps as f32,
            steps: self.steps as f32,
            log_beta1: b1.ln() as f32,
            log_beta2: b2.ln() as f32,
        };
        let (w, blocks) = (params.flat(), &params.table().block_segment);
        params.gpu().run(
            &ADAMW,
            &[w, &self.mean, &self.square, grads, blocks, &self.groups, guard],
            &launch,
            Grid::items(n),
            Work::new(112 * u64::from(n), 60 * u64::from(n)),
        );
    }

    fn state(&self) -> Vec<(&'static str, &Tensor)> {
        vec![("mean", &self.mean), ("square", &self.square)]
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }
}
