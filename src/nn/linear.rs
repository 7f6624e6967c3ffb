//! Fully connected layer.

use super::builder::ParamBuilder;
use super::init::Init;
use super::params::Params;
use super::segments::{FileLayout, ParamId};
use crate::tensor::Tensor;

/// `y = x W + b` with `W` `[in, out]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// Registers `weight` and, if wanted, `bias`; both start uniform in ±1/sqrt(inputs), as in PyTorch.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, inputs: usize, outputs: usize, bias: bool) -> Self {
        let init = Init::linear(inputs);
        Self {
            weight: build.param("weight", [inputs, outputs], FileLayout::Linear, init),
            bias: bias.then(|| build.param("bias", [outputs], FileLayout::Same, init)),
        }
    }

    /// `[n, in]` to `[n, out]`.
    ///
    /// # Panics
    /// If `x` is not `[n, in]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
        let y = x.matmul(&params.get_as(self.weight, x.dtype()));
        match self.bias {
            Some(bias) => y.add(&params.get_as(bias, x.dtype())),
            None => y,
        }
    }
}
