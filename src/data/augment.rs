//! Augmentation on the GPU: a batch of bytes goes up, float views come out, in one launch (two with a blur).

use std::ops::Range;

use super::dataset::Dataset;
use super::loader::Batch;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::reference::augment::{Blur, Crop, CropPlan, Jitter, MAX_BLUR_RADIUS, Recipe, chance};
use crate::rng::streams;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use crate::{Gpu, Result};

static SOURCE: Source = source!("augment.wgsl");
static PLAIN_SOURCE: Source = source!("normalize_bytes.wgsl");
static NORMALIZE_BYTES: Kernel = PLAIN_SOURCE.kernel("normalize_bytes");

/// The two kernels for one number of channels.
struct Kernels {
    augment: Kernel,
    blur: Kernel,
}

const fn kernels(constants: &'static [(&'static str, f64)]) -> Kernels {
    Kernels { augment: SOURCE.kernel("augment").with(constants), blur: SOURCE.kernel("blur").with(constants) }
}

// By `Facts::narrow_workgroups` and channels.
static WIDE_1: Kernels = kernels(&[("WG", 64.0), ("CHANNELS", 1.0)]);
static WIDE_3: Kernels = kernels(&[("WG", 64.0), ("CHANNELS", 3.0)]);
static NARROW_1: Kernels = kernels(&[("WG", 8.0), ("CHANNELS", 1.0)]);
static NARROW_3: Kernels = kernels(&[("WG", 8.0), ("CHANNELS", 3.0)]);

uniforms! {
    struct Uniforms {
        images: u32, views: u32, first_view: u32, height: u32, width: u32, out_height: u32, out_width: u32,
        seed: u32, stream: u32, time: u32,
        tries: u32, scale_low: u32, scale_count: u32, area: f32, ratio_low: f32, inverse_high: f32, ratio_step: f32,
        center_top: u32, center_left: u32, center_height: u32, center_width: u32,
        flip: u32, jitter: u32, grayscale: u32, blur: u32, solarize: u32,
        brightness_low: f32, brightness_span: f32, contrast_low: f32, contrast_span: f32,
        saturation_low: f32, saturation_span: f32, hue_low: f32, hue_span: f32,
        radius: u32, sigma_low: f32, sigma_span: f32, threshold: f32,
        mean_0: f32, mean_1: f32, mean_2: f32, inverse_std_0: f32, inverse_std_1: f32, inverse_std_2: f32,
    }
}

uniforms! {
    struct PlainUniforms {
        n: u32, channels: u32,
        mean_0: f32, mean_1: f32, mean_2: f32, inverse_std_0: f32, inverse_std_1: f32, inverse_std_2: f32,
    }
}

/// A batch of images on the GPU, as bytes.
#[derive(Clone, Debug)]
pub struct Images {
    /// Four bytes a word, NHWC, the first in the lowest bits.
    bytes: Tensor,
    indices: Tensor,
    dims: [usize; 3],
}

impl Images {
    /// Uploads images of `dims` (height, width, channels) and their indices in the data set.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    ///
    /// # Panics
    /// If there are not `height * width * channels` bytes for each index, or `channels` is neither 1 nor 3.
    #[track_caller]
    pub fn new(gpu: &Gpu, bytes: &[u8], indices: &[u32], dims: [usize; 3]) -> Result<Self> {
        let [height, width, channels] = dims;
        let count = indices.len();
        assert!(
            bytes.len() == count * height * width * channels,
            "Images: {} bytes for {count} images of {dims:?}",
            bytes.len()
        );
        assert!(matches!(channels, 1 | 3), "Images: {channels} channels; 1 and 3 are known");
        let word = |four: &[u8]| four.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        let words: Vec<u32> = bytes.chunks(4).map(word).collect();
        Ok(Self {
            bytes: gpu.tensor_u32(&words, [words.len()])?,
            indices: gpu.tensor_u32(indices, [count])?,
            dims,
        })
    }

