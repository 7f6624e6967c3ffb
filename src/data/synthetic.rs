//! Images whose class is known by construction: for tests, and for figures that need no download.

use super::dataset::{Dataset, Splits};
use crate::rng::{below, philox, streams};

/// Stripes. The class decides their direction and spacing; phase, two colours and noise are drawn for each image. All
/// integers, so the bytes are the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Classes, at most [`Synthetic::MAX_CLASSES`].
    pub classes: usize,
    /// Height and width.
    pub size: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Largest deviation of a pixel from its stripe, in grey levels.
    pub noise: u32,
    /// Seed of everything drawn.
    pub seed: u32,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self { train: 2000, test: 400, classes: 10, size: 32, channels: 3, noise: 32, seed: 0 }
    }
}

/// Directions across the stripes, from along x to along y. A horizontal flip maps none of them to another.
const DIRECTIONS: [[i32; 2]; 5] = [[5, 0], [4, 3], [3, 4], [0, 5], [4, 1]];
/// Phase steps a pixel and unit of direction; a period is 256 steps.
const SPACINGS: [i32; 4] = [6, 12, 3, 9];

impl Synthetic {
    /// Five directions in four spacings.
    pub const MAX_CLASSES: usize = DIRECTIONS.len() * SPACINGS.len();

    /// Makes the images. Image i has class i modulo the number of classes.
    ///
    /// # Panics
    /// If `classes` or `channels` is out of its range.
    #[must_use]
    pub fn build(&self) -> Splits {
        assert!((1..=Self::MAX_CLASSES).contains(&self.classes), "synthetic: {} classes", self.classes);
        assert!(matches!(self.channels, 1 | 3), "synthetic: {} channels", self.channels);
        let mut train = self.split(0, self.train);
        let mut test = self.split(1, self.test);
        (train.mean, train.std) = train.measure();
        (test.mean, test.std) = (train.mean, train.std);
        Splits { train, test }
    }

    fn split(&self, part: u32, count: usize) -> Dataset {
        let mut images = Vec::with_capacity(count * self.size * self.size * self.channels);
        for i in 0..count {
            self.draw(part, i as u32, i % self.classes, &mut images);
        }
        Dataset {
            name: "synthetic".into(),
            images,
            labels: (0..count).map(|i| (i % self.classes) as u32).collect(),
            height: self.size,
            width: self.size,
            channels: self.channels,
            class_names: (0..self.classes).map(|class| class.to_string()).collect(),
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    fn draw(&self, part: u32, image: u32, class: usize, pixels: &mut Vec<u8>) {
        let block = |draw: u32| philox([draw, image, part, 0], [self.seed, streams::SYNTHETIC]);
        let ([dx, dy], spacing) = (DIRECTIONS[class % DIRECTIONS.len()], SPACINGS[class / DIRECTIONS.len()]);
        let [phase, dark, light, _] = block(0);
        let mut noise = (1..).flat_map(block);
        for y in 0..self.size as i32 {
            for x in 0..self.size as i32 {
                // A triangle wave in 0..128 along the direction.
                let step = (spacing * (dx * x + dy * y) + below(phase, 256) as i32) % 256;
                let wave = if step < 128 { step } else { 255 - step };
                for c in 0..self.channels {
                    let low = (dark >> (8 * c) & 0x7f) as i32;
                    let high = (light >> (8 * c) & 0x7f | 0x80) as i32;
                    let deviation =
                        below(noise.next().unwrap_or(0), 2 * self.noise + 1) as i32 - self.noise as i32;
                    pixels.push((low + (high - low) * wave / 127 + deviation).clamp(0, 255) as u8);
                }
            }
        }
    }
}
