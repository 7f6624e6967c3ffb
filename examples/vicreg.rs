//! VICReg: two views are pulled together, while every column of the embedding keeps its variance and no two columns say the
//! same.
//!
//!     cargo run --release --example vicreg -- --recipe vicreg-cifar10 --data cifar10:DIR --out runs/vicreg
//!
//! Bardes, Ponce & LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::{VicRegWeights, vicreg_loss};
use wgrad::train::{self, Collapse, Flags, Model, Part, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the expander after the encoder's.
    projector: Vec<usize>,
    /// Weight of the distance between views, lambda.
    invariance: f32,
    /// Weight of the hinge on the standard deviation, mu.
    variance: f32,
    /// Weight of the covariances, nu.
    covariance: f32,
}

fn main() -> ExitCode {
    train::main(|| vicreg(&Flags::from_args(include_str!("vicreg.rs"))))
}

pub(crate) fn vicreg(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("vicreg", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let batch = config.batch;
    let Options { invariance, variance, covariance, .. } = options;
    let weights = VicRegWeights { invariance, variance, covariance };

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::vicreg(encoder.features(), &options.projector);
    let expander = Mlp::new(&build.scope("projector"), &head);
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| expander.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: None,
        parts: vec![
            Part::logged("invariance"),
            // 1 less the columns' std: at 1 every image has the same embedding.
            Part {
                name: "variance",
                healthy: (-1.0, 0.9),
                outside: "columns lose their variance; raise options.variance",
            },
            Part::logged("covariance"),
        ],
        collapse: Collapse { loss: f64::from(variance), knobs: "raise options.variance, lower --lr" },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = expander.forward(&params, &features, Mode::Train);

        let loss = vicreg_loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), weights);
        let gradient = scaler.gradient(&params, &loss.total);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss.total, lr, &z, &[&loss.invariance, &loss.variance, &loss.covariance])?;
    }
    run.finish()
}