    /// Uploads a batch.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn upload(gpu: &Gpu, batch: &Batch) -> Result<Self> {
        Self::new(gpu, &batch.images, &batch.indices, batch.dims)
    }

    /// Uploads a range of a data set in its own order.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    ///
    /// # Panics
    /// If the range reaches past the last image.
    #[track_caller]
    pub fn range(gpu: &Gpu, dataset: &Dataset, range: Range<usize>) -> Result<Self> {
        let size = dataset.image_len();
        let indices: Vec<u32> = (range.start as u32..range.end as u32).collect();
        Self::new(gpu, &dataset.images[range.start * size..range.end * size], &indices, dataset.dims())
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Height, width, channels.
    #[must_use]
    pub fn dims(&self) -> [usize; 3] {
        self.dims
    }

    /// The images as floats, normalised and otherwise as they are: `[N, H, W, C]`.
    #[must_use]
    pub fn normalize(&self, mean: [f32; 3], std: [f32; 3]) -> Tensor {
        let [height, width, channels] = self.dims;
        let gpu = self.bytes.gpu();
        let y = Tensor::alloc(gpu, "normalize", &[self.len(), height, width, channels].into(), DType::F32);
        let n = y.len() as u32;
        let [mean_0, mean_1, mean_2] = mean;
        let [inverse_std_0, inverse_std_1, inverse_std_2] = std.map(|s| 1.0 / s);
        let channels = channels as u32;
        let uniforms = PlainUniforms {
            n,
            channels,
            mean_0,
            mean_1,
            mean_2,
            inverse_std_0,
            inverse_std_1,
            inverse_std_2,
        };
        let work = Work::new(5 * u64::from(n), 2 * u64::from(n));
        gpu.run(&NORMALIZE_BYTES, &[&y, &self.bytes], &uniforms, Grid::items(n.div_ceil(4)), work);
        y
    }
}

impl Recipe {
    /// SimCLR for small RGB images: crops of .2 to 1, flip, jitter .4 .4 .4 .1 with probability .8, grey .2, no blur.
    #[must_use]
    pub fn simclr(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            crop: Some(Crop { scale: [0.2, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }),
            flip: 0.5,
            jitter: Some(Jitter { p: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
            grayscale: 0.2,
            ..Self::plain(mean, std)
        }
    }

    /// The same for grey images: crops of .2 to 1, flip, brightness and contrast .4 with probability .8.
    #[must_use]
    pub fn simclr_grey(mean: [f32; 3], std: [f32; 3]) -> Self {
        let jitter = Jitter { p: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.0, hue: 0.0 };
        Self { jitter: Some(jitter), grayscale: 0.0, ..Self::simclr(mean, std) }
    }

    /// The preset for a data set's channels, with its normalisation.
    #[must_use]
    pub fn for_dataset(dataset: &Dataset) -> Self {
        let preset = if dataset.channels == 1 { Self::simclr_grey } else { Self::simclr };
        preset(dataset.mean, dataset.std)
    }
}

/// Makes views of images. A view follows from recipe, seed, time, dataset index and view number, and from nothing
/// else: not from the batch an image is in, nor from its place there.
///
/// ```no_run
/// use wgrad::Gpu;
/// use wgrad::data::{Augment, DataSource, Images, Recipe};
///
/// let gpu = Gpu::new()?;
/// let train = DataSource::Embedded.load()?.train;
/// let augment = Augment::new(Recipe::for_dataset(&train), 0);
/// let images = Images::range(&gpu, &train, 0..128)?;
/// let views = augment.views(&images, 0, 0..2); // rows 0..128 are the first views, 128..256 the second
/// assert_eq!(views.shape()[..], [256, 28, 28, 1]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Augment {
    recipe: Recipe,
    key: [u32; 2],
}

impl Augment {
    /// The recipe under a seed, in the stream [`streams::AUGMENT`].
    ///
    /// # Panics
    /// If a probability, a range or the blur's radius is out of its bounds.
    #[track_caller]
    #[must_use]
    pub fn new(recipe: Recipe, seed: u32) -> Self {
        let Recipe { flip, grayscale, crop, jitter, blur, solarize, .. } = &recipe;
        let late = [blur.map_or(0.0, |b| b.p), solarize.map_or(0.0, |s| s.p), jitter.map_or(0.0, |j| j.p)];
        for p in late.into_iter().chain([*flip, *grayscale]) {
            assert!((0.0..=1.0).contains(&p), "Augment: probability {p}");
        }
        if let Some(Crop { scale: [small, large], ratio: [narrow, wide] }) = *crop {
            assert!(0.0 < small && small <= large && large <= 1.0, "Augment: crop scale {small} to {large}");
            assert!(
                0.0 < narrow && narrow <= wide && wide.is_finite(),
                "Augment: crop ratio {narrow} to {wide}"
            );
        }
        if let Some(Blur { radius, sigma: [low, high], .. }) = *blur {
            assert!(radius <= MAX_BLUR_RADIUS, "Augment: blur radius {radius} > {MAX_BLUR_RADIUS}");
            assert!(0.0 < low && low <= high, "Augment: blur sigma {low} to {high}");
        }
        Self { recipe, key: [seed, streams::AUGMENT] }
    }

    /// What it does.
    #[must_use]
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Only the normalisation, for evaluation: `[N, H, W, C]`.
    #[must_use]
    pub fn plain(&self, images: &Images) -> Tensor {
        images.normalize(self.recipe.mean, self.recipe.std)
    }

