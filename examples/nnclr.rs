//! NNCLR: the positive of a view is not its other view but that one's nearest neighbour among earlier images.
//!
//!     cargo run --release --example nnclr -- --recipe nnclr-cifar10 --data cifar10:DIR --out runs/nnclr
//!
//! Dwibedi et al. 2021, "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual Representations".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{LastNorm, Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::{Probe, Queue, nnclr_loss};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Part, Setup, Summary};

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
    let (gpu, batch, tau) = (setup.gpu(), setup.config().batch, setup.config().temperature());
    train::check_queue("options.queue", options.queue.get(), batch)?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head =
        MlpConfig { last_norm: LastNorm::Batch, ..MlpConfig::simclr(encoder.features(), &options.projector) };
    let projector = Mlp::new(&build.scope("projector"), &head);
    let predictor = MlpConfig::predictor(projector.features(), options.predictor.get());
    let predictor = Mlp::new(&build.scope("predictor"), &predictor);
    let mut learner = Learner::new(&setup, build)?;

    let width = projector.features();
    let mut queue = Queue::new(gpu, options.queue.get(), width, &mut setup.rng())?;
    let probe = Probe::new(gpu, setup.batch_shape(), width)?;

    let state = learner.state().queue("queue", &mut queue, batch).tensors("probe", probe.state());
    let collapse = Collapse { loss: (batch as f64).ln(), knobs: "raise --lr or --batch, lower --tau" };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).candidates(batch).part(Part {
        name: "staleness",
        healthy: (-1.0, 0.5),
        outside: "the oldest rows are no longer the encoder's; shorten options.queue, lower --lr",
    });
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let features = encoder.forward(learner.params(), &views, Mode::Train);
        let z = projector.forward(learner.params(), &features, Mode::Train);
        let p = predictor.forward(learner.params(), &z, Mode::Train);

        let (z1, z2) = (z.slice_rows(0, batch), z.slice_rows(batch, batch));
        let (p1, p2) = (p.slice_rows(0, batch), p.slice_rows(batch, batch));
        let loss = nnclr_loss(&z1, &p1, &z2, &p2, &queue, tau);
        let new = z1.stop_gradient().l2_normalize();
        probe.observe(&queue, &views.slice_rows(0, batch), &new, |images| {
            let now = learner.params().fork(); // so that the running statistics stay as they are
            projector.forward(&now, &encoder.forward(&now, images, Mode::Train), Mode::Train)
        });

        let step = learner.step(&loss);
        queue.enqueue(&new);
        run.end_step(&step, &z, &[probe.staleness()])?;
    }
    run.finish()
}
