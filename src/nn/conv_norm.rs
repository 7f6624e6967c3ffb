//! A convolution and the batch normalisation after it, as one layer.

use super::builder::ParamBuilder;
use super::conv::Conv2d;
use super::mode::Mode;
use super::norm::BatchNorm;
use super::params::Params;
use crate::tensor::Tensor;

/// [`Conv2d`] and then [`BatchNorm`], as [`Tensor::conv2d_batch_norm`] runs them: the normalisation, a residual and a ReLU in one
/// pass after the convolution.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    /// Registers the two layers in the scopes `conv` and `norm`: a square kernel, padded so that stride 1 keeps height and
    /// width.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Self {
        Self::named(build, ["conv", "norm"], [inputs, outputs], [kernel, stride], 1.0)
    }

    /// The same in scopes of these names, for networks whose names are fixed, and with the normalisation's initial weight
    /// `gamma`.
    #[track_caller]
    pub(super) fn named(
        build: &ParamBuilder,
        [conv, norm]: [&str; 2],
        [inputs, outputs]: [usize; 2],
        [kernel, stride]: [usize; 2],
        gamma: f32,
    ) -> Self {
        let conv = Conv2d::new(&build.scope(conv), inputs, outputs, kernel, stride, kernel / 2);
        Self { conv, norm: BatchNorm::with_gamma(&build.scope(norm), outputs, gamma) }
    }

    /// `[n, h, w, inputs]` to `[n, h', w', outputs]`, `h' = h / stride` rounded up for an odd kernel. In [`Mode::Train`] the
    /// running statistics of `params` are updated.
    ///
    /// # Panics
    /// If `x` has another rank or number of channels, or is smaller than the kernel.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.run(params, x, mode, None, false)
    }

    /// `relu(forward(x))`.
    ///
    /// # Panics
    /// As [`ConvNorm::forward`].
    #[track_caller]
    #[must_use]
    pub fn forward_relu(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.run(params, x, mode, None, true)
    }

    /// `relu(forward(x) + residual)`.
    ///
    /// # Panics
    /// As [`ConvNorm::forward`], and if `residual` does not have the shape of its result.
    #[track_caller]
    #[must_use]
    pub fn forward_add_relu(&self, params: &Params, x: &Tensor, residual: &Tensor, mode: Mode) -> Tensor {
        self.run(params, x, mode, Some(residual), true)
    }

    #[track_caller]
    fn run(&self, params: &Params, x: &Tensor, mode: Mode, residual: Option<&Tensor>, relu: bool) -> Tensor {
        let (weight, conv) = (params.get_as(self.conv.weight, x.dtype()), self.conv.options);
        self.norm.apply(params, mode, residual, relu, |norm| x.conv2d_batch_norm(&weight, conv, norm))
    }
}
