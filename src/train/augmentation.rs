//! The augmentation of a recipe.

use serde::{Deserialize, Serialize};

use crate::data::{Blur, Crop, Dataset, Jitter, Recipe, Solarize};
use crate::error::{Error, Result};

/// `[augment]` of a recipe: what two views of an image may differ in, which is what the encoder learns to ignore.
///
/// The operations and their order are those of [`Recipe`]. Grey images have neither saturation, hue nor greying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Range of the random crop's area, as a share of the image's. Its aspect is 3/4 to 4/3.
    pub crop: [f64; 2],
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Probability of colour jitter.
    pub jitter_p: f64,
    /// Its strengths: brightness, contrast, saturation, hue.
    pub jitter: [f64; 4],
    /// Probability of greying.
    pub grayscale: f64,
    /// Probability of a Gaussian blur, its standard deviation .1 to 2 pixels.
    pub blur: f64,
    /// Probability of solarising from .5 on.
    pub solarize: f64,
}

impl Augmentation {
    /// One line about the first value that cannot be.
    pub(super) fn check(&self) -> Result<()> {
        let chances = [self.flip, self.jitter_p, self.grayscale, self.blur, self.solarize];
        let [low, high] = self.crop;
        let fits = 0.0 < low && low <= high && high <= 1.0 && chances.iter().all(|p| (0.0..=1.0).contains(p));
        let [strengths @ .., hue] = self.jitter;
        if fits && strengths.iter().all(|s| (0.0..f64::INFINITY).contains(s)) && (0.0..=0.5).contains(&hue) {
            return Ok(());
        }
        Err(Error::Argument(
            "recipe: [augment] has a probability, crop or hue out of range (0 to 1, hue 0 to .5)".to_owned(),
        ))
    }

    /// For the images of a data set, with its normalisation, at the images' size.
    #[must_use]
    pub fn recipe(&self, data: &Dataset) -> Recipe {
        let [low, high] = self.crop.map(|share| share as f32);
        let [brightness, contrast, saturation, hue] = self.jitter.map(|strength| strength as f32);
        let p = self.jitter_p as f32;
        let shortest = data.height.min(data.width);
        // SimCLR's kernel is a tenth of the image's height.
        let radius = (shortest / 20).max(1);
        Recipe {
            crop: (low < 1.0).then_some(Crop { scale: [low, high], ratio: [3.0 / 4.0, 4.0 / 3.0] }),
            flip: self.flip as f32,
            jitter: (p > 0.0).then_some(Jitter { p, brightness, contrast, saturation, hue }),
            grayscale: self.grayscale as f32,
            blur: (self.blur > 0.0).then_some(Blur { p: self.blur as f32, sigma: [0.1, 2.0], radius }),
            solarize: (self.solarize > 0.0).then_some(Solarize { p: self.solarize as f32, threshold: 0.5 }),
            ..Recipe::plain(data.mean, data.std)
        }
    }
}
