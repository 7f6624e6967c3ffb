//! SimCLR: two augmented views of an image attract each other, views of different images repel.
//!
//!     cargo run --release --example simclr -- --data cifar10:DIR --epochs 200 --out runs/simclr
//!
//! Chen, Kornblith, Norouzi, Hinton 2020, "A Simple Framework for Contrastive Learning of Visual Representations".
//! Optimiser and projector are those for small images; `--help` lists the flags.

use std::process::ExitCode;

use wgrad::data::{Augment, Images, Recipe};
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::{Group, LossScaler, Schedule, Sgd, SgdOptions};
use wgrad::ssl::nt_xent;
use wgrad::train::{self, Defaults, Flags, Model, Setup, Summary};

/// Width of the embedding that the loss sees.
const EMBEDDING: usize = 128;

fn main() -> ExitCode {
    train::main(|| simclr(&Flags::from_args()))
}

pub(crate) fn simclr(flags: &Flags) -> wgrad::Result<Summary> {
    let setup = Setup::open("simclr", flags, Defaults::for_class)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, tau) = (config.batch, config.tau as f32);

    // An encoder whose output is kept, and a projector that is thrown away after training.
    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let width = encoder.features().max(EMBEDDING);
    let projector =
        Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), width, EMBEDDING));
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    // SGD with momentum, weight decay on every parameter; a tenth of the steps warms up, a half cosine follows.
    let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
    let mut sgd = Sgd::new(&params, options, Group::default_for)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = Schedule::warmup_cosine(config.lr, config.steps / 10, config.steps);

    // What a view may differ in is what the encoder learns to ignore: crop, flip, colour.
    let augment = Augment::new(Recipe::for_dataset(setup.train_set()), config.seed);

    let state = setup.state().network("", &params).optimizer("sgd", &mut sgd).scaler(&scaler);
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: Some(2 * batch - 1),
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        // 2N views: rows 0..N are the first view of each image, N..2N the second.
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);

        // Cross-entropy over 2N - 1 candidates for each view; the right one is the other view of its image.
        let loss = nt_xent(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), tau);
        let gradient = scaler.gradient(&params, &loss);

        let lr = schedule.at(images.step);
        scaler.step(&mut sgd, &params, &gradient, lr);
        run.end_step(&loss, lr)?;
    }
    run.finish()
}
