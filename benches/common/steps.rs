//! SimCLR's training step on views that are there already: images a second.

use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, Precision, ResNet, ResNetConfig};
use wgrad::optim::{Group, LossScaler, Sgd, SgdOptions};
use wgrad::ssl::nt_xent;
use wgrad::{Gpu, Result, Rng, Tensor};

use super::drawn;

/// Which step.
#[derive(Clone)]
pub(crate) struct Step {
    /// `ResNet-8`.
    pub(crate) name: &'static str,
    encoder: ResNetConfig,
    /// Images; the network sees two views of each.
    pub(crate) batch: usize,
    pub(crate) precision: Precision,
}

/// The steps that this adapter is timed on: ResNet-8, and on GPUs ResNet-18, in f32 and, where it has it, f16.
pub(crate) fn steps(gpu: &Gpu) -> Vec<Step> {
    let (small, large) = (ResNetConfig::resnet8(), ResNetConfig::resnet18());
    let mut steps = vec![];
    for precision in [Precision::F32, Precision::F16] {
        if !precision.runs_on(gpu) {
            continue;
        }
        let batch = if gpu.is_cpu() { 32 } else { 512 };
        steps.push(Step { name: "ResNet-8", encoder: small.clone(), batch, precision });
        if !gpu.is_cpu() {
            steps.push(Step { name: "ResNet-18", encoder: large.clone(), batch, precision });
        }
    }
    steps
}

/// A network and its optimiser, ready to step.
pub(crate) struct Training {
    encoder: ResNet,
    projector: Mlp,
    params: Params,
    sgd: Sgd,
    scaler: LossScaler,
    views: Tensor,
}

impl Step {
    /// Builds the network; views are 32 x 32 x 3.
    pub(crate) fn begin(&self, gpu: &Gpu) -> Result<Training> {
        let build = ParamBuilder::new(Rng::new(7));
        let encoder = ResNet::new(&build.scope("encoder"), &self.encoder);
        let projector =
            Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), &[128, 128]));
        let params = build.finish(gpu)?.with_precision(self.precision);
        let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
        Ok(Training {
            sgd: Sgd::new(&params, options, Group::default_for)?,
            scaler: LossScaler::new(&params)?,
            views: drawn(gpu, 1, &[2 * self.batch, 32, 32, 3], -1.0, 1.0)?,
            encoder,
            projector,
            params,
        })
    }
}

impl Training {
    /// Records a step and returns its loss.
    pub(crate) fn step(&mut self) -> Tensor {
        let batch = self.views.shape()[0] / 2;
        let features = self.encoder.forward(&self.params, &self.views, Mode::Train);
        let z = self.projector.forward(&self.params, &features, Mode::Train);
        let loss = nt_xent(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), 0.2);
        let gradient = self.scaler.gradient(&self.params, &loss);
        self.scaler.step(&mut self.sgd, &self.params, &gradient, 0.01);
        loss
    }
}
