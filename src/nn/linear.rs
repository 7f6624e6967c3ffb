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
        Self::with_init(build, inputs, outputs, init, bias.then_some(init))
    }

    /// The same with other initial values; no bias where there is none for it.
    #[track_caller]
    #[must_use]
    pub fn with_init(
        build: &ParamBuilder,
        inputs: usize,
        outputs: usize,
        weight: Init,
        bias: Option<Init>,
    ) -> Self {
        Self {
            weight: build.param("weight", [inputs, outputs], FileLayout::Linear, weight),
            bias: bias.map(|bias| build.param("bias", [outputs], FileLayout::Same, bias)),
        }
    }

    /// Overwrites the weight by `weight` `[in, out]`; the bias keeps its values.
    ///
    /// # Panics
    /// If the shape is another.
    #[track_caller]
    pub fn set_weight(&self, params: &Params, weight: &Tensor) {
        params.get(self.weight).write_rows(0, weight);
    }

    /// `[n, in]` to `[n, out]`.
    ///
    /// # Panics
    /// If `x` is not `[n, in]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
        self.run(params, x, false)
    }

    /// [`Linear::forward`] and a ReLU, in one pass.
    ///
    /// # Panics
    /// If `x` is not `[n, in]`.
    #[track_caller]
    #[must_use]
    pub fn forward_relu(&self, params: &Params, x: &Tensor) -> Tensor {
        self.run(params, x, true)
    }

    #[track_caller]
    fn run(&self, params: &Params, x: &Tensor, relu: bool) -> Tensor {
        let bias = self.bias.map(|bias| params.get(bias));
        x.linear(&params.get_as(self.weight, x.dtype()), bias.as_ref(), relu)
    }
}
