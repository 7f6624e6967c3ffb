//! Linear classification of frozen features.

use super::accuracy::accuracy;
use crate::error::Result;
use crate::nn::{Linear, ParamBuilder};
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

/// Test accuracy of a linear classifier trained on frozen features: `train` `[m, d]` and `test` `[n, d]`.
///
/// Features are standardised by mean and variance of the training rows; then softmax regression with bias by AdamW
/// without weight decay, in a new order every epoch, at the settings of [`LinearProbe`]. The accuracy is that of the last
/// step.
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
    let (m, d) = (train.shape()[0], train.shape()[1]);
    assert_eq!(
        [train_labels.len(), test_labels.len()],
        [m, test.shape()[0]],
        "linear_probe: labels and rows"
    );
    let gpu = train.gpu();
    let mean = train.mean(&[0]);
    let deviation = train.sub(&mean).square().mean(&[0]).add_scalar(MIN_VARIANCE).sqrt();
    let standard = |x: &Tensor| x.sub(&mean).div(&deviation);
    let (train, test) = (standard(train), standard(test));
    let labels = gpu.tensor_u32(train_labels, [m, 1])?;

    let rng = Rng::new(probe.seed).stream(streams::EVAL);
    let build = ParamBuilder::new(rng.clone());
    let classes = train_labels.iter().chain(test_labels).max().map_or(1, |&c| c as usize + 1);
    let layer = Linear::new(&build, d, classes, true);
    let params = build.finish(gpu)?;
    let options = AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() };
    let mut adamw = AdamW::new(&params, options, Group::default_for)?;

    let batch = probe.batch.clamp(1, m);
    let schedule = Schedule::cosine(probe.lr, 0.0, probe.steps);
    let (mut order, mut shuffle): (Vec<u32>, Rng) = ((0..m as u32).collect(), rng);
    while adamw.steps() < probe.steps {
        shuffle.shuffle(&mut order);
        for rows in order.chunks_exact(batch).take((probe.steps - adamw.steps()) as usize) {
            let rows = gpu.tensor_u32(rows, [batch])?;
            let logits = layer.forward(&params, &train.gather_rows(&rows));
            let loss = logits.softmax_cross_entropy(&labels.gather_rows(&rows).reshape([batch]), 1.0);
            let grads = params.pack(&loss.backward());
            let lr = schedule.at(adamw.steps());
            adamw.step(&params, &grads, lr);
        }
    }
    accuracy(&layer.forward(&params.frozen(), &test), test_labels)
}
