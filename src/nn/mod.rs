//! Networks: modules are fields and a `forward`, their weights live apart in [`Params`].
//!
//! A module holds [`ParamId`]s, not tensors. The same module run with another [`Params`] is another network: the
//! teacher of an EMA method is `params.fork()`, and nothing of the module is copied. Training or evaluation is an
//! argument ([`Mode`]), never a state.
//!
//! ```no_run
//! use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet, ResNetConfig};
//! # fn main() -> wgrad::Result<()> {
//! let gpu = wgrad::Gpu::new()?;
//! let build = ParamBuilder::new(wgrad::Rng::new(1));
//! let encoder = ResNet::new(&build, &ResNetConfig::resnet8());
//! let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), &[64, 32]));
//! let params = build.finish(&gpu)?;
//!
//! let images = gpu.zeros([4, 32, 32, 3])?;
//! let z = projector.forward(&params, &encoder.forward(&params, &images, Mode::Train), Mode::Train);
//! assert_eq!(*z.shape(), [4, 32]);
//! # Ok(())
//! # }
//! ```
//!
//! A module of your own is the same: fields, and a `forward` that takes its input by [`Params::activations`] and its weights by
//! [`Params::operand`], so that it runs in either [`Precision`].
//!
//! [`EncoderKind`] names the encoders, all behind the trait [`Module`]: a program that takes a name runs with any of them.
//!
//! A scheme where modules own their tensors (as in PyTorch) was not taken: optimisers, teachers and checkpoints would
//! walk the module tree, and every one of their steps would be one launch a tensor.

mod builder;
mod conv;
mod conv_norm;
mod encoder;
mod heads;
mod init;
mod linear;
mod mode;
mod module;
mod norm;
mod params;
mod precision;
mod resnet;
mod safetensors;
mod segments;

pub use builder::ParamBuilder;
pub use conv::Conv2d;
pub use conv_norm::ConvNorm;
pub use encoder::EncoderKind;
pub use heads::{Classifier, DinoHead, DinoHeadConfig, LastNorm, Mlp, MlpConfig, Prototypes};
pub use init::Init;
pub use linear::Linear;
pub use mode::Mode;
pub use module::Module;
pub use norm::{BatchNorm, LayerNorm};
pub use params::Params;
pub use precision::Precision;
pub use resnet::{Block, ResNet, ResNetConfig, Stem};
pub use safetensors::{NamedTensor, read_safetensors, write_safetensors};
pub use segments::{BufferId, FileLayout, ParamId, Segment, SegmentTable};

use crate::tensor::Tensor;

/// `forward` on `parts` equal parts of the rows of `x`, its outputs one after another: batch normalisation inside sees a part at
/// a time, as if each were on a device of its own.
///
/// MoCo needs it on one device, with [`Shuffle`](crate::ssl::Shuffle). Running statistics are updated once a part.
///
/// # Panics
/// If `parts` is 0 or does not divide the rows.
#[track_caller]
#[must_use]
pub fn in_parts(x: &Tensor, parts: usize, forward: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let rows = x.shape()[0];
    assert!(parts > 0 && rows.is_multiple_of(parts), "in_parts: {parts} parts of {rows} rows");
    if parts == 1 {
        return forward(x);
    }
    let size = rows / parts;
    let outputs: Vec<Tensor> = (0..parts).map(|i| forward(&x.slice_rows(i * size, size))).collect();
    Tensor::concat_rows(&outputs.iter().collect::<Vec<_>>())
}
