//! Evaluation during a run: features of whole data sets, accuracies with their protocol, measures of the embedding.
//!
//! Every accuracy is taken twice: on the test images as they are, and on the same images moved ([`Dataset::moved`]). Where a
//! data set's images are aligned, as clothes cut out and centred are, pixels alone tell classes apart, and only moved images
//! show that an encoder has learned to ignore position.

use std::sync::Arc;

use super::alarm::{Collapse, Part};
use super::metrics::{Quality, Summary};
use super::progress::Progress;
use crate::data::{Augment, Dataset, Images, reach};
use crate::error::Result;
use crate::eval::{Knn, LinearProbe, alignment, embedding_std, knn_accuracy, rankme, uniformity};
use crate::gpu::Gpu;
use crate::nn::{Mode, Module, Params};
use crate::tensor::Tensor;

/// Images that go through the network at once.
const CHUNK: usize = 500;
/// Test images whose views measure the embedding.
const VIEWED: usize = 2000;
/// The time of the views that evaluations make: one that no epoch of a run reaches, and always the same.
const VIEW_TIME: u32 = u32::MAX;

/// Names the motions of the moved test images: one set for all runs, whatever their seed, so that accuracies compare.
const MOVED_SEED: u32 = 0;

/// The images of a run.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) train: Arc<Dataset>,
    pub(super) test: Dataset,
    /// The test images, moved.
    pub(super) moved: Dataset,
}

impl Data {
    pub(super) fn new(train: Dataset, test: Dataset) -> Self {
        Self { train: Arc::new(train), moved: test.moved(MOVED_SEED), test }
    }
}

/// The network of a method, as a run evaluates it, and the values that the method logs.
pub struct Model<'a> {
    /// The trained parameters, without a graph.
    pub(super) params: Params,
    pub(super) encoder: &'a dyn Module,
    pub(super) head: &'a dyn Module,
    pub(super) candidates: Option<usize>,
    pub(super) parts: Vec<Part>,
    pub(super) collapse: Collapse,
}

impl<'a> Model<'a> {
    /// Accuracies are measured on the features of `encoder`, collapse on the embeddings that `head` makes of them, both in
    /// eval mode and with `params`.
    #[must_use]
    pub fn new(params: &Params, encoder: &'a dyn Module, head: &'a dyn Module, collapse: Collapse) -> Self {
        let params = params.frozen();
        Self { params, encoder, head, candidates: None, parts: vec![], collapse }
    }

    /// The loss chooses one of so many candidates, the positive included: [`mi_bound`](crate::ssl::mi_bound) is logged.
    #[must_use]
    pub fn candidates(self, candidates: impl Into<Option<usize>>) -> Self {
        Self { candidates: candidates.into(), ..self }
    }

    /// The method logs one more value beside its loss.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    fn encode(&self, images: &Tensor) -> Tensor {
        self.encoder.forward(&self.params, images, Mode::Eval)
    }

    fn embed(&self, features: &Tensor) -> Tensor {
        self.head.forward(&self.params, features, Mode::Eval)
    }
}

/// One measure on the test images as they are, and on the moved ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub(super) aligned: f64,
    pub(super) moved: f64,
}

/// Accuracies of one kind of features.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Accuracy {
    pub(super) knn: Pair,
    pub(super) linear: Pair,
}

/// The linear probe for so many training images: the default, cut to 100 epochs where that is less.
fn probe(train_images: usize) -> LinearProbe {
    let LinearProbe { steps, batch, .. } = LinearProbe::default();
    let epoch = (train_images / batch).max(1) as u64;
    LinearProbe { steps: steps.min(100 * epoch), batch: batch.min(train_images), ..LinearProbe::default() }
}

/// How accuracies are measured, in words.
pub(super) fn protocol(data: &Data) -> String {
    let Knn { k, tau } = Knn::default();
    let LinearProbe { steps, batch, lr, .. } = probe(data.train.len());
    let [down, right] = [data.test.height, data.test.width].map(reach);
    format!(
        "kNN k={} tau={tau} cosine on the encoder output, un-augmented train bank, eval-mode BN, last epoch; \
         linear probe on the same features standardised, AdamW lr={lr} cosine, {steps} steps of {batch}, last step; \
         moved: the same test images, each flipped left to right with probability 1/2, then shifted by up to {down} rows and \
         {right} columns either way, black coming in, alike for every seed; bank and probe stay those of unmoved images",
        k.min(data.train.len())
    )
}

/// `map` of every image of a data set, in its order and some hundred at once: `[n, d]`.
pub(super) fn collect(gpu: &Gpu, data: &Dataset, map: impl Fn(&Images) -> Tensor) -> Result<Tensor> {
    let mut rows: Option<Tensor> = None;
    for first in (0..data.len()).step_by(CHUNK) {
        let images = Images::range(gpu, data, first..data.len().min(first + CHUNK))?;
        let part = map(&images);
        if rows.is_none() {
            rows = Some(gpu.zeros([data.len(), part.shape()[1]])?);
        }
        rows.iter().for_each(|all| all.write_rows(first, &part));
    }
    rows.map_or_else(|| gpu.zeros([0, 1]), Ok)
}

/// Features of the training images, which are the bank, and of the test images as they are and moved.
pub(super) struct Features {
    train: Tensor,
    pub(super) test: Tensor,
    moved: Tensor,
}

