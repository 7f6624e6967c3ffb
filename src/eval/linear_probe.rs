//! Linear classification of frozen features.

use super::accuracy::accuracy;
use crate::error::Result;
use crate::nn::{Linear, ParamBuilder, Params};
use crate::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use crate::rng::{Rng, streams};
use crate::tensor::Tensor;

/// Settings of [`linear_probe`]. One fixed recipe for all features, so that accuracies compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearProbe {
    /// Steps, whatever the number of rows: each set of features gets the same number of updates.
    pub steps: u64,
    /// Rows a step.
    pub batch: usize,
    /// Learning rate at the start of a half cosine to 0.
    pub lr: f64,
    /// Names the order of the rows and the initial weights.
    pub seed: u32,
}

impl Default for LinearProbe {
    fn default() -> Self {
        Self { steps: 500, batch: 256, lr: 0.01, seed: 0 }
    }
}

/// Smallest variance of a feature that standardising divides by: a feature that never moves stays near 0.
const MIN_VARIANCE: f32 = 1e-4;

/// A linear classifier trained on frozen features.
#[derive(Debug)]
pub struct FittedProbe {
    /// Mean and deviation of each feature over the training rows, `[1, d]`.
    mean: Tensor,
    deviation: Tensor,
    layer: Linear,
    params: Params,
}

impl LinearProbe {
    /// Trains a linear classifier on frozen features `train` `[m, d]`, to be measured on as many sets as wanted.
    ///
    /// Features are standardised by mean and variance of these rows; then softmax regression with bias by AdamW without
    /// weight decay, in a new order every epoch. There are as many classes as the largest label says.
    ///
    /// # Errors
    /// The device's first error.
    ///
    /// # Panics
    /// If there is not one label a row, or no row.
    #[track_caller]
    pub fn fit(self, train: &Tensor, labels: &[u32]) -> Result<FittedProbe> {
        let (m, d) = (train.shape()[0], train.shape()[1]);
        assert_eq!(labels.len(), m, "LinearProbe::fit: labels and rows");
        assert!(m > 0, "LinearProbe::fit: no rows");
        let gpu = train.gpu();
        let mean = train.mean(&[0]);
        let deviation = train.sub(&mean).square().mean(&[0]).add_scalar(MIN_VARIANCE).sqrt();
        let rng = Rng::new(self.seed).stream(streams::EVAL);
        let build = ParamBuilder::new(rng.clone());
        let classes = labels.iter().max().map_or(1, |&c| c as usize + 1);
        let layer = Linear::new(&build, d, classes, true);
        let params = build.finish(gpu)?;
        let fitted = FittedProbe { mean, deviation, layer, params };

        let (train, labels) = (fitted.standardise(train), gpu.tensor_u32(labels, [m, 1])?);
        let options = AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() };
        let mut adamw = AdamW::new(&fitted.params, options, Group::default_for)?;
        let batch = self.batch.clamp(1, m);
        let schedule = Schedule::cosine(self.lr, 0.0, self.steps);
        let (mut order, mut shuffle): (Vec<u32>, Rng) = ((0..m as u32).collect(), rng);
        while adamw.steps() < self.steps {
            shuffle.shuffle(&mut order);
            for rows in order.chunks_exact(batch).take((self.steps - adamw.steps()) as usize) {
                let rows = gpu.tensor_u32(rows, [batch])?;
                let logits = fitted.layer.forward(&fitted.params, &train.gather_rows(&rows));
                let loss = logits.softmax_cross_entropy(&labels.gather_rows(&rows).reshape([batch]), 1.0);
                let grads = fitted.params.pack(&loss.backward());
                let lr = schedule.at(adamw.steps());
                adamw.step(&fitted.params, &grads, lr);
            }
        }
        Ok(fitted)
    }
}

impl FittedProbe {
    /// Share of the rows of `features` `[n, d]` whose class is found; a class that was not trained on never is.
    ///
    /// # Errors
    /// The device's first error.
    ///
    /// # Panics
    /// If the shapes do not fit, or a label is missing.
    #[track_caller]
    pub fn accuracy(&self, features: &Tensor, labels: &[u32]) -> Result<f64> {
        accuracy(&self.layer.forward(&self.params.frozen(), &self.standardise(features)), labels)
    }

    fn standardise(&self, features: &Tensor) -> Tensor {
        features.sub(&self.mean).div(&self.deviation)
    }
}

/// Test accuracy of a linear classifier trained on frozen features, `train` `[m, d]` and `test` `[n, d]`, as
/// [`LinearProbe::fit`] and [`FittedProbe::accuracy`] do it; that of the last step.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If the shapes do not fit, or a label is missing.
#[track_caller]
pub fn linear_probe(
    train: &Tensor,
    train_labels: &[u32],
    test: &Tensor,
    test_labels: &[u32],
    probe: LinearProbe,
) -> Result<f64> {
    probe.fit(train, train_labels)?.accuracy(test, test_labels)
}
