//! The type that activations are stored in.

use crate::gpu::Gpu;
use crate::tensor::DType;

/// The type that a network's activations and their gradients are stored in, and its weights are multiplied in. Opt-in, and
/// a property of the [`Params`](super::Params) that the modules run with.
///
/// Parameters, their gradients, statistics, losses and optimiser state are `f32` in either, and so is every sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// `f32` throughout.
    #[default]
    F32,
    /// Activations in `f16`: half the memory and traffic, and operands for matrix units where the adapter has them. Gradients
    /// need a [`LossScaler`](crate::optim::LossScaler), because the small ones would round to zero.
    F16,
}

impl Precision {
    /// The element type.
    #[must_use]
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }

    /// `f32` or `f16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// The precision of this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::F16].into_iter().find(|precision| precision.name() == name)
    }

    /// Whether the adapter has it.
    #[must_use]
    pub fn runs_on(self, gpu: &Gpu) -> bool {
        self == Self::F32 || gpu.info().f16
    }
}
