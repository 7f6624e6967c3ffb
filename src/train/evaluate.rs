//! Evaluation during a run: features of whole data sets, accuracies with their protocol, measures of the embedding.

use std::sync::Arc;

use super::alarm::{Collapse, Part};
use super::metrics::Quality;
use crate::data::{Augment, Dataset, Images};
use crate::error::Result;
use crate::eval::{
    Knn, LinearProbe, alignment, embedding_std, knn_accuracy, linear_probe, rankme, uniformity,
};
use crate::gpu::Gpu;
use crate::nn::Params;
use crate::tensor::Tensor;

/// Images that go through the network at once.
const CHUNK: usize = 500;
/// Test images whose views measure the embedding.
const VIEWED: usize = 2000;
/// The time of the views that evaluations make: one that no epoch of a run reaches, and always the same.
const VIEW_TIME: u32 = u32::MAX;

/// The images of a run.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) train: Arc<Dataset>,
    pub(super) test: Dataset,
}

/// A network's output for images `[n, h, w, c]`, or for features `[n, d]`, in eval mode.
pub type Forward<'a> = Box<dyn Fn(&Params, &Tensor) -> Tensor + 'a>;

/// What a run evaluates of its method.
pub struct Model<'a> {
    /// The trained parameters.
    pub params: &'a Params,
    /// Images to pooled features, with [`Mode::Eval`](crate::nn::Mode::Eval): what accuracies are measured on.
    pub encode: Forward<'a>,
    /// Features to embeddings, likewise: what collapse is measured on.
    pub embed: Forward<'a>,
    /// Makes the views of test images.
    pub augment: &'a Augment,
    /// Candidates of the contrast, the positive included, for [`mi_bound`](crate::ssl::mi_bound); `None` for other losses.
    pub candidates: Option<usize>,
    /// What the method logs beside its loss, and what of it is an alarm.
    pub parts: Vec<Part>,
    /// How it collapses.
    pub collapse: Collapse,
}

/// Accuracies of one kind of features.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Accuracy {
    pub(super) knn: f64,
    pub(super) linear: f64,
}

/// The linear probe for so many training images: the default, cut to 100 epochs where that is less.
fn probe(train_images: usize) -> LinearProbe {
    let LinearProbe { steps, batch, .. } = LinearProbe::default();
    let epoch = (train_images / batch).max(1) as u64;
    LinearProbe { steps: steps.min(100 * epoch), batch: batch.min(train_images), ..LinearProbe::default() }
}

/// How [`accuracy`] measures, in words.
pub(super) fn protocol(train_images: usize) -> String {
    let Knn { k, tau } = Knn::default();
    let LinearProbe { steps, batch, lr, .. } = probe(train_images);
    format!(
        "kNN k={} tau={tau} cosine on the encoder output, un-augmented train bank, eval-mode BN, last epoch; \
         linear probe on the same features standardised, AdamW lr={lr} cosine, {steps} steps of {batch}, last step",
        k.min(train_images)
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

/// Features of both splits: the bank and the queries.
pub(super) struct Features {
    train: Tensor,
    pub(super) test: Tensor,
}

impl Features {
    /// The encoder's output with these parameters.
    pub(super) fn encoded(model: &Model<'_>, params: &Params, data: &Data) -> Result<Self> {
        Self::of(params.gpu(), data, |images| (model.encode)(params, &model.augment.plain(images)))
    }

    /// The pixels as they are, in [0, 1].
    pub(super) fn pixels(gpu: &Gpu, data: &Data) -> Result<Self> {
        Self::normalized(gpu, data, [0.0; 3], [1.0; 3])
    }

    /// The pixels as the network sees them: without the data set's mean, which changes their cosines.
    pub(super) fn normalized_pixels(gpu: &Gpu, data: &Data) -> Result<Self> {
        Self::normalized(gpu, data, data.train.mean, data.train.std)
    }

    fn normalized(gpu: &Gpu, data: &Data, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        let width = data.train.image_len();
        Self::of(gpu, data, |images| images.normalize(mean, std).reshape([images.len(), width]))
    }

    fn of(gpu: &Gpu, data: &Data, map: impl Fn(&Images) -> Tensor) -> Result<Self> {
        Ok(Self { train: collect(gpu, &data.train, &map)?, test: collect(gpu, &data.test, &map)? })
    }

    pub(super) fn knn(&self, data: &Data) -> Result<f64> {
        knn_accuracy(&self.train, &data.train.labels, &self.test, &data.test.labels, Knn::default())
    }

    pub(super) fn linear(&self, data: &Data) -> Result<f64> {
        let probe = probe(data.train.len());
        linear_probe(&self.train, &data.train.labels, &self.test, &data.test.labels, probe)
    }

    pub(super) fn accuracy(&self, data: &Data) -> Result<Accuracy> {
        Ok(Accuracy { knn: self.knn(data)?, linear: self.linear(data)? })
    }
}

/// What a trained encoder is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baselines {
    pub(super) raw_pixels: Accuracy,
    pub(super) random_init: Accuracy,
    /// kNN accuracy of the normalised pixels; the linear probe standardises, so normalisation changes nothing there.
    pub(super) normalized_pixels: f64,
}

impl Baselines {
    /// Measures the pixels, and the network with `params` as they are before training.
    pub(super) fn measure(model: &Model<'_>, params: &Params, data: &Data) -> Result<Self> {
        let raw_pixels = Features::pixels(params.gpu(), data)?.accuracy(data)?;
        let random_init = Features::encoded(model, params, data)?.accuracy(data)?;
        let normalized_pixels = Features::normalized_pixels(params.gpu(), data)?.knn(data)?;
        Ok(Self { raw_pixels, random_init, normalized_pixels })
    }
}

/// Measures features, and the embeddings of two views of test images; says how many dimensions these have.
pub(super) fn quality(
    model: &Model<'_>,
    params: &Params,
    features: &Features,
    data: &Data,
) -> Result<(Quality, usize)> {
    let mut viewed = data.test.clone();
    viewed.truncate(VIEWED);
    let view = |number: u32| {
        collect(params.gpu(), &viewed, |images| {
            let views = model.augment.views(images, VIEW_TIME, number..number + 1);
            (model.embed)(params, &(model.encode)(params, &views))
        })
    };
    let (first, second) = (view(0)?, view(1)?);
    let quality = Quality {
        embedding_std: embedding_std(&first)?,
        alignment: alignment(&first, &second)?,
        uniformity: uniformity(&first)?,
        rankme: rankme(&first)?,
        knn_top1: features.knn(data)?,
    };
    Ok((quality, first.shape()[1]))
}
