//! MoCo: queries of the student find their keys, made by a slowly moving teacher, among those of earlier batches.
//!
//!     cargo run --release --example moco -- --recipe moco-cifar10 --data cifar10:DIR --out runs/moco
//!
//! He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning" (one width in `options.projector`);
//! Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (two).

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, ResNet, in_parts};
use wgrad::optim::{Ema, LossScaler};
use wgrad::rng::streams;
use wgrad::ssl::{Probe, Queue, Shuffle, moco_loss};
use wgrad::train::{self, Collapse, Flags, Model, Part, Setup, Summary, TeacherMomentum};
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
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, tau, splits) = (config.batch, config.temperature(), options.bn_splits.get());
    let rows = if options.symmetric { 2 * batch } else { batch };
    train::check_queue("options.queue", options.queue.get(), rows)?;
    if !batch.is_multiple_of(splits) {
        let line = format!("--set options.bn_splits={splits}: must divide the batch of {batch}");
        return Err(Error::Argument(line));
    }

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let params = build.finish(&gpu)?.with_precision(setup.precision());
    let embed = |params: &Params, views: &Tensor| {
        in_parts(views, splits, |part| {
            projector.forward(params, &encoder.forward(params, part, Mode::Train), Mode::Train)
        })
    };

    let teacher = params.fork();
    let ema = Ema::new(&params, options.momentum.over(config.steps)?)?;
    let width = head.widths[head.widths.len() - 1];
    let mut queue = Queue::new(&gpu, options.queue.get(), width, &mut setup.rng())?;
    let [height, wide, channels] = setup.train_set().dims();
    let probe = Probe::new(&gpu, [batch, height, wide, channels], width)?;

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let (augment, rng) = (setup.augment(), setup.rng());

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let state = state.network("teacher.", &teacher).tensors("ema", ema.state());
    let state = state.queue("queue", &mut queue, rows).tensors("probe", probe.state());
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: Some(options.queue.get() + 1),
        parts: vec![
            Part::logged("momentum"),
            Part {
                name: "staleness",
                healthy: (-1.0, 0.5),
                outside: "the oldest keys are no longer the teacher's; raise options.momentum, shorten options.queue",
            },
        ],
        collapse: Collapse {
            loss: ((options.queue.get() + 1) as f64).ln(),
            knobs: "raise --lr or options.momentum, lower --tau",
        },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = augment.views(&Images::upload(&gpu, &images)?, images.epoch, 0..2);
        let (first, second) = (views.slice_rows(0, batch), views.slice_rows(batch, batch));

        // Keys are normalised in other company than queries, so that statistics do not tell which is which.
        let shuffle = Shuffle::new(&gpu, batch, &mut rng.stream(streams::USER + images.step as u32))?;
        let keys = |view: &Tensor| shuffle.restore(&embed(&teacher, &shuffle.shuffle(view))).l2_normalize();
        let (z, k) = (embed(&params, &first), keys(&second));
        let mut loss = moco_loss(&z, &k, &queue, tau);
        let mut new = k;
        if options.symmetric {
            let other = keys(&first);
            loss = loss.add(&moco_loss(&embed(&params, &second), &other, &queue, tau)).mul_scalar(0.5);
            new = Tensor::concat_rows(&[&other, &new]);
        }
        let gradient = scaler.gradient(&params, &loss);
        probe.observe(&queue, &second, &new.slice_rows(rows - batch, batch), keys);
        queue.enqueue(&new);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        ema.update(&teacher, &params, &gradient, &scaler, images.step);
        let momentum = ema.momentum(images.step);
        run.end_step(&loss, lr, &z, &[&momentum, probe.staleness()])?;
    }
    run.finish()
}
