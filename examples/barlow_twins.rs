//! Barlow Twins: the cross-correlation of two views' embeddings is drawn towards the identity.
//!
//!     cargo run --release --example barlow_twins -- --recipe barlow_twins-cifar10 --data cifar10:DIR --out runs/barlow_twins
//!
//! Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::barlow_twins_loss;
use wgrad::train::{self, Collapse, Flags, Learner, Model, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Weight of the entries off the diagonal.
    lambda: f32,
}

fn main() -> ExitCode {
    train::main(|| barlow_twins(&Flags::from_args(include_str!("barlow_twins.rs"))))
}

pub(crate) fn barlow_twins(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("barlow_twins", flags)?;
    let batch = setup.config().batch;

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::vicreg(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;

    let collapse = Collapse {
        // Standardised columns of a constant are 0, so is C, and the diagonal misses 1 in each of D places.
        loss: projector.features() as f64,
        knobs: "raise --lr or --batch, lower options.lambda",
    };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse);
    let mut run = setup.begin(model, learner.state())?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);

        let loss = barlow_twins_loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), options.lambda);

        let step = learner.step(&loss);
        run.end_step(&step, &z, &[])?;
    }
    run.finish()
}
