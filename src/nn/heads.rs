//! Heads: networks from an encoder's features to the values that a loss takes. They are dropped after training.

use super::builder::ParamBuilder;
use super::init::Init;
use super::linear::Linear;
use super::mode::Mode;
use super::module::Module;
use super::norm::BatchNorm;
use super::params::Params;
use super::segments::{FileLayout, ParamId};
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

    /// SimCLR's projector (Chen et al. 2020): linear, batch norm and ReLU for every hidden layer, linear. One width is a
    /// linear layer, as in MoCo v1.
    #[must_use]
    pub fn simclr(inputs: usize, widths: &[usize]) -> Self {
        Self { hidden_norm: true, hidden_bias: false, ..Self::plain(&[&[inputs], widths].concat()) }
    }

    /// SimSiam's projector (Chen & He 2021, section 3): batch norm after every layer, the last one without weight and bias.
    ///
    /// The paper has three layers of 2048; on CIFAR-10 two: `&[2048, 2048]`.
    #[must_use]
    pub fn simsiam(inputs: usize, widths: &[usize]) -> Self {
        Self { last_norm: LastNorm::Plain, last_bias: false, ..Self::simclr(inputs, widths) }
    }

    /// The predictor of SimSiam (hidden width a quarter of `width`), BYOL (Grill et al. 2020, section 3.3) and NNCLR: `width`
    /// to `hidden` to `width`, batch norm on the hidden layer only. Without it SimSiam collapses.
    #[must_use]
    pub fn predictor(width: usize, hidden: usize) -> Self {
        Self::simclr(width, &[hidden, width])
    }

    /// The expander of VICReg (Bardes et al. 2022, section 4.2), Barlow Twins' projector as well: batch norm on hidden
    /// layers, the last one linear and without bias. Both papers have `&[8192, 8192, 8192]`; 2048 for small images.
    #[must_use]
    pub fn vicreg(inputs: usize, widths: &[usize]) -> Self {
        Self { last_bias: false, ..Self::simclr(inputs, widths) }
    }
}

impl MlpConfig {
    /// The configuration of an [`Mlp`] from the names and shapes of its tensors in a file: `shape("0.weight")` is
    /// `[outputs, inputs]` of the first layer. `None` if there is no such layer.
    #[must_use]
    pub fn of_tensors<'a>(shape: impl Fn(&str) -> Option<&'a [usize]>) -> Option<Self> {
        let mut config = Self { hidden_bias: false, last_bias: false, ..Self::plain(&[]) };
        let (mut place, mut previous) = (0, None);
        while let Some(&[outputs, inputs]) = shape(&format!("{place}.weight")) {
            // The previous layer is a hidden one, since another follows: its norm and bias are those of hidden layers.
            if let Some((norm, bias)) = previous {
                config.hidden_norm |= norm != LastNorm::None;
                config.hidden_bias |= bias;
            } else {
                config.widths.push(inputs);
            }
            config.widths.push(outputs);
            let has = |at: usize, name: &str| shape(&format!("{at}.{name}")).is_some();
            let norm = match has(place + 1, "running_mean") {
                true if has(place + 1, "weight") => LastNorm::Batch,
                true => LastNorm::Plain,
                false => LastNorm::None,
            };
            previous = Some((norm, has(place, "bias")));
            place += if norm == LastNorm::None { 2 } else { 3 };
        }
        (config.last_norm, config.last_bias) = previous?;
        Some(config)
    }
}

/// Linear layers with ReLU between them: a projector or predictor.
///
/// Parameters are named as in a `torch.nn.Sequential` of the same layers: `0.weight`, `1.weight` (batch norm), `3.weight`.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<(Linear, Option<BatchNorm>)>,
    inputs: usize,
    outputs: usize,
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
        Self { layers, inputs: widths[0], outputs: widths[widths.len() - 1] }
    }

    /// Width of the output.
    #[must_use]
    pub fn features(&self) -> usize {
        self.outputs
    }

    /// `[n, ..]`, `in` numbers an element, to `[n, out]`: an image is a row of its pixels. `f32`, with the layers between in
    /// the precision of `params`.
    ///
    /// # Panics
    /// If an element of `x` does not have `in` numbers.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        let rows = x.shape()[0];
        assert!(x.len() == rows * self.inputs, "Mlp: {} for {} inputs a row", x.shape(), self.inputs);
        let x = if x.shape().rank() == 2 { x.clone() } else { x.reshape([rows, self.inputs]) };
        let mut x = params.activations(&x);
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

impl Module for Mlp {
    fn features(&self) -> usize {
        self.outputs
    }

    #[track_caller]
    fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.forward(params, x, mode)
    }
}

/// A linear classifier of features.
///
/// Features as an encoder gives them first pass a batch normalisation without weight and bias, so that one learning rate
/// suits all of them (He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", appendix A.1).
#[derive(Debug, Clone)]
pub struct Classifier {
    norm: Option<BatchNorm>,
    linear: Linear,
}

