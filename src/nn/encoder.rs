//! Encoders by name, each behind the same trait, so that a program runs with any of them.

use super::builder::ParamBuilder;
use super::heads::{Mlp, MlpConfig};
use super::module::Module;
use super::resnet::{ResNet, ResNetConfig};

/// An encoder of NHWC images, by name.
///
/// Recipes, checkpoints and `--encoder` name a kind. To add one, implement [`Module`] in a file beside this one, name the file
/// in `nn/mod.rs`, and add a line to [`EncoderKind::ALL`].
#[derive(Debug, Clone, Copy)]
pub struct EncoderKind {
    /// The name.
    pub name: &'static str,
    /// Whether one network takes images of any height and width. If not, only those that it was made for.
    pub any_size: bool,
    make: fn(&ParamBuilder, [usize; 3]) -> Box<dyn Module>,
}

impl EncoderKind {
    /// Every kind: the ResNets, `tiny` being [`ResNetConfig::demo`], and a perceptron of two layers, 256 and 128 wide, on the
    /// pixels.
    pub const ALL: &[Self] = &[
        Self::sized("tiny", |build, dims| resnet(build, dims, ResNetConfig::demo())),
        Self::sized("resnet8", |build, dims| resnet(build, dims, ResNetConfig::resnet8())),
        Self::sized("resnet18", |build, dims| resnet(build, dims, ResNetConfig::resnet18())),
        Self::sized("resnet34", |build, dims| resnet(build, dims, ResNetConfig::resnet34())),
        Self::sized("resnet50", |build, dims| resnet(build, dims, ResNetConfig::resnet50())),
        Self { any_size: false, ..Self::sized("mlp", mlp) },
    ];

    /// A kind for images of any size.
    const fn sized(name: &'static str, make: fn(&ParamBuilder, [usize; 3]) -> Box<dyn Module>) -> Self {
        Self { name, any_size: true, make }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name == name)
    }

    /// All names, between commas.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
    }

    /// Registers an encoder of images with `dims`: height, width, channels.
    #[track_caller]
    #[must_use]
    pub fn build(self, build: &ParamBuilder, dims: [usize; 3]) -> Box<dyn Module> {
        (self.make)(build, dims)
    }
}

fn resnet(build: &ParamBuilder, [_, _, channels]: [usize; 3], config: ResNetConfig) -> Box<dyn Module> {
    Box::new(ResNet::new(build, &ResNetConfig { channels, ..config }))
}

fn mlp(build: &ParamBuilder, dims: [usize; 3]) -> Box<dyn Module> {
    Box::new(Mlp::new(build, &MlpConfig::simclr(dims.iter().product(), &[256, 128])))
}
