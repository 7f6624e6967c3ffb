//! SwAV: images are assigned to prototypes in equal parts, and each view predicts the assignment of another.
//!
//!     cargo run --release --example swav -- --recipe swav-cifar10 --data cifar10:DIR --out runs/swav
//!
//! Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::Tensor;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Prototypes, ResNet};
use wgrad::optim::LossScaler;
use wgrad::ssl::{Probe, Queue, SwavOptions, swav_loss};
use wgrad::train::{self, Augmentation, Collapse, Flags, Model, Part, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the projector after the encoder's.
    projector: Vec<usize>,
    /// Number of prototypes.
    prototypes: NonZero<usize>,
    /// Entropy weight of the assignment.
    epsilon: f32,
    /// Rounds of Sinkhorn-Knopp.
    iterations: NonZero<usize>,
    /// Earlier embeddings of each view that join the assignment, a multiple of the batch; 0 for none.
    queue: usize,
    /// Share of the steps before they do.
    queue_from: f64,
    /// Small crops of each image beside the two global views.
    local_crops: u32,
    /// Their range of areas, as a share of the image's.
    local_area: [f64; 2],
    /// Their height and width.
    local_size: NonZero<usize>,
}

fn main() -> ExitCode {
    train::main(|| swav(&Flags::from_args(include_str!("swav.rs"))))
}

pub(crate) fn swav(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("swav", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let batch = config.batch;
    let Options { epsilon, iterations, .. } = options;
    let swav = SwavOptions { tau: config.temperature(), epsilon, iterations: iterations.get() };
    train::check_queue("options.queue", options.queue, batch)?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let width = head.widths[head.widths.len() - 1];
    let prototypes = Prototypes::new(&build.scope("prototypes"), width, options.prototypes.get());
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    // One queue a view.
    let mut rng = setup.rng();
    let mut queues = vec![];
    for _ in 0..2 {
        queues.push(Queue::new(&gpu, options.queue.max(batch), width, &mut rng)?);
    }
    let [height, wide, channels] = setup.train_set().dims();
    let probe = Probe::new(&gpu, [batch, height, wide, channels], width)?;
    let queue_from = (options.queue_from * config.steps as f64).round() as u64;

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();
    let small = Augmentation { crop: options.local_area, ..config.augment.clone() };
    let small = setup.augment_with(&small, Some(options.local_size.get()));

    let mut state =
        setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    for (name, queue) in ["queue.0", "queue.1"].into_iter().zip(&mut queues) {
        state = state.queue(name, queue, batch);
    }
    let state = state.tensors("probe", probe.state());
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| projector.forward(params, features, Mode::Eval)),
        augment: &augment,
        candidates: None,
        parts: vec![Part {
            name: "staleness",
            healthy: (-1.0, 0.5),
            outside: "the oldest rows are no longer the encoder's; shorten options.queue, lower --lr",
        }],
        collapse: Collapse {
            loss: (options.prototypes.get() as f64).ln(),
            knobs: "lower options.epsilon or --tau, raise --lr",
        },
    };
    let frozen = params.frozen();
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let uploaded = Images::upload(&gpu, &images)?;
        let views = augment.views(&uploaded, images.epoch, 0..2);
        let mut features = encoder.forward(&params, &views, Mode::Train);
        if options.local_crops > 0 {
            let crops = small.views(&uploaded, images.epoch, 2..2 + options.local_crops);
            features = Tensor::concat_rows(&[&features, &encoder.forward(&params, &crops, Mode::Train)]);
        }
        let z = projector.forward(&params, &features, Mode::Train);
        // Prototypes rest for the first epoch.
        let scores = prototypes.forward(&params, &z, images.epoch == 0);

        let with_queue = options.queue > 0 && images.step >= queue_from && queues[0].is_full();
        let earlier = with_queue.then(|| [0, 1].map(|v| prototypes.forward(&frozen, queues[v].rows(), true)));
        let loss = swav_loss(&scores, batch, earlier.as_ref().map(|[first, second]| [first, second]), swav);
        let gradient = scaler.gradient(&params, &loss);
        let new = z.stop_gradient().l2_normalize();
        probe.observe(&queues[0], &views.slice_rows(0, batch), &new.slice_rows(0, batch), |images| {
            let now = params.fork(); // so that the running statistics stay as they are
            projector.forward(&now, &encoder.forward(&now, images, Mode::Train), Mode::Train)
        });
        for (view, queue) in queues.iter_mut().enumerate() {
            queue.enqueue(&new.slice_rows(view * batch, batch));
        }

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        run.end_step(&loss, lr, &z, &[probe.staleness()])?;
    }
    run.finish()
}
