//! wgrad.

pub mod autograd;
#[cfg(feature = "data")]
pub mod data;
pub mod error;
pub mod eval;
pub mod gpu;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod reference;
pub mod rng;
pub mod shape;
pub mod ssl;
pub mod tensor;
#[cfg(feature = "train")]
pub mod train;

pub use autograd::Gradients;
pub use error::{Error, Result};
pub use gpu::{Gpu, GpuBuilder, Kernel};
pub use rng::Rng;
pub use shape::Shape;
pub use tensor::{DType, Tensor};
