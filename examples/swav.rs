//! SwAV: images are assigned to prototypes in equal parts, and each view predicts the assignment of another.
//!
//!     cargo run --release --example swav -- --recipe swav-cifar10 --data cifar10:DIR --out runs/swav
//!
//! Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::Tensor;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Prototypes};
use wgrad::ssl::{Probe, Queue, SwavOptions, swav_loss};
use wgrad::train::{self, Augmentation, Collapse, Flags, Learner, Model, Part, Setup, Summary};

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
    let (gpu, config) = (setup.gpu(), setup.config());
    let batch = config.batch;
    let Options { epsilon, iterations, .. } = options;
    let swav = SwavOptions { tau: config.temperature(), epsilon, iterations: iterations.get() };
    train::check_queue("options.queue", options.queue, batch)?;

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let width = projector.features();
    let prototypes = Prototypes::new(&build.scope("prototypes"), width, options.prototypes.get());
    let mut learner = Learner::new(&setup, build)?;

    // One queue a view.
    let mut rng = setup.rng();
    let mut queues = vec![];
    for _ in 0..2 {
        queues.push(Queue::new(gpu, options.queue.max(batch), width, &mut rng)?);
    }
    let probe = Probe::new(gpu, setup.batch_shape(), width)?;
    let queue_from = (options.queue_from * config.steps as f64).round() as u64;

    let small = Augmentation { crop: options.local_area, ..config.augment.clone() };
    let small = setup.augment_with(&small, Some(options.local_size.get()));

    let mut state = learner.state();
    for (name, queue) in ["queue.0", "queue.1"].into_iter().zip(&mut queues) {
        state = state.queue(name, queue, batch);
    }
    state = state.tensors("probe", probe.state());
    let collapse = Collapse {
        loss: (options.prototypes.get() as f64).ln(),
        knobs: "lower options.epsilon or --tau, raise --lr",
    };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).part(Part {
        name: "staleness",
        healthy: (-1.0, 0.5),
        outside: "the oldest rows are no longer the encoder's; shorten options.queue, lower --lr",
    });
    let frozen = learner.params().frozen();
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let mut features = encoder.forward(learner.params(), &views, Mode::Train);
        if options.local_crops > 0 {
            let crops = run.views_by(&small, &images, 2..2 + options.local_crops)?;
            features =
                Tensor::concat_rows(&[&features, &encoder.forward(learner.params(), &crops, Mode::Train)]);
        }
        let z = projector.forward(learner.params(), &features, Mode::Train);
        // Prototypes rest for the first epoch.
        let scores = prototypes.forward(learner.params(), &z, images.epoch == 0);

        let with_queue = options.queue > 0 && images.step >= queue_from && queues[0].is_full();
        let earlier = with_queue.then(|| [0, 1].map(|v| prototypes.forward(&frozen, queues[v].rows(), true)));
        let loss = swav_loss(&scores, batch, earlier.as_ref().map(|[first, second]| [first, second]), swav);
        let new = z.stop_gradient().l2_normalize();
        probe.observe(&queues[0], &views.slice_rows(0, batch), &new.slice_rows(0, batch), |images| {
            let now = learner.params().fork(); // so that the running statistics stay as they are
            projector.forward(&now, &encoder.forward(&now, images, Mode::Train), Mode::Train)
        });

        let step = learner.step(&loss);
        for (view, queue) in queues.iter_mut().enumerate() {
            queue.enqueue(&new.slice_rows(view * batch, batch));
        }
        run.end_step(&step, &z, &[probe.staleness()])?;
    }
    run.finish()
}
