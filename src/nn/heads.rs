//! Heads: what stands on the encoder while it is trained.

use super::Mode;
use super::builder::ParamBuilder;
use super::linear::Linear;
use super::norm::BatchNorm;
use super::params::Params;
use crate::tensor::{DType, Tensor};

/// Normalisation after the last layer of an [`Mlp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastNorm {
    /// None.
    None,
    /// Batch normalisation with weight and bias.
    Batch,
    /// Batch normalisation without them, as the end of SimSiam's projector.
    Plain,
}

/// Widths and options of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlpConfig {
    /// Input width, hidden widths, output width.
    pub widths: Vec<usize>,
    /// Batch normalisation after every hidden layer.
    pub hidden_norm: bool,
    /// Bias of hidden layers; batch normalisation after them makes it idle.
    pub hidden_bias: bool,
    /// Normalisation after the last layer.
    pub last_norm: LastNorm,
    /// Bias of the last layer.
    pub last_bias: bool,
}

impl MlpConfig {
    /// Linear layers with bias and ReLU between them.
    #[must_use]
    pub fn plain(widths: &[usize]) -> Self {
        Self {
            widths: widths.to_vec(),
            hidden_norm: false,
            hidden_bias: true,
            last_norm: LastNorm::None,
            last_bias: true,
        }
    }

    /// SimCLR's projector (Chen et al. 2020): linear, batch norm, ReLU, linear.
    #[must_use]
    pub fn simclr(inputs: usize, hidden: usize, outputs: usize) -> Self {
        Self { hidden_norm: true, hidden_bias: false, ..Self::plain(&[inputs, hidden, outputs]) }
    }
}

/// Linear layers with ReLU between them: a projector or predictor.
///
/// Parameters are named as in a `torch.nn.Sequential` of the same layers: `0.weight`, `1.weight` (batch norm), `3.weight`.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<(Linear, Option<BatchNorm>)>,
}

impl Mlp {
    /// Registers the layers.
    ///
    /// # Panics
    /// If there are fewer than two widths.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, config: &MlpConfig) -> Self {
        let MlpConfig { widths, hidden_norm, hidden_bias, last_norm, last_bias } = config;
        assert!(widths.len() >= 2, "Mlp: widths {widths:?} name no layer");
        let mut place = 0;
        let mut next = |modules| {
            let scope = build.scope(place);
            place += modules;
            scope
        };
        let mut layers = vec![];
        for (i, pair) in widths.windows(2).enumerate() {
            let last = i + 2 == widths.len();
            let norm = match (last, last_norm) {
                (false, _) if *hidden_norm => LastNorm::Batch,
                (false, _) => LastNorm::None,
                (true, norm) => *norm,
            };
            let linear =
                Linear::new(&next(1), pair[0], pair[1], if last { *last_bias } else { *hidden_bias });
            let norm = match norm {
                LastNorm::None => None,
                LastNorm::Batch => Some(BatchNorm::new(&next(1), pair[1])),
                LastNorm::Plain => Some(BatchNorm::plain(&next(1), pair[1])),
            };
            next(1); // the ReLU's place
            layers.push((linear, norm));
        }
        Self { layers }
    }

    /// `[n, in]` to `[n, out]`; `f32`, since a loss comes next, with the layers between in the precision of `params`.
    ///
    /// # Panics
    /// If `x` is not `[n, in]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        let mut x = x.cast(params.precision().dtype());
        for (i, (linear, norm)) in self.layers.iter().enumerate() {
            let hidden = i + 1 < self.layers.len();
            x = match norm {
                None if hidden => linear.forward_relu(params, &x),
                None => linear.forward(params, &x),
                Some(norm) if hidden => norm.forward_relu(params, &linear.forward(params, &x), mode),
                Some(norm) => norm.forward(params, &linear.forward(params, &x), mode),
            };
        }
        x.cast(DType::F32)
    }
}