impl Features {
    /// The encoder's output.
    pub(super) fn encoded(model: &Model<'_>, augment: &Augment, data: &Data) -> Result<Self> {
        Self::of(model.params.gpu(), data, |images| model.encode(&augment.plain(images)))
    }

    /// The pixels as they are, in [0, 1].
    fn pixels(gpu: &Gpu, data: &Data) -> Result<Self> {
        Self::normalized(gpu, data, [0.0; 3], [1.0; 3])
    }

    /// The pixels as the network sees them: without the data set's mean, which changes their cosines. Moved images are
    /// normalised after they were moved.
    fn normalized_pixels(gpu: &Gpu, data: &Data) -> Result<Self> {
        Self::normalized(gpu, data, data.train.mean, data.train.std)
    }

    fn normalized(gpu: &Gpu, data: &Data, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        let width = data.train.image_len();
        Self::of(gpu, data, |images| images.normalize(mean, std).reshape([images.len(), width]))
    }

    fn of(gpu: &Gpu, data: &Data, map: impl Fn(&Images) -> Tensor) -> Result<Self> {
        let collect = |images| collect(gpu, images, &map);
        Ok(Self { train: collect(&data.train)?, test: collect(&data.test)?, moved: collect(&data.moved)? })
    }

    /// `measure` of the test features and of the moved ones, with their labels.
    fn pair(&self, data: &Data, measure: impl Fn(&Tensor, &[u32]) -> Result<f64>) -> Result<Pair> {
        let aligned = measure(&self.test, &data.test.labels)?;
        Ok(Pair { aligned, moved: measure(&self.moved, &data.moved.labels)? })
    }

    fn knn(&self, data: &Data) -> Result<Pair> {
        self.pair(data, |queries, labels| {
            knn_accuracy(&self.train, &data.train.labels, queries, labels, Knn::default())
        })
    }

    /// One probe, measured twice.
    fn linear(&self, data: &Data) -> Result<Pair> {
        let probe = probe(data.train.len()).fit(&self.train, &data.train.labels)?;
        self.pair(data, |features, labels| probe.accuracy(features, labels))
    }

    /// kNN accuracy and linear probe; `progress` shows `what`, the name of the features.
    pub(super) fn accuracy(&self, data: &Data, progress: &Progress, what: &str) -> Result<Accuracy> {
        progress.evaluating(&format!("kNN of {what}"));
        let knn = self.knn(data)?;
        progress.evaluating(&format!("linear probe of {what}"));
        Ok(Accuracy { knn, linear: self.linear(data)? })
    }
}

/// Accuracies that a trained encoder is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baselines {
    pub(super) raw_pixels: Accuracy,
    pub(super) random_init: Accuracy,
    /// kNN accuracy of the normalised pixels; the linear probe standardises, so to it they are as raw ones, but for the least
    /// variance that it divides by.
    pub(super) normalized_pixels: Pair,
}

impl Baselines {
    /// Measures the pixels, and the network as it is before training.
    pub(super) fn measure(
        model: &Model<'_>,
        augment: &Augment,
        data: &Data,
        progress: &Progress,
    ) -> Result<Self> {
        let gpu = model.params.gpu();
        let raw_pixels = Features::pixels(gpu, data)?.accuracy(data, progress, "raw pixels")?;
        progress.evaluating("kNN of normalised pixels");
        let normalized_pixels = Features::normalized_pixels(gpu, data)?.knn(data)?;
        progress.evaluating("features of the encoder before training");
        let random_init = Features::encoded(model, augment, data)?;
        let random_init = random_init.accuracy(data, progress, "the encoder before training")?;
        Ok(Self { raw_pixels, random_init, normalized_pixels })
    }

    /// A summary of these alone.
    pub(super) fn summary(&self) -> Summary {
        let Self { raw_pixels, random_init, normalized_pixels } = *self;
        Summary {
            knn_top1_random_init: random_init.knn.aligned,
            knn_top1_raw_pixels: raw_pixels.knn.aligned,
            knn_top1_normalized_pixels: normalized_pixels.aligned,
            linear_top1_random_init: random_init.linear.aligned,
            linear_top1_raw_pixels: raw_pixels.linear.aligned,
            knn_top1_random_init_moved: Some(random_init.knn.moved),
            knn_top1_raw_pixels_moved: Some(raw_pixels.knn.moved),
            knn_top1_normalized_pixels_moved: Some(normalized_pixels.moved),
            linear_top1_random_init_moved: Some(random_init.linear.moved),
            linear_top1_raw_pixels_moved: Some(raw_pixels.linear.moved),
            ..Summary::default()
        }
    }
}

/// Measures features, and the embeddings of two views of test images; says how many dimensions these have.
pub(super) fn quality(
    model: &Model<'_>,
    augment: &Augment,
    features: &Features,
    data: &Data,
) -> Result<(Quality, usize)> {
    let mut viewed = data.test.clone();
    viewed.truncate(VIEWED);
    let view = |number: u32| {
        collect(model.params.gpu(), &viewed, |images| {
            model.embed(&model.encode(&augment.views(images, VIEW_TIME, number..number + 1)))
        })
    };
    let (first, second) = (view(0)?, view(1)?);
    let Pair { aligned, moved } = features.knn(data)?;
    let quality = Quality {
        embedding_std: embedding_std(&first)?,
        alignment: alignment(&first, &second)?,
        uniformity: uniformity(&first)?,
        rankme: rankme(&first)?,
        knn_top1: aligned,
        knn_top1_moved: Some(moved),
    };
    Ok((quality, first.shape()[1]))
}
