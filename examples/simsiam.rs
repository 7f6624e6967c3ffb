//! SimSiam: each view predicts the other's projection. No negatives, no teacher: a predictor and a stopped gradient keep it
//! from collapse.
//!
//!     cargo run --release --example simsiam -- --recipe simsiam-cifar10 --data cifar10:DIR --out runs/simsiam
//!
//! Chen & He 2021, "Exploring Simple Siamese Representation Learning".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Segment};
use wgrad::optim::Group;
use wgrad::ssl::{simsiam_loss, simsiam_squared_loss};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Hidden width of the predictor; a quarter of the projector's last in the paper.
    predictor: NonZero<usize>,
    /// Negative cosine, or half the squared distance of the rows as they are.
    form: Form,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Form {
    Cosine,
    Squared,
}

fn main() -> ExitCode {
    train::main(|| simsiam(&Flags::from_args(include_str!("simsiam.rs"))))
}

pub(crate) fn simsiam(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("simsiam", flags)?;
    let (batch, config) = (setup.config().batch, setup.config());

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simsiam(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let predictor = MlpConfig::predictor(projector.features(), options.predictor.get());
    let predictor = Mlp::new(&build.scope("predictor"), &predictor);

    // The predictor keeps its learning rate: it should be ahead of what it predicts (section 4.2 of the paper).
    let group = |segment: &Segment| match segment.name.starts_with("predictor.") {
        true => Group { lr_scale: 0.0, lr_fixed: config.lr as f32, ..config.optimizer.group(segment) },
        false => config.optimizer.group(segment),
    };
    let mut learner = Learner::with_groups(&setup, build, group)?;

    let collapse = Collapse {
        loss: if options.form == Form::Cosine { -1.0 } else { 0.0 },
        knobs: "lower --lr, raise --batch, widen options.predictor",
    };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse);
    let mut run = setup.begin(model, learner.state())?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);
        let p = predictor.forward(learner.params(), &z, Mode::Train);

        // The loss stops the gradient at z: each view is a fixed target of the other.
        let (z1, z2) = (z.slice_rows(0, batch), z.slice_rows(batch, batch));
        let (p1, p2) = (p.slice_rows(0, batch), p.slice_rows(batch, batch));
        let loss = match options.form {
            Form::Cosine => simsiam_loss(&p1, &z2, &p2, &z1),
            Form::Squared => simsiam_squared_loss(&p1, &z2, &p2, &z1),
        };

        let step = learner.step(&loss);
        run.end_step(&step, &z, &[])?;
    }
    run.finish()
}