    /// Views of a batch at a time (epoch or step): `[views * N, H, W, C]`, all images of the first view, then all of the
    /// second. `views` are the numbers of the views: `0..2` for a pair.
    ///
    /// # Panics
    /// If the recipe's blur reaches over the whole height or width of a view.
    #[track_caller]
    #[must_use]
    pub fn views(&self, images: &Images, time: u32, views: Range<u32>) -> Tensor {
        let gpu = images.bytes.gpu();
        let [height, width, channels] = images.dims;
        let size = self.recipe.size.unwrap_or([height, width]);
        let radius = self.recipe.blur.map_or(0, |blur| blur.radius);
        assert!(radius < size[0].min(size[1]).max(1), "views: blur radius {radius} for views of {size:?}");

        let rows = views.len() * images.len();
        let shape = Shape::new(&[rows, size[0], size[1], channels]);
        let uniforms = self.uniforms(images, time, &views, size);
        let kernels = match (gpu.facts().narrow_workgroups, channels) {
            (false, 1) => &WIDE_1,
            (false, _) => &WIDE_3,
            (true, 1) => &NARROW_1,
            (true, _) => &NARROW_3,
        };
        let y = Tensor::alloc(gpu, "augment", &shape, DType::F32);
        let n = y.len() as u64;
        // Four texels, three blends, and about thirty operations of jitter in each channel.
        let work = Work::new(images.bytes.len() as u64 * 4 + 4 * n, 40 * n);
        gpu.run(
            &kernels.augment,
            &[&y, &images.bytes, &images.indices],
            &uniforms,
            Grid::groups(rows as u64),
            work,
        );
        if uniforms.blur == 0 {
            return y;
        }
        let blurred = Tensor::alloc(gpu, "blur", &shape, DType::F32);
        let taps = (2 * radius as u64 + 1).pow(2);
        let work = Work::new(8 * n, 2 * taps * n);
        gpu.run(&kernels.blur, &[&blurred, &y, &images.indices], &uniforms, Grid::groups(rows as u64), work);
        blurred
    }

    fn uniforms(&self, images: &Images, time: u32, views: &Range<u32>, size: [usize; 2]) -> Uniforms {
        let recipe = &self.recipe;
        let [height, width, _] = images.dims;
        let plan = CropPlan::new(recipe.crop, [height, width]);
        let jitter = recipe.jitter.unwrap_or(Jitter {
            p: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
        });
        let factor = |s: f32| ((1.0 - s).max(0.0), 1.0 + s - (1.0 - s).max(0.0));
        let (brightness_low, brightness_span) = factor(jitter.brightness);
        let (contrast_low, contrast_span) = factor(jitter.contrast);
        let (saturation_low, saturation_span) = factor(jitter.saturation);
        let sigma = recipe.blur.map_or([1.0; 2], |blur| blur.sigma);
        let [mean_0, mean_1, mean_2] = recipe.mean;
        let [inverse_std_0, inverse_std_1, inverse_std_2] = recipe.std.map(|s| 1.0 / s);
        Uniforms {
            images: images.len() as u32,
            views: views.len() as u32,
            first_view: views.start,
            height: height as u32,
            width: width as u32,
            out_height: size[0] as u32,
            out_width: size[1] as u32,
            seed: self.key[0],
            stream: self.key[1],
            time,
            tries: plan.tries,
            scale_low: plan.scale_low,
            scale_count: plan.scale_count,
            area: plan.area,
            ratio_low: plan.ratio_low,
            inverse_high: plan.inverse_high,
            ratio_step: plan.ratio_step,
            center_top: plan.center.top,
            center_left: plan.center.left,
            center_height: plan.center.height,
            center_width: plan.center.width,
            flip: chance(recipe.flip),
            jitter: chance(jitter.p),
            grayscale: chance(recipe.grayscale),
            blur: recipe.blur.map_or(0, |blur| chance(blur.p)),
            solarize: recipe.solarize.map_or(0, |solarize| chance(solarize.p)),
            brightness_low,
            brightness_span,
            contrast_low,
            contrast_span,
            saturation_low,
            saturation_span,
            hue_low: -jitter.hue,
            hue_span: 2.0 * jitter.hue,
            radius: recipe.blur.map_or(0, |blur| blur.radius as u32),
            sigma_low: sigma[0],
            sigma_span: sigma[1] - sigma[0],
            threshold: recipe.solarize.map_or(2.0, |solarize| solarize.threshold),
            mean_0,
            mean_1,
            mean_2,
            inverse_std_0,
            inverse_std_1,
            inverse_std_2,
        }
    }
}
