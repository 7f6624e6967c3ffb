//! BYOL: the student predicts what a teacher, its own moving average, makes of the other view. No negatives.
//!
//!     cargo run --release --example byol -- --recipe byol-cifar10 --data cifar10:DIR --out runs/byol
//!
//! Grill et al. 2020, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::byol_loss;
use wgrad::train::{self, Collapse, Flags, Learner, Model, Part, Setup, Summary, TeacherMomentum};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Hidden width of the predictor.
    predictor: NonZero<usize>,
    /// Of the teacher.
    momentum: TeacherMomentum,
}

fn main() -> ExitCode {
    train::main(|| byol(&Flags::from_args(include_str!("byol.rs"))))
}

pub(crate) fn byol(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("byol", flags)?;
    let batch = setup.config().batch;

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let predictor = MlpConfig::predictor(projector.features(), options.predictor.get());
    let predictor = Mlp::new(&build.scope("predictor"), &predictor);
    let mut learner = Learner::new(&setup, build)?;

    // The teacher has a predictor too, and does not use it.
    let teacher = learner.teacher(options.momentum)?;

    let state = teacher.keep(learner.state());
    let collapse =
        Collapse { loss: 0.0, knobs: "raise options.momentum, lower --lr, widen options.predictor" };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).part(Part::logged("momentum"));
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);
        let p = predictor.forward(learner.params(), &z, Mode::Train);
        let target = projector.forward(
            teacher.params(),
            &encoder.forward(teacher.params(), &views, Mode::Train),
            Mode::Train,
        );

        let (p1, p2) = (p.slice_rows(0, batch), p.slice_rows(batch, batch));
        let (t1, t2) = (target.slice_rows(0, batch), target.slice_rows(batch, batch));
        let loss = byol_loss(&p1, &t2, &p2, &t1);

        let step = learner.step(&loss);
        let momentum = teacher.follow(&learner, &step);
        run.end_step(&step, &z, &[&momentum])?;
    }
    run.finish()
}
