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
use wgrad::data::Images;
use wgrad::nn::{DinoHead, DinoHeadConfig, Mode, ParamBuilder, ResNet};
use wgrad::optim::{ClipBy, Ema, LossScaler, clip_grad_norm};
use wgrad::ssl::{Center, TeacherTemperature, dino_loss};
use wgrad::train::{self, Augmentation, Collapse, Flags, Model, Part, Setup, Summary, TeacherMomentum};

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
    let (gpu, config) = (setup.gpu().clone(), setup.config().clone());
    let (batch, outputs) = (config.batch, options.outputs.get());

    let build = ParamBuilder::new(setup.rng());
    let encoder = ResNet::new(&build.scope("encoder"), &setup.encoder());
    let (hidden, bottleneck) = (options.hidden.get(), options.bottleneck.get());
    let inputs = encoder.features();
    let head = DinoHeadConfig { inputs, hidden, bottleneck, outputs, batch_norm: options.batch_norm };
    let head = DinoHead::new(&build.scope("head"), &head);
    let params = build.finish(&gpu)?.with_precision(setup.precision());

    let teacher = params.fork();
    let ema = Ema::new(&params, options.momentum.over(config.steps)?)?;
    let center = Center::new(&gpu, outputs, options.center_momentum)?;
    let [start, end] = options.teacher_tau;
    let warmup = (options.teacher_warmup * config.steps as f64).round() as u64;
    let teacher_tau = TeacherTemperature { start, end, warmup };

    let mut optimizer = config.optimizer.build(&params)?;
    let scaler = LossScaler::new(&params)?; // idle in f32
    let schedule = config.schedule();
    let augment = setup.augment();
    let small = Augmentation { crop: options.local_area, ..config.augment.clone() };
    let small = setup.augment_with(&small, Some(options.local_size.get()));

    let state = setup.state().network("", &params).optimizer("optimizer", &mut *optimizer).scaler(&scaler);
    let state = state.network("teacher.", &teacher).tensors("ema", ema.state());
    let state = state.tensor("center", center.values());
    let most = (outputs as f64).ln();
    let model = Model {
        params: &params,
        encode: Box::new(|params, images| encoder.forward(params, images, Mode::Eval)),
        embed: Box::new(|params, features| head.forward(params, features, Mode::Eval, true)),
        augment: &augment,
        candidates: None,
        parts: vec![
            Part::logged("momentum"),
            Part {
                name: "teacher_entropy",
                healthy: (0.02 * most, 0.99 * most),
                outside: "near 0 one output wins everywhere: lower options.center_momentum or raise \
                          options.teacher_tau; near ln K all are equal: lower options.teacher_tau",
            },
            Part::logged("kl"),
        ],
        collapse: Collapse { loss: most, knobs: "lower options.teacher_tau or options.momentum, raise --lr" },
    };
    let mut run = setup.begin(model, state)?;
    while let Some(images) = run.next_batch()? {
        let uploaded = Images::upload(&gpu, &images)?;
        let views = augment.views(&uploaded, images.epoch, 0..2);
        let mut features = encoder.forward(&params, &views, Mode::Train);
        if options.local_crops > 0 {
            let crops = small.views(&uploaded, images.epoch, 2..2 + options.local_crops);
            features = Tensor::concat_rows(&[&features, &encoder.forward(&params, &crops, Mode::Train)]);
        }
        // The last layer rests for the first epoch.
        let student = head.forward(&params, &features, Mode::Train, images.epoch == 0);
        let target =
            head.forward(&teacher, &encoder.forward(&teacher, &views, Mode::Train), Mode::Train, true);

        let dino = dino_loss(&student, &target, &center, config.temperature(), teacher_tau.at(images.step));
        let gradient = scaler.gradient(&params, &dino.loss);
        center.update(&target);
        let _norms = clip_grad_norm(&params, &gradient, options.clip, ClipBy::Tensor);

        let lr = schedule.at(images.step);
        scaler.step(&mut *optimizer, &params, &gradient, lr);
        ema.update(&teacher, &params, &gradient, &scaler, images.step);
        let momentum = ema.momentum(images.step);
        let z = student.slice_rows(0, 2 * batch);
        run.end_step(&dino.loss, lr, &z, &[&momentum, &dino.teacher_entropy, &dino.kl])?;
    }
    run.finish()
}
