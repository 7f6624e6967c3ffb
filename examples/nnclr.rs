//! NNCLR: the positive of a view is not its other view but that one's nearest neighbour among earlier images.
//!
//!     cargo run --release --example nnclr -- --recipe nnclr-cifar10 --data cifar10:DIR --out runs/nnclr
//!
//! Dwibedi et al. 2021, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{LastNorm, Mlp, MlpConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::{Probe, Queue, nnclr_loss};
use wgrad::train::{self, Collapse, Flags, Model, Part, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Hidden width of the predictor.
    predictor: NonZero<usize>,
    /// Embeddings of earlier images, a multiple of the batch: where neighbours are looked for.
    queue: NonZero<usize>,
}

fn main() -> ExitCode {
    train::main(|| nnclr(&Flags::from_args(include_str!("nnclr.rs"))))
}

pub(crate) fn nnclr(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("nnclr", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, tau) = (config.batch, config.temperature());
    train::check_queue("options.queue", options.queue.get(), batch)?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head =
        MlpConfig { last_norm: LastNorm::Batch, ..MlpConfig::simclr(encoder.features(), &options.projector) };
    let projector = Mlp::new(&build.scope("projector"), &head);
    let width = head.widths[head.widths.len() - 1];
    let predictor =
        Mlp::new(&build.scope("predictor"), &MlpConfig::predictor(width, options.predictor.get()));
    let params = build.finish(&gpu)?.with_precision(setup.precision());
    let mut queue = Queue::new(&gpu, options.queue.get(), width, &mut setup.rng())?;

    let [height, wide, channels] = setup.train_set().dims();
    let probe = Probe::new(&gpu, [batch, height, wide, channels], width)?;

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let state = state.queue("queue", &mut queue, batch).tensors("probe", probe.state());
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: Some(batch),
        parts: vec![Part {
            name: "staleness",
            healthy: (-1.0, 0.5),
            outside: "the oldest rows are no longer the encoder's; shorten options.queue, lower --lr",
        }],
        collapse: Collapse { loss: (batch as f64).ln(), knobs: "raise --lr or --batch, lower --tau" },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);
        let p = predictor.forward(&params, &z, Mode::Train);

        let (z1, z2) = (z.slice_rows(0, batch), z.slice_rows(batch, batch));
        let (p1, p2) = (p.slice_rows(0, batch), p.slice_rows(batch, batch));
        let loss = nnclr_loss(&z1, &p1, &z2, &p2, &queue, tau);
        let gradient = scaler.gradient(&params, &loss);
        let new = z1.stop_gradient().l2_normalize();
        probe.observe(&queue, &views.slice_rows(0, batch), &new, |images| {
            let now = params.fork(); // so that the running statistics stay as they are
            projector.forward(&now, &encoder.forward(&now, images, Mode::Train), Mode::Train)
        });
        queue.enqueue(&new);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss, lr, &z, &[probe.staleness()])?;
    }
    run.finish()
}
