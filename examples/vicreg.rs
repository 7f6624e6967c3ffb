//! VICReg: two views are pulled together, while every column of the embedding keeps its variance and no two columns say the
//! same.
//!
//!     cargo run --release --example vicreg -- --recipe vicreg-cifar10 --data cifar10:DIR --out runs/vicreg
//!
//! Bardes, Ponce & LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::{VicRegWeights, vicreg_loss};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Part, Setup, Summary};

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
    let batch = setup.config().batch;
    let Options { invariance, variance, covariance, .. } = options;
    let weights = VicRegWeights { invariance, variance, covariance };

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::vicreg(encoder.features(), &options.projector);
    let expander = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;

    let collapse = Collapse { loss: f64::from(variance), knobs: "raise options.variance, lower --lr" };
    let model = Model::new(learner.params(), &*encoder, &expander, collapse)
        .part(Part::logged("invariance"))
        .part(
            // 1 less the columns' std: at 1 every image has the same embedding.
            Part {
                name: "variance",
                healthy: (-1.0, 0.9),
                outside: "columns lose their variance; raise options.variance",
            },
        )
        .part(Part::logged("covariance"));
    let mut run = setup.begin(model, learner.state())?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = expander.forward(learner.params(), &features, Mode::Train);

        let loss = vicreg_loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), weights);

        let step = learner.step(&loss.total);
        run.end_step(&step, &z, &[&loss.invariance, &loss.variance, &loss.covariance])?;
    }
    run.finish()
}
