//! The demo in miniature, for figures that need something trained.

use std::sync::Arc;

use super::args::Args;
use crate::data::{Augment, DataSource, Dataset, Images, Loader, Recipe, Splits};
use crate::error::Result;
use crate::eval::{Knn, knn_accuracy};
use crate::gpu::Gpu;
use crate::nn::{Mode, Module, ParamBuilder, Params, ResNet, ResNetConfig};
use crate::optim::{Group, Optimizer, Schedule, Sgd, SgdOptions};
use crate::tensor::Tensor;
use crate::train::evaluate::collect;

/// Training images, and as many test images.
const IMAGES: usize = 2000;

/// Images, the views that are made of them, and a loop: a training of some seconds, without run directory or log.
#[derive(Debug)]
pub struct Miniature {
    gpu: Gpu,
    seed: u32,
    train: Arc<Dataset>,
    test: Dataset,
    augment: Augment,
}

impl Miniature {
    /// Images of a step.
    pub const BATCH: usize = 64;

    /// 2,000 and 2,000 of the demo's images, with its recipe of views.
    ///
    /// # Errors
    /// None but a damaged program: the images are part of it.
    pub fn demo(args: &Args, gpu: &Gpu) -> Result<Self> {
        let Splits { mut train, mut test } = DataSource::Embedded.load()?;
        train.truncate(IMAGES);
        test.truncate(IMAGES);
        let recipe = Recipe::for_dataset(&train);
        Ok(Self::new(args, gpu, Splits { train, test }, recipe))
    }

    /// These images, with these views.
    ///
    /// # Panics
    /// As [`Augment::new`].
    #[track_caller]
    #[must_use]
    pub fn new(args: &Args, gpu: &Gpu, Splits { train, test }: Splits, recipe: Recipe) -> Self {
        let augment = Augment::new(recipe, args.seed);
        Self { gpu: gpu.clone(), seed: args.seed, train: Arc::new(train), test, augment }
    }

    /// The demo's encoder for these images, registered under `encoder`.
    #[must_use]
    pub fn encoder(&self, build: &ParamBuilder) -> ResNet {
        let config = ResNetConfig { channels: self.train.channels, ..ResNetConfig::demo() };
        ResNet::new(&build.scope("encoder"), &config)
    }

    /// `steps` of SGD (momentum 0.9, weight decay 5e-4), the learning rate along a half cosine from `lr` after a tenth of
    /// them. `loss` gets the two views of a batch, all first ones before the second `[2 BATCH, h, w, c]`, and the step; `after`
    /// the packed gradient and the step, with the parameters moved.
    ///
    /// # Errors
    /// Those of the closures, and the device's first error.
    ///
    /// # Panics
    /// If there are fewer images than a batch.
    pub fn train(
        &self,
        params: &Params,
        steps: u64,
        lr: f64,
        mut loss: impl FnMut(&Tensor, u64) -> Result<Tensor>,
        mut after: impl FnMut(&Tensor, u64) -> Result<()>,
    ) -> Result<()> {
        let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
        let mut sgd = Sgd::new(params, options, Group::default_for)?;
        let schedule = Schedule::warmup_cosine(lr, steps / 10, steps);
        let batches = Loader::builder(&self.train, Self::BATCH).seed(self.seed).build()?;
        for batch in batches.take(steps as usize) {
            let views = self.augment.views(&Images::upload(&self.gpu, &batch)?, batch.epoch, 0..2);
            let gradient = params.pack(&loss(&views, batch.step)?.backward());
            sgd.step(params, &gradient, schedule.at(batch.step));
            after(&gradient, batch.step)?;
        }
        self.gpu.sync()
    }

    /// Features of the training and the test images as they are, `[n, d]` each, in eval mode.
    ///
    /// # Errors
    /// Out of memory, or the device's first error.
    pub fn features(&self, encoder: &dyn Module, params: &Params) -> Result<[Tensor; 2]> {
        let of = |data: &Dataset| {
            collect(&self.gpu, data, |images| {
                encoder.forward(params, &self.augment.plain(images), Mode::Eval)
            })
        };
        Ok([of(&self.train)?, of(&self.test)?])
    }

    /// kNN accuracy of the test images among the training images ([`knn_accuracy`], k = 200, tau = 0.1).
    ///
    /// # Errors
    /// As [`Miniature::features`].
    pub fn knn(&self, encoder: &dyn Module, params: &Params) -> Result<f64> {
        let [bank, queries] = self.features(encoder, params)?;
        knn_accuracy(&bank, &self.train.labels, &queries, &self.test.labels, Knn::default())
    }
}
