//! SimCLR: two augmented views of an image attract each other, views of different images repel.
//!
//!     cargo run --release --example simclr -- --recipe simclr-cifar10 --data cifar10:DIR --out runs/simclr
//!
//! Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of Visual Representations".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::{nt_xent, nt_xent_dot};
use wgrad::train::{self, Collapse, Flags, Model, Setup, Summary};

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
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, tau) = (config.batch, config.temperature());

    // An encoder whose output is kept, and a projector that is thrown away after training.
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
        candidates: Some(2 * batch - 1),
        parts: vec![],
        collapse: Collapse {
            loss: ((2 * batch - 1) as f64).ln(),
            knobs: "raise --lr or --batch, lower --tau, weaken augment.crop",
        },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        // 2N views: rows 0..N are the first view of each image, N..2N the second.
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);

        // Cross-entropy over 2N - 1 candidates for each view; the right one is the other view of its image.
        let (z1, z2) = (z.slice_rows(0, batch), z.slice_rows(batch, batch));
        let loss = match options.similarity {
            Similarity::Cosine => nt_xent(&z1, &z2, tau),
            Similarity::Dot => nt_xent_dot(&z1, &z2, tau),
        };
        let gradient = scaler.gradient(&params, &loss);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss, lr, &z, &[])?;
    }
    run.finish()
}
