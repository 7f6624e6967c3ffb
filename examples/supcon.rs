//! SupCon: SimCLR with labels, for comparison. Every view of the same class is a positive.
//!
//!     cargo run --release --example supcon -- --recipe supcon-cifar10 --data cifar10:DIR --out runs/supcon
//!
//! Khosla et al. 2020, "Supervised Contrastive Learning". The one method here that sees labels in training.

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::SupCon;
use wgrad::train::{self, Collapse, Flags, Learner, Model, Setup, Summary};

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
    let (gpu, batch, tau) = (setup.gpu().clone(), setup.config().batch, setup.config().temperature());
    let supcon = SupCon::new(&gpu, setup.train_set().classes(), tau)?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;

    let collapse = Collapse { loss: ((2 * batch - 1) as f64).ln(), knobs: "raise --lr, lower --tau" };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse);
    let mut run = setup.begin(model, learner.state())?;
    while let Some(images) = run.next_batch()? {
        let labels = gpu.tensor_u32(&images.labels, [batch])?;
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);

        let loss = supcon.loss(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), &labels);

        let step = learner.step(&loss);
        run.end_step(&step, &z, &[])?;
    }
    run.finish()
}