impl Classifier {
    /// Registers `norm` and `fc`: a linear layer as PyTorch starts it, but for its bias of 0.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, width: usize, classes: usize) -> Self {
        let norm = Some(BatchNorm::plain(&build.scope("norm"), width));
        Self { norm, ..Self::of_units(build, width, classes) }
    }

    /// For rows of unit length, which need no normalisation: registers `fc` alone.
    #[track_caller]
    #[must_use]
    pub fn of_units(build: &ParamBuilder, width: usize, classes: usize) -> Self {
        let (weight, bias) = (Init::linear(width), Some(Init::Constant(0.0)));
        Self { norm: None, linear: Linear::with_init(&build.scope("fc"), width, classes, weight, bias) }
    }

    /// Makes the rows of `means` `[classes, width]` the weights, over a temperature: with unit rows, cosines over `tau`.
    ///
    /// # Panics
    /// If the shape is another.
    #[track_caller]
    pub fn start_at(&self, params: &Params, means: &Tensor, tau: f32) {
        self.linear.set_weight(params, &means.transpose().div_scalar(tau));
    }

    /// `[n, width]` to logits `[n, classes]`.
    ///
    /// # Panics
    /// If `x` is not `[n, width]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        let normal = self.norm.as_ref().map(|norm| norm.forward(params, x, mode));
        self.linear.forward(params, normal.as_ref().unwrap_or(x))
    }
}

/// A linear layer between unit vectors: `n(x) n(W)ᵀ`, the cosine of each row with each of K prototypes.
///
/// It is SwAV's layer of prototypes (Caron et al. 2020, section 3.1), and DINO's last layer: a linear layer under weight
/// normalisation (Salimans & Kingma 2016) with its lengths g fixed at 1. The rows of `weight` `[K, d]` are normalised on the
/// way, so an optimiser may move their length and changes nothing by it.
#[derive(Debug, Clone)]
pub struct Prototypes {
    weight: ParamId,
}

impl Prototypes {
    /// Registers `weight` `[count, width]`, uniform in ±1/sqrt(width) as a linear layer's.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, width: usize, count: usize) -> Self {
        Self { weight: build.param("weight", [count, width], FileLayout::Same, Init::linear(width)) }
    }

    /// `[n, width]` to cosines `[n, count]`, in `f32`. With `rest` the prototypes get no gradient: SwAV and DINO leave them
    /// alone during the first epoch.
    ///
    /// # Panics
    /// If `x` is not `[n, width]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, rest: bool) -> Tensor {
        let weight = params.get(self.weight);
        let weight = if rest { weight.stop_gradient() } else { weight };
        x.cast(DType::F32).l2_normalize().matmul_nt(&weight.l2_normalize())
    }
}

/// DINO's head (Caron et al. 2021, section 3.2 and appendix C): three linear layers with GELU between them down to a
/// bottleneck, whose rows are scaled to unit length, then [`Prototypes`].
///
/// Parameters are named as in the authors' code: `mlp.0`, `mlp.2`, `mlp.4` and `last_layer`, or with batch normalisation after
/// the hidden layers `mlp.0`, `mlp.1`, `mlp.3`, `mlp.4`, `mlp.6`. Theirs has none by default, for a ViT; on a small
/// ResNet, whose features all point one way at first, the teacher has nothing to sharpen without it. Weights start normal
/// with standard deviation .02, biases 0.
#[derive(Debug, Clone)]
pub struct DinoHead {
    layers: [Linear; 3],
    norms: Option<[BatchNorm; 2]>,
    last: Prototypes,
    outputs: usize,
}

/// Widths of a [`DinoHead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DinoHeadConfig {
    /// Of the encoder's features.
    pub inputs: usize,
    /// Of both hidden layers; 2048 in the paper.
    pub hidden: usize,
    /// Of the layer whose rows are scaled to unit length; 256 in the paper.
    pub bottleneck: usize,
    /// Of the logits, K; 65,536 in the paper.
    pub outputs: usize,
    /// Batch normalisation after the hidden layers.
    pub batch_norm: bool,
}

impl DinoHead {
    /// Registers the layers.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, config: &DinoHeadConfig) -> Self {
        let DinoHeadConfig { inputs, hidden, bottleneck, outputs, batch_norm } = *config;
        // Linear, perhaps batch norm, GELU: the places in a Sequential.
        let step = if batch_norm { 3 } else { 2 };
        let layer = |place: usize, from: usize, to: usize| {
            let scope = build.scope(format!("mlp.{place}"));
            Linear::with_init(&scope, from, to, Init::Normal { std: 0.02 }, Some(Init::Constant(0.0)))
        };
        let layers =
            [layer(0, inputs, hidden), layer(step, hidden, hidden), layer(2 * step, hidden, bottleneck)];
        let norm = |place: usize| BatchNorm::new(&build.scope(format!("mlp.{place}")), hidden);
        let norms = batch_norm.then(|| [norm(1), norm(step + 1)]);
        let last = Prototypes::new(&build.scope("last_layer"), bottleneck, outputs);
        Self { layers, norms, last, outputs }
    }

    /// `[n, inputs]` to logits `[n, outputs]` in [-1, 1], `f32`. With `rest` the last layer gets no gradient, as in the first
    /// epoch.
    ///
    /// # Panics
    /// If `x` is not `[n, inputs]`.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, x: &Tensor, mode: Mode, rest: bool) -> Tensor {
        let [first, second, third] = &self.layers;
        let hidden = |i: usize, layer: &Linear, x: &Tensor| {
            let y = layer.forward(params, x);
            self.norms.as_ref().map_or_else(|| y.clone(), |norms| norms[i].forward(params, &y, mode)).gelu()
        };
        let x = params.activations(x);
        let x = hidden(1, second, &hidden(0, first, &x));
        self.last.forward(params, &third.forward(params, &x), rest)
    }
}

impl Module for DinoHead {
    fn features(&self) -> usize {
        self.outputs
    }

    /// The logits, the last layer with its gradient.
    #[track_caller]
    fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        self.forward(params, x, mode, false)
    }
}
