//! MoCo: queries of the student find their keys, made by a slowly moving teacher, among those of earlier batches.
//!
//!     cargo run --release --example moco -- --recipe moco-cifar10 --data cifar10:DIR --out runs/moco
//!
//! He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning" (one width in `options.projector`);
//! Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (two).

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, in_parts};
use wgrad::rng::streams;
use wgrad::ssl::{Probe, Queue, Shuffle, moco_loss};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Part, Setup, Summary, TeacherMomentum};
use wgrad::{Error, Tensor};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the head after the encoder's.
    projector: Vec<usize>,
    /// Keys of earlier batches, a multiple of the rows of a step.
    queue: NonZero<usize>,
    /// Of the teacher.
    momentum: TeacherMomentum,
    /// Parts of a batch that batch normalisation sees one at a time.
    bn_splits: NonZero<usize>,
    /// Whether both views are queries, and both keys of later batches.
    symmetric: bool,
}

fn main() -> ExitCode {
    train::main(|| moco(&Flags::from_args(include_str!("moco.rs"))))
}

pub(crate) fn moco(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("moco", flags)?;
    let (gpu, batch, tau) = (setup.gpu().clone(), setup.config().batch, setup.config().temperature());
    let (size, splits) = (options.queue.get(), options.bn_splits.get());
    let rows = if options.symmetric { 2 * batch } else { batch };
    train::check_queue("options.queue", size, rows)?;
    if !batch.is_multiple_of(splits) {
        let line = format!("--set options.bn_splits={splits}: must divide the batch of {batch}");
        return Err(Error::Argument(line));
    }

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;
    let embed = |params: &Params, views: &Tensor| {
        in_parts(views, splits, |part| {
            projector.forward(params, &encoder.forward(params, part, Mode::Train), Mode::Train)
        })
    };

    let (teacher, rng, width) = (learner.teacher(options.momentum)?, setup.rng(), projector.features());
    let mut queue = Queue::new(&gpu, size, width, &mut setup.rng())?;
    let probe = Probe::new(&gpu, setup.batch_shape(), width)?;

    let state = teacher.keep(learner.state());
    let state = state.queue("queue", &mut queue, rows).tensors("probe", probe.state());
    let collapse =
        Collapse { loss: ((size + 1) as f64).ln(), knobs: "raise --lr or options.momentum, lower --tau" };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).candidates(size + 1)
        .part(Part::logged("momentum"))
        .part(Part {
                name: "staleness",
                healthy: (-1.0, 0.5),
                outside: "the oldest keys are no longer the teacher's; raise options.momentum, shorten options.queue",
            });
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let (first, second) = (views.slice_rows(0, batch), views.slice_rows(batch, batch));

        // Keys are normalised in other company than queries, so that statistics do not tell which is which.
        let shuffle = Shuffle::new(&gpu, batch, &mut rng.stream(streams::USER + images.step as u32))?;
        let keys =
            |view: &Tensor| shuffle.restore(&embed(teacher.params(), &shuffle.shuffle(view))).l2_normalize();
        let (z, k) = (embed(learner.params(), &first), keys(&second));
        let mut loss = moco_loss(&z, &k, &queue, tau);
        let mut new = k;
        if options.symmetric {
            let other = keys(&first);
            loss =
                loss.add(&moco_loss(&embed(learner.params(), &second), &other, &queue, tau)).mul_scalar(0.5);
            new = Tensor::concat_rows(&[&other, &new]);
        }
        probe.observe(&queue, &second, &new.slice_rows(rows - batch, batch), keys);

        let step = learner.step(&loss);
        queue.enqueue(&new);
        let momentum = teacher.follow(&learner, &step);
        run.end_step(&step, &z, &[&momentum, probe.staleness()])?;
    }
    run.finish()
}
