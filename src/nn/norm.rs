//! Normalisation layers.

use super::builder::ParamBuilder;
use super::init::Init;
use super::mode::Mode;
use super::params::Params;
use super::segments::{BufferId, FileLayout, ParamId};
use crate::ops::BatchNormOptions;
use crate::tensor::Tensor;

/// Batch normalisation over the last axis (Ioffe & Szegedy 2015) with PyTorch's defaults: eps 1e-5, momentum .1, biased
/// variance to normalise, unbiased in the running estimate.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    affine: Option<[ParamId; 2]>,
    running: [BufferId; 2],
}

impl BatchNorm {
    /// Registers `weight` (1) and `bias` (0), `running_mean` (0) and `running_var` (1), each `[channels]`.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, channels: usize) -> Self {
        Self::with_gamma(build, channels, 1.0)
    }

    /// The same with another initial `weight`; 0 makes a residual block start as the identity (Goyal et al. 2017).
    #[track_caller]
    #[must_use]
    pub fn with_gamma(build: &ParamBuilder, channels: usize, gamma: f32) -> Self {
        let affine = [("weight", gamma), ("bias", 0.0)]
            .map(|(name, value)| build.param(name, [channels], FileLayout::Same, Init::Constant(value)));
        Self { affine: Some(affine), ..Self::plain(build, channels) }
    }

    /// Without `weight` and `bias`: `y = (x - mean) / sqrt(var + eps)`.
    #[track_caller]
    #[must_use]
    pub fn plain(build: &ParamBuilder, channels: usize) -> Self {
        let running = [("running_mean", 0.0), ("running_var", 1.0)]
            .map(|(name, value)| build.buffer(name, [channels], value));
        Self { affine: None, running }
    }

    /// `[.., channels]` to the same shape. In [`Mode::Train`] the running statistics of `params` are updated.
    ///
    /// # Panics
    /// If the last axis is not `channels`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.apply(params, mode, None, false, |options| x.batch_norm(options))
    }

    /// `relu(forward(x))` in one pass.
    ///
    /// # Panics
    /// As [`BatchNorm::forward`].
    #[track_caller]
    #[must_use]
    pub fn forward_relu(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.apply(params, mode, None, true, |options| x.batch_norm(options))
    }

    /// Calls `normalise` with this layer's parameters and statistics, the residual to add and whether a ReLU follows.
    #[track_caller]
    pub(super) fn apply(
        &self,
        params: &Params,
        mode: Mode,
        residual: Option<&Tensor>,
        relu: bool,
        normalise: impl FnOnce(BatchNormOptions<'_>) -> Tensor,
    ) -> Tensor {
        let [mean, var] = self.running.map(|id| params.buffer(id));
        let mut options = match mode {
            Mode::Train => BatchNormOptions::train().running(&mean, &var),
            Mode::Eval => BatchNormOptions::eval(&mean, &var),
        };
        if let Some(residual) = residual {
            options = options.residual(residual);
        }
        if relu {
            options = options.relu();
        }
        match self.affine.map(|ids| ids.map(|id| params.get(id))) {
            Some([gamma, beta]) => normalise(options.affine(&gamma, &beta)),
            None => normalise(options),
        }
    }
}

/// Layer normalisation over the last axis (Ba, Kiros & Hinton 2016), eps 1e-5.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    affine: [ParamId; 2],
}

impl LayerNorm {
    /// Registers `weight` (1) and `bias` (0), each `[width]`.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, width: usize) -> Self {
        let affine = [("weight", 1.0), ("bias", 0.0)]
            .map(|(name, value)| build.param(name, [width], FileLayout::Same, Init::Constant(value)));
        Self { affine }
    }

    /// `[.., width]` to the same shape.
    ///
    /// # Panics
    /// If the last axis is not `width`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
        let [gamma, beta] = self.affine.map(|id| params.get(id));
        x.layer_norm(&gamma, &beta)
    }
}
