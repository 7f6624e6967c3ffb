//! Instance discrimination: every image is a class of its own, its weight vector a row of a memory bank.
//!
//!     cargo run --release --example instance_discrimination -- --recipe instance_discrimination-cifar10 --data cifar10:DIR
//!
//! Wu, Xiong, Yu & Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination".

use std::process::ExitCode;

use serde::Deserialize;
use wgrad::data::Images;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::rng::streams;
use wgrad::ssl::{Bank, Nce, instance_discrimination_loss};
use wgrad::train::{self, Collapse, Flags, Learner, Model, Part, Setup, Summary};

/// `[options]` of a recipe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Widths of the head after the encoder's; one, a linear layer, in the paper.
    projector: Vec<usize>,
    /// Whether the bank starts with the embeddings of the images before the first step, or with random rows as in the
    /// paper, which a short run spends its first epoch to forget.
    fill: bool,
    /// Weight of a bank's row in the mean with the new embedding of its image, 0 to replace it.
    bank_momentum: f32,
    /// Softmax over the whole bank, or noise-contrastive estimation.
    form: Form,
    /// Negatives an image, for `nce`.
    negatives: usize,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Form {
    Softmax,
    Nce,
}

/// Images at a time that fill the bank.
const FILLED: usize = 500;

fn main() -> ExitCode {
    train::main(|| instance_discrimination(&Flags::from_args(include_str!("instance_discrimination.rs"))))
}

pub(crate) fn instance_discrimination(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("instance_discrimination", flags)?;
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, tau, images) = (config.batch, config.temperature(), config.train_images);

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &options.projector);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let mut learner = Learner::new(&setup, build)?;

    let bank = Bank::new(&gpu, images, projector.features(), &mut setup.rng())?;
    let mut nce = Nce::new(tau, &gpu)?;
    if setup.step() > 0 {
        nce.resume();
    }
    let (rng, no_staleness) = (setup.rng(), gpu.zeros([])?);

    let state = learner.state().tensor("bank", bank.rows()).tensor("ln_z", nce.ln_z());
    let softmax = options.form == Form::Softmax;
    let collapse = Collapse {
        // Equal scores: ln M, or by NCE against m draws ln(1 + m) + m ln(1 + 1/m), less what Z takes up.
        loss: if softmax { (images as f64).ln() } else { nce_untrained(options.negatives) },
        knobs: "raise --lr, lower --tau, train for more epochs: a row is seen once in each",
    };
    let model = Model::new(learner.params(), &*encoder, &projector, collapse).candidates(softmax.then_some(images))
        .part(Part {
            name: "staleness",
            healthy: (-1.0, 0.9),
            outside: "rows of the bank no longer say where their images are; lower options.bank_momentum or --lr",
        });
    if options.fill && setup.step() == 0 {
        let (data, augment) = (setup.train_set(), setup.augment());
        let start = learner.params().fork(); // so that the running statistics stay as they are
        for first in (0..images).step_by(FILLED) {
            let part = Images::range(&gpu, data, first..images.min(first + FILLED))?;
            let indices: Vec<u32> = (first as u32..(first + part.len()) as u32).collect();
            let features = encoder.forward(&start, &augment.plain(&part), Mode::Train);
            let z = projector.forward(&start, &features, Mode::Train);
            bank.update(&gpu.tensor_u32(&indices, [part.len()])?, &z, 0.0);
        }
    }
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let indices = gpu.tensor_u32(&images.indices, [batch])?;
        let view = run.views(&images, 0..1)?;
        let z = projector.forward(
            learner.params(),
            &encoder.forward(learner.params(), &view, Mode::Train),
            Mode::Train,
        );

        let loss = match options.form {
            Form::Softmax => instance_discrimination_loss(&z, &bank, &indices, tau),
            Form::Nce => {
                let mut draws = rng.stream(streams::USER + images.step as u32);
                let negatives = bank.draw(batch * options.negatives, &mut draws)?;
                nce.loss(&z, &bank, &indices, &negatives)
            }
        };

        // How far the rows were from where the images are now. Random ones say nothing in the first epoch.
        let staleness = if images.epoch == 0 && !options.fill {
            no_staleness.clone()
        } else {
            bank.staleness(&indices, &z)
        };

        let step = learner.step(&loss);
        bank.update(&indices, &z, options.bank_momentum);
        run.end_step(&step, &z, &[&staleness])?;
    }
    run.finish()
}

/// The loss where every score is that of the noise: h = 1 / (1 + m) for the image and for each of m draws.
fn nce_untrained(m: usize) -> f64 {
    let m = m as f64;
    (1.0 + m).ln() - m * (m / (1.0 + m)).ln()
}
