//! DINO: the student's distribution over K outputs follows that of a centred and sharpened teacher, from global views and from
//! small crops to other global views.
//!
//!     cargo run --release --example dino -- --recipe dino-cifar10 --data cifar10:DIR --out runs/dino
//!
//! Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers".

use std::num::NonZero;
use std::process::ExitCode;

use serde::Deserialize;
use wgrad::Tensor;
use wgrad::nn::{DinoHead, DinoHeadConfig, Mode, ParamBuilder};
use wgrad::optim::ClipBy;
use wgrad::ssl::{Center, TeacherTemperature, dino_loss};
use wgrad::train::{
    self, Augmentation, Collapse, Flags, Learner, Model, Part, Setup, Summary, TeacherMomentum,
};

/// `[options]` of a recipe. `--tau` is the student's temperature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Width of the head's hidden layers.
    hidden: NonZero<usize>,
    /// Width of the normalised layer before the last.
    bottleneck: NonZero<usize>,
    /// Whether batch normalisation follows the hidden layers.
    batch_norm: bool,
    /// Outputs, K.
    outputs: NonZero<usize>,
    /// Of the teacher.
    momentum: TeacherMomentum,
    /// Of the centre.
    center_momentum: f32,
    /// The teacher's temperature, from the first to the second value
    teacher_tau: [f32; 2],
    /// over this share of the steps.
    teacher_warmup: f64,
    /// Small crops of each image beside the two global views.
    local_crops: u32,
    /// Their range of areas, as a share of the image's.
    local_area: [f64; 2],
    /// Their height and width.
    local_size: NonZero<usize>,
    /// Largest norm of a parameter's gradient.
    clip: f32,
}

fn main() -> ExitCode {
    train::main(|| dino(&Flags::from_args(include_str!("dino.rs"))))
}

pub(crate) fn dino(flags: &Flags) -> wgrad::Result<Summary> {
    let (setup, options) = Setup::open::<Options>("dino", flags)?;
    let (config, outputs) = (setup.config().clone(), options.outputs.get());

    let build = ParamBuilder::new(setup.rng());
    let encoder = setup.encoder(&build);
    let (hidden, bottleneck) = (options.hidden.get(), options.bottleneck.get());
    let inputs = encoder.features();
    let head = DinoHeadConfig { inputs, hidden, bottleneck, outputs, batch_norm: options.batch_norm };
    let head = DinoHead::new(&build.scope("head"), &head);
    let mut learner = Learner::new(&setup, build)?.clip(options.clip, ClipBy::Tensor);

    let teacher = learner.teacher(options.momentum)?;
    let center = Center::new(setup.gpu(), outputs, options.center_momentum)?;
    let [start, end] = options.teacher_tau;
    let warmup = (options.teacher_warmup * config.steps as f64).round() as u64;
    let teacher_tau = TeacherTemperature { start, end, warmup };

    let small = Augmentation { crop: options.local_area, ..config.augment.clone() };
    let small = setup.augment_with(&small, Some(options.local_size.get()));

    let state = teacher.keep(learner.state()).tensor("center", center.values());
    let most = (outputs as f64).ln();
    let collapse =
        Collapse { loss: most, knobs: "lower options.teacher_tau or options.momentum, raise --lr" };
    let model = Model::new(learner.params(), &*encoder, &head, collapse)
        .part(Part::logged("momentum"))
        .part(Part {
            name: "teacher_entropy",
            healthy: (0.02 * most, 0.99 * most),
            outside: "near 0 one output wins everywhere: lower options.center_momentum or raise \
                          options.teacher_tau; near ln K all are equal: lower options.teacher_tau",
        })
        .part(Part::logged("kl"));
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let views = run.views(&images, 0..2)?;
        let mut features = encoder.forward(learner.params(), &views, Mode::Train);
        if options.local_crops > 0 {
            let crops = run.views_by(&small, &images, 2..2 + options.local_crops)?;
            features =
                Tensor::concat_rows(&[&features, &encoder.forward(learner.params(), &crops, Mode::Train)]);
        }
        // The last layer rests for the first epoch.
        let student = head.forward(learner.params(), &features, Mode::Train, images.epoch == 0);
        let target = head.forward(
            teacher.params(),
            &encoder.forward(teacher.params(), &views, Mode::Train),
            Mode::Train,
            true,
        );

        let dino = dino_loss(&student, &target, &center, config.temperature(), teacher_tau.at(images.step));

        let step = learner.step(&dino.loss);
        center.update(&target);
        let momentum = teacher.follow(&learner, &step);
        let z = student.slice_rows(0, 2 * config.batch);
        run.end_step(&step, &z, &[&momentum, &dino.teacher_entropy, &dino.kl])?;
    }
    run.finish()
}
