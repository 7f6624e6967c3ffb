//! A set of labelled images in memory.

/// Images of one size, as bytes, and their classes where these are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What it is called in messages and run directories.
    pub name: String,
    /// Pixels, NHWC.
    pub images: Vec<u8>,
    /// One class number an image; 0 where there are no classes.
    pub labels: Vec<u32>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// One name a class; none where the classes of the images are not known.
    pub class_names: Vec<String>,
    /// Mean of each channel in [0, 1] over the training images; one channel repeats its value.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, likewise.
    pub std: [f32; 3],
}

/// The two parts of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// For training, and the bank of the kNN evaluation.
    pub train: Dataset,
    /// For evaluation only.
    pub test: Dataset,
}

/// All images of a source, to look at rather than to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The images: the training part, then the test part.
    pub images: Dataset,
    /// The name of each: its path in a folder, otherwise its part and its number there, as `test/17`.
    pub names: Vec<String>,
}

impl Listing {
    /// Both parts of a data set, named by part and number.
    pub(super) fn of(splits: Splits) -> Self {
        let numbered =
            |part: &'static str, data: &Dataset| (0..data.len()).map(move |i| format!("{part}/{i}"));
        let names = numbered("train", &splits.train).chain(numbered("test", &splits.test)).collect();
        Self { images: splits.join(), names }
    }
}

impl Splits {
    /// The training part, then the test part, as one set.
    #[must_use]
    pub fn join(self) -> Dataset {
        let Self { train: mut all, test } = self;
        all.images.extend(test.images);
        all.labels.extend(test.labels);
        all
    }
}

impl Dataset {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Height, width, channels.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Bytes of one image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The bytes of image `i`, HWC.
    ///
    /// # Panics
    /// If there is no image `i`.
    #[must_use]
    pub fn image(&self, i: usize) -> &[u8] {
        &self.images[i * self.image_len()..][..self.image_len()]
    }

    /// Keeps the first `count` images.
    pub fn truncate(&mut self, count: usize) {
        self.labels.truncate(count);
        self.images.truncate(count * self.image_len());
    }

    /// Mean and standard deviation of each channel in [0, 1], from integer sums and so exact in any order. A blank
    /// set (no image, or one colour) gets a deviation of 1, so that normalising stays finite.
    #[must_use]
    pub fn measure(&self) -> ([f32; 3], [f32; 3]) {
        let (mut mean, mut std) = ([0.0; 3], [1.0; 3]);
        for c in 0..3 {
            let channel = self.images.iter().skip(c % self.channels).step_by(self.channels);
            let (mut n, mut sum, mut squares) = (0u64, 0u64, 0u64);
            for &byte in channel {
                n += 1;
                sum += u64::from(byte);
                squares += u64::from(byte) * u64::from(byte);
            }
            if n > 0 {
                let m = sum as f64 / n as f64;
                let variance = squares as f64 / n as f64 - m * m;
                mean[c] = (m / 255.0) as f32;
                std[c] = if variance > 0.0 { (variance.sqrt() / 255.0) as f32 } else { 1.0 };
            }
        }
        (mean, std)
    }
}
