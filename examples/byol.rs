//! BYOL: the student predicts what a teacher, its own moving average, makes of the other view. No negatives.
//!
//!     cargo run --release --example byol -- --recipe byol-cifar10 --data cifar10:DIR --out runs/byol
//!
//! Grill et al. 2020, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::{Ema, LossScaler};
use wgrad::ssl::byol_loss;
use wgrad::train::{self, Collapse, Flags, Model, Part, Setup, Summary, TeacherMomentum};

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
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let batch = config.batch;

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let width = head.widths[head.widths.len() - 1];
    let predictor =
        Mlp::new(&build.scope("predictor"), &MlpConfig::predictor(width, options.predictor.get()));
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    // The teacher has a predictor too, and does not use it.
    let teacher = params.fork();
    let ema = Ema::new(&params, options.momentum.over(config.steps)?)?;

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let state = state.network("teacher.", &teacher).tensors("ema", ema.state());
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: None,
        parts: vec![Part::logged("momentum")],
        collapse: Collapse {
            loss: 0.0,
            knobs: "raise options.momentum, lower --lr, widen options.predictor",
        },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);
        let p = predictor.forward(&params, &z, Mode::Train);
        let target =
            projector.forward(&teacher, &encoder.forward(&teacher, &views, Mode::Train), Mode::Train);

        let (p1, p2) = (p.slice_rows(0, batch), p.slice_rows(batch, batch));
        let (t1, t2) = (target.slice_rows(0, batch), target.slice_rows(batch, batch));
        let loss = byol_loss(&p1, &t2, &p2, &t1);
        let gradient = scaler.gradient(&params, &loss);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        ema.update(&teacher, &params, &gradient, &scaler, images.step);
        let momentum = ema.momentum(images.step);
        run.end_step(&loss, lr, &z, &[&momentum])?;
    }
    run.finish()
}
