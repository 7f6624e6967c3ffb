//! Initial values, drawn on the CPU so that every adapter starts from the same bits.

use crate::rng::Rng;

/// How a parameter starts. The defaults of each layer are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half the width of the interval.
        bound: f32,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
}

impl Init {
    /// `kaiming_normal_(mode="fan_out", nonlinearity="relu")`: std = sqrt(2 / fan_out), fan_out = `out * kh * kw`.
    ///
    /// torchvision's choice for ResNet convolutions (He et al. 2015, equation 14).
    #[must_use]
    pub fn kaiming_fan_out(fan_out: usize) -> Self {
        Self::Normal { std: (2.0 / fan_out as f64).sqrt() as f32 }
    }

    /// `kaiming_uniform_(a=sqrt(5))`, PyTorch's default for linear weights, and for their biases: bound = 1 / sqrt(fan_in).
    #[must_use]
    pub fn linear(fan_in: usize) -> Self {
        Self::Uniform { bound: (1.0 / fan_in as f64).sqrt() as f32 }
    }

    /// Fills `values`.
    pub(super) fn fill(self, values: &mut [f32], rng: &mut Rng) {
        for value in values {
            *value = match self {
                Self::Constant(c) => c,
                Self::Uniform { bound } => bound * (2.0 * rng.uniform() - 1.0),
                Self::Normal { std } => std * rng.normal(),
            };
        }
    }
}
