//! ResNet (He et al. 2016), with torchvision's structure and names.

use super::builder::ParamBuilder;
use super::conv_norm::ConvNorm;
use super::mode::Mode;
use super::module::Module;
use super::params::Params;
use crate::tensor::Tensor;

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stem {
    /// 3x3, stride 1: for 32 x 32 images, where the ImageNet stem costs about 20 points.
    Cifar,
    /// 3x3, stride 2: a quarter of the work, for CPU adapters.
    CifarStride2,
    /// 7x7, stride 2, then a 3x3 max-pool of stride 2.
    ImageNet,
}

/// The residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which carries the stride, as in torchvision), 1x1 to four times the width.
    Bottleneck,
}

impl Block {
    /// Output channels over width.
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Widths, depths and options of a [`ResNet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Channels of the images.
    pub channels: usize,
    /// The stem.
    pub stem: Stem,
    /// The block.
    pub block: Block,
    /// Width and number of blocks of each stage. Every stage but the first halves the image. The stem has the first width.
    pub stages: Vec<(usize, usize)>,
    /// Start the last batch norm of every block at 0, so that each block starts as the identity.
    pub zero_init_residual: bool,
}

impl ResNetConfig {
    fn with(block: Block, stages: &[(usize, usize)]) -> Self {
        Self { channels: 3, stem: Stem::Cifar, block, stages: stages.to_vec(), zero_init_residual: false }
    }

    /// Stages 8-16-32 of one basic block on one channel, stem of stride 2: about 1 GFLOP a step of 128 Fashion-MNIST
    /// images in two views.
    #[must_use]
    pub fn demo() -> Self {
        let config = Self::with(Block::Basic, &[(8, 1), (16, 1), (32, 1)]);
        Self { channels: 1, stem: Stem::CifarStride2, ..config }
    }

    /// Stages 16-32-64 of one basic block.
    #[must_use]
    pub fn resnet8() -> Self {
        Self::with(Block::Basic, &[(16, 1), (32, 1), (64, 1)])
    }

    /// ResNet-18: 512 features.
    #[must_use]
    pub fn resnet18() -> Self {
        Self::with(Block::Basic, &[(64, 2), (128, 2), (256, 2), (512, 2)])
    }

    /// ResNet-34: 512 features.
    #[must_use]
    pub fn resnet34() -> Self {
        Self::with(Block::Basic, &[(64, 3), (128, 4), (256, 6), (512, 3)])
    }

    /// ResNet-50: 2048 features.
    #[must_use]
    pub fn resnet50() -> Self {
        Self::with(Block::Bottleneck, &[(64, 3), (128, 4), (256, 6), (512, 3)])
    }

    /// The same with another stem; presets have [`Stem::Cifar`], torchvision's models [`Stem::ImageNet`].
    #[must_use]
    pub fn stem(self, stem: Stem) -> Self {
        Self { stem, ..self }
    }
}

/// An image encoder: NHWC images to pooled features.
///
/// Made at the root of a builder, its parameters carry torchvision's names; with a [`Linear`](super::Linear) in scope
/// `fc` they are the whole list of torchvision's model.
#[derive(Debug, Clone)]
pub struct ResNet {
    stem: ConvNorm,
    max_pool: bool,
    blocks: Vec<Residual>,
    features: usize,
}

/// A residual block: `relu(body(x) + shortcut(x))`, the body's convolutions each with batch norm and ReLU between them.
#[derive(Debug, Clone)]
struct Residual {
    body: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl ResNet {
    /// Registers all parameters.
    ///
    /// # Panics
    /// If `config` has no stage.
    #[track_caller]
    #[must_use]
    pub fn new(build: &ParamBuilder, config: &ResNetConfig) -> Self {
        assert!(!config.stages.is_empty(), "ResNet: no stages");
        let mut width = config.stages[0].0;
        let (kernel, stride) = match config.stem {
            Stem::Cifar => (3, 1),
            Stem::CifarStride2 => (3, 2),
            Stem::ImageNet => (7, 2),
        };
        let stem = ConvNorm::named(build, ["conv1", "bn1"], [config.channels, width], [kernel, stride], 1.0);
        let mut blocks = vec![];
        for (i, &(planes, count)) in config.stages.iter().enumerate() {
            for j in 0..count {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let scope = build.scope(format_args!("layer{}.{j}", i + 1));
                blocks.push(Residual::new(&scope, config, width, planes, stride));
                width = planes * config.block.expansion();
            }
        }
        Self { stem, max_pool: config.stem == Stem::ImageNet, blocks, features: width }
    }

    /// Width of the pooled features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// Images `[n, h, w, c]` to features `[n, features]`, averaged over the last map; `f32`, with the activations between in
    /// the precision of `params`.
    ///
    /// # Panics
    /// If `images` has another rank or number of channels.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, params: &Params, images: &Tensor, mode: Mode) -> Tensor {
        let images = &params.activations(images);
        let mut x = self.stem.forward_relu(params, images, mode);
        if self.max_pool {
            x = x.max_pool2d(3, 2, 1);
        }
        for block in &self.blocks {
            x = block.forward(params, &x, mode);
        }
        x.global_avg_pool()
    }
}

impl Module for ResNet {
    fn features(&self) -> usize {
        self.features
    }

    #[track_caller]
    fn forward(&self, params: &Params, images: &Tensor, mode: Mode) -> Tensor {
        self.forward(params, images, mode)
    }
}

impl Residual {
    fn new(build: &ParamBuilder, config: &ResNetConfig, inputs: usize, planes: usize, stride: usize) -> Self {
        let outputs = planes * config.block.expansion();
        // Kernel, stride and outputs of each convolution.
        let plan: &[(usize, usize, usize)] = match config.block {
            Block::Basic => &[(3, stride, planes), (3, 1, planes)],
            Block::Bottleneck => &[(1, 1, planes), (3, stride, planes), (1, 1, outputs)],
        };
        let mut from = inputs;
        let mut body = vec![];
        for (i, &(kernel, stride, to)) in plan.iter().enumerate() {
            let names = [format!("conv{}", i + 1), format!("bn{}", i + 1)];
            let names = names.each_ref().map(String::as_str);
            let gamma = if config.zero_init_residual && i + 1 == plan.len() { 0.0 } else { 1.0 };
            body.push(ConvNorm::named(build, names, [from, to], [kernel, stride], gamma));
            from = to;
        }
        let shortcut = (stride != 1 || inputs != outputs).then(|| {
            let names = ["downsample.0", "downsample.1"];
            ConvNorm::named(build, names, [inputs, outputs], [1, stride], 1.0)
        });
        Self { body, shortcut }
    }

    fn forward(&self, params: &Params, x: &Tensor, mode: Mode) -> Tensor {
        let shortcut = self.shortcut.as_ref().map_or_else(|| x.clone(), |s| s.forward(params, x, mode));
        let (last, first) = self.body.split_last().expect("two or three layers");
        let y = first.iter().fold(x.clone(), |y, layer| layer.forward_relu(params, &y, mode));
        last.forward_add_relu(params, &y, &shortcut, mode)
    }
}
