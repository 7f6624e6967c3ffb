//! What a run has learned, read back from its checkpoint for use.

use std::str::FromStr;

use super::checkpoint::Checkpoint;
use super::evaluate::collect;
use crate::data::{DataSource, Dataset};
use crate::error::{Error, Result};
use crate::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, ResNet, ResNetConfig};
use crate::tensor::Tensor;

impl Checkpoint {
    /// The encoder that was trained, whose tensors are named `encoder.`: the preset of the configuration, for as many
    /// channels as the first convolution has.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such preset or no encoder.
    pub fn encoder(&self) -> Result<ResNetConfig> {
        let name = &self.meta.config.encoder;
        let config = ResNetConfig::preset(name).ok_or_else(|| self.error(format!("no encoder {name}")))?;
        let stem = self.tensor("encoder.conv1.weight").map(|t| &t.shape[..]);
        let Some(&[_, channels, _, _]) = stem else {
            return Err(self.error("no tensor encoder.conv1.weight".to_owned()));
        };
        Ok(ResNetConfig { channels, ..config })
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
        let encoder = ResNet::new(&build.scope("encoder"), &self.encoder()?);
        if !head {
            return Ok(Embedder { width: encoder.features(), encoder, projector: None, unit: false });
        }
        let config = self.projector().ok_or_else(|| self.error("the run has no projector".to_owned()))?;
        let width = config.widths.last().copied().unwrap_or_default();
        let projector = Some(Mlp::new(&build.scope("projector"), &config));
        Ok(Embedder { encoder, projector, unit: false, width })
    }

    /// Gives images the normalisation that the encoder was trained with, whatever their own colours are.
    ///
    /// # Errors
    /// [`Error::Argument`] if they have another number of channels than the encoder takes.
    pub fn fit(&self, images: &mut [&mut Dataset]) -> Result<()> {
        let takes = self.encoder()?.channels;
        if let Some(other) = images.iter().find(|data| data.channels != takes) {
            let (name, has, from) = (&other.name, other.channels, self.directory().display());
            return Err(Error::Argument(format!(
                "the images of {name} have {has} channels, and the encoder of {from} takes {takes}"
            )));
        }
        for data in images {
            [data.mean, data.std] = self.meta.normalization;
        }
        Ok(())
    }
}

/// An encoder, and a projector on it where it is asked for: images to the rows that another task uses.
#[derive(Debug, Clone)]
pub struct Embedder {
    encoder: ResNet,
    projector: Option<Mlp>,
    unit: bool,
    width: usize,
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
        self.width
    }

    /// Images `[n, h, w, c]` to rows `[n, width]`.
    ///
    /// # Panics
    /// If the images have another number of channels.
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
