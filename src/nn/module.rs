//! The trait that encoders and heads share.

use std::fmt::Debug;

use super::mode::Mode;
use super::params::Params;
use crate::tensor::Tensor;

/// A network from a batch to one row of features an element: an encoder of images, or a head on features.
pub trait Module: Debug {
    /// Numbers in a row of features.
    fn features(&self) -> usize;

    /// A batch of n, `[n, ..]`, to features `[n, features]`; `f32`, whatever the precision of `params`.
    ///
    /// # Panics
    /// If the axes of `x` after the first are not those that the module was made for.
    #[track_caller]
    fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor;
}
