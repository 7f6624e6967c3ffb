//! Barlow Twins: the cross-correlation of two views' embeddings is drawn towards the identity.
//!
//!     cargo run --release --example barlow_twins -- --recipe barlow_twins-cifar10 --data cifar10:DIR --out runs/barlow_twins
//!
//! Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::barlow_twins_loss;
use wgrad::train::{self, Collapse, Flags, Model, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Weight of what is off the diagonal.
    lambda: f32,
}

fn main() -> ExitCode {
    train::main(|| barlow_twins(&Flags::from_args(include_str!("barlow_twins.rs"))))
}

pub(crate) fn barlow_twins(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("barlow_twins", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let batch = config.batch;

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::vicreg(encoder.features(), &options.projector);
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
        collapse: Collapse {
            // Standardised columns of a constant are 0, so is C, and the diagonal misses 1 in each of D places.
            loss: head.widths[head.widths.len() - 1] as f64,
            knobs: "raise --lr or --batch, lower options.lambda",
        },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);

        let loss = barlow_twins_loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), options.lambda);
        let gradient = scaler.gradient(&params, &loss);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss, lr, &z, &[])?;
    }
    run.finish()
}
