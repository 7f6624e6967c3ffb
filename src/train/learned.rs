//! What a run has learned, read back from its checkpoint for use.

use std::str::FromStr;

use super::checkpoint::Checkpoint;
use crate::data::{DataSource, Dataset};
use crate::error::{Error, Result};
use crate::nn::{MlpConfig, ResNetConfig};

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

    /// Gives images of another source the normalisation that the encoder was trained with; the run's own images are read for
    /// it. `Ok(false)` if they cannot be: the images then keep their own.
    ///
    /// # Errors
    /// [`Error::Argument`] if the images have another number of channels than the encoder takes.
    pub fn fit(&self, source: &DataSource, images: &mut [&mut Dataset]) -> Result<bool> {
        let takes = self.encoder()?.channels;
        if let Some(other) = images.iter().find(|data| data.channels != takes) {
            let (name, has, from) = (&other.name, other.channels, self.directory().display());
            return Err(Error::Argument(format!(
                "the images of {name} have {has} channels, and the encoder of {from} takes {takes}"
            )));
        }
        let own = self.source()?;
        if own == *source {
            return Ok(true);
        }
        let Ok(splits) = own.load() else { return Ok(false) };
        for data in images {
            (data.mean, data.std) = (splits.train.mean, splits.train.std);
        }
        Ok(true)
    }
}
