//! The encoder and projector of a run, read back from its checkpoint for use.

use std::str::FromStr;

use super::checkpoint::Checkpoint;
use super::evaluate::collect;
use crate::data::{DataSource, Dataset};
use crate::error::{Error, Result};
use crate::nn::{EncoderKind, Mlp, MlpConfig, Mode, Module, ParamBuilder, Params};
use crate::tensor::Tensor;

impl Checkpoint {
    /// The encoder that was trained, whose tensors are named `encoder.`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if no encoder has the name in the configuration.
    pub fn encoder(&self) -> Result<EncoderKind> {
        let name = &self.meta.config.encoder;
        EncoderKind::named(name).ok_or_else(|| self.error(format!("no encoder {name}")))
    }

    /// The projector on it, whose tensors are named `projector.`; `None` if the run has none that is an
    /// [`Mlp`](crate::nn::Mlp).
    #[must_use]
    pub fn projector(&self) -> Option<MlpConfig> {
        MlpConfig::of_tensors(|name| self.tensor(&format!("projector.{name}")).map(|t| &t.shape[..]))
    }

    /// Where the images of the run came from.
    ///
    /// # Errors
    /// [`Error::Argument`] if no version of this program knows the source.
    pub fn source(&self) -> Result<DataSource> {
        DataSource::from_str(&self.meta.config.data)
    }

    /// Registers the networks of the run, to be loaded with [`Checkpoint::load`]: scopes `encoder` and, with `head`,
    /// `projector`.
    ///
    /// # Errors
    /// As [`Checkpoint::encoder`]; [`Error::Checkpoint`] if there is no projector where one is asked for.
    pub fn embedder(&self, build: &ParamBuilder, head: bool) -> Result<Embedder> {
        let encoder = self.encoder()?.build(&build.scope("encoder"), self.meta.image);
        if !head {
            return Ok(Embedder { encoder, projector: None, unit: false });
        }
        let config = self.projector().ok_or_else(|| self.error("the run has no projector".to_owned()))?;
        let projector = Some(Mlp::new(&build.scope("projector"), &config));
        Ok(Embedder { encoder, projector, unit: false })
    }

    /// Gives images the normalisation that the encoder was trained with, whatever their own colours are.
    ///
    /// # Errors
    /// [`Error::Argument`] if they have another number of channels than the encoder takes, or, where it takes one size only,
    /// another size.
    pub fn fit(&self, images: &mut [&mut Dataset]) -> Result<()> {
        let (any_size, [height, width, channels]) = (self.encoder()?.any_size, self.meta.image);
        let refuse = |other: &Dataset, has: String, takes: String| {
            let (name, from) = (&other.name, self.directory().display());
            Error::Argument(format!(
                "the images of {name} have {has}, and the encoder of {from} takes {takes}"
            ))
        };
        for data in images.iter() {
            if data.channels != channels {
                return Err(refuse(data, format!("{} channels", data.channels), channels.to_string()));
            }
            let size = [data.height, data.width];
            if !any_size && size != [height, width] {
                let pixels = |[height, width]: [usize; 2]| format!("{height} x {width} pixels");
                return Err(refuse(data, pixels(size), pixels([height, width])));
            }
        }
        for data in images {
            [data.mean, data.std] = self.meta.normalization;
        }
        Ok(())
    }
}

/// An encoder, and a projector on it where it is asked for: images to the rows that another task uses.
#[derive(Debug)]
pub struct Embedder {
    encoder: Box<dyn Module>,
    projector: Option<Mlp>,
    unit: bool,
}

impl Embedder {
    /// The same with rows of unit length.
    #[must_use]
    pub fn unit(self, unit: bool) -> Self {
        Self { unit, ..self }
    }

    /// Numbers in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.projector.as_ref().map_or_else(|| self.encoder.features(), Mlp::features)
    }

    /// Images `[n, h, w, c]` to rows `[n, width]`.
    ///
    /// # Panics
    /// If the encoder does not take images of this shape; [`Checkpoint::fit`] says so beforehand.
    #[must_use]
    pub fn forward(&self, params: &Params, images: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.encoder.forward(params, images, mode);
        if let Some(projector) = &self.projector {
            x = projector.forward(params, &x, mode);
        }
        if self.unit { x.l2_normalize() } else { x }
    }

    /// The rows of a data set's images as they are, in eval mode and without a graph.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn rows(&self, params: &Params, data: &Dataset) -> Result<Tensor> {
        let params = params.frozen();
        collect(params.gpu(), data, |images| {
            self.forward(&params, &images.normalize(data.mean, data.std), Mode::Eval)
        })
    }
}
