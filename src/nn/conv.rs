//! 2-D convolution layer.

use super::builder::ParamBuilder;
use super::init::Init;
use super::params::Params;
use super::segments::{FileLayout, ParamId};
use crate::ops::Conv2dOptions;
use crate::tensor::Tensor;

/// A square convolution without bias, as ResNets use it: NHWC images, weights `[k, k, in, out]`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    pub(super) weight: ParamId,
    pub(super) options: Conv2dOptions,
}

impl Conv2d {
    /// Registers `weight`, which starts as torchvision's ResNet does: Kaiming normal, fan-out, ReLU gain.
    #[track_caller]
    #[must_use]
    pub fn new(
        build: &ParamBuilder,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        let init = Init::kaiming_fan_out(outputs * kernel * kernel);
        Self {
            weight: build.param("weight", [kernel, kernel, inputs, outputs], FileLayout::Conv, init),
            options: Conv2dOptions::new().stride(stride).padding(padding),
        }
    }

    /// `[n, h, w, in]` to `[n, h', w', out]`, `h' = (h + 2 padding - k) / stride + 1`.
    ///
    /// # Panics
    /// If `x` has another rank or number of channels, or is smaller than the kernel.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
        x.conv2d(&params.get_as(self.weight, x.dtype()), self.options)
    }
}
