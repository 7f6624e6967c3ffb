//! SupCon: SimCLR with labels, for comparison. Every view of the same class is a positive.
//!
//!     cargo run --release --example supcon -- --recipe supcon-cifar10 --data cifar10:DIR --out runs/supcon
//!
//! Khosla et al. 2020, "Supervised Contrastive Learning". The one method here that sees labels in training.

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::SupCon;
use wgrad::train::{self, Collapse, Flags, Model, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
}

fn main() -> ExitCode {
    train::main(|| supcon(&Flags::from_args(include_str!("supcon.rs"))))
}

pub(crate) fn supcon(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("supcon", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let batch = config.batch;
    let supcon = SupCon::new(&gpu, setup.train_set().classes(), config.temperature())?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: None,
        parts: vec![],
        collapse: Collapse { loss: ((2 * batch - 1) as f64).ln(), knobs: "raise --lr, lower --tau" },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let labels = gpu.tensor_u32(&images.labels, [batch])?;
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);

        let loss = supcon.loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), &labels);
        let gradient = scaler.gradient(&params, &loss);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss, lr, &z, &[])?;
    }
    run.finish()
}
