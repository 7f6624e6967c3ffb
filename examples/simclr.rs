//! SimCLR: two augmented views of an image attract each other, views of different images repel.
//!
//!     cargo run --release --example simclr -- --recipe simclr-cifar10 --data cifar10:DIR --out runs/simclr
//!
//! Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of Visual Representations".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::{nt_xent, nt_xent_dot};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Of unit vectors, or of vectors as they are.
    similarity: Similarity,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Similarity {
    Cosine,
    Dot,
}

fn main() -> ExitCode {
    train::main(|| simclr(&Flags::from_args(include_str!("simclr.rs"))))
}

pub(crate) fn simclr(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("simclr", flags)?;
    let (batch, tau) = (setup.config().batch, setup.config().temperature());

    // An encoder whose output is kept, and a projector that is thrown away after training.
    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;

    let collapse = Collapse {
        loss: ((2 * batch - 1) as f64).ln(),
        knobs: "raise --lr or --batch, lower --tau, weaken augment.crop",
    };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).candidates(2 * batch - 1);
    let mut run = setup.begin(model, learner.state())?;
    while let Some(images) = run.next_batch()? {
        // 2N views: rows 0..N are the first view of each image, N..2N the second.
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);

        // Cross-entropy over 2N - 1 candidates for each view; the right one is the other view of its image.
        let (z1, z2) = (z.slice_rows(0, batch), z.slice_rows(batch, batch));
        let loss = match options.similarity {
            Similarity::Cosine => nt_xent(&z1, &z2, tau),
            Similarity::Dot => nt_xent_dot(&z1, &z2, tau),
        };

        let step = learner.step(&loss);
        run.end_step(&step, &z, &[])?;
    }
    run.finish()
}
