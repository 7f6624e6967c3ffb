//! What an encoder learned without labels, used with them: a classifier on it, from many labels or from few.
//!
//!     cargo run --release --example finetune -- --from runs/simclr --mode full --labels-per-class 10 --from-scratch
//!
//! `--mode linear` trains the classifier alone: the features of all images are computed once, in eval mode and without
//! augmentation, so that a frozen encoder costs one pass. `--mode full` trains the encoder too, on random crops and flips, at
//! a learning rate of its own. `--init prototypes` starts the classifier at the class means of unit embeddings, as which it
//! is good before its first step: Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
//! whose memory bank has these embeddings already.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use wgrad::data::{Augment, Crop, DataSource, Dataset, Images, LabelBudget, Loader, Recipe, Splits};
use wgrad::eval::{accuracy, class_means};
use wgrad::nn::{Classifier, Mode, ParamBuilder, Params};
use wgrad::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use wgrad::train::plot::{self, Panel, Series};
use wgrad::train::{self, Checkpoint, Config, Embedder, Meta, Metrics, Row, RunDir, State};
use wgrad::{Error, Gpu, GpuBuilder, Result, Rng};

#[derive(Debug, Clone, Parser)]
#[command(version)]
pub(crate) struct Flags {
    /// Directory of the run, or its checkpoint
    #[arg(long, value_name = "PATH")]
    pub(crate) from: PathBuf,
    /// embedded, synthetic, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR or folder:DIR; that of the run if left out
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Option<DataSource>,
    /// Train the classifier on a frozen encoder, or all of it
    #[arg(long, value_enum, default_value = "linear")]
    pub(crate) mode: How,
    /// How the classifier starts
    #[arg(long, value_enum, default_value = "random")]
    pub(crate) init: Start,
    /// Use this share of the labels of each class
    #[arg(long, value_name = "SHARE", conflicts_with = "labels_per_class")]
    pub(crate) labels: Option<f64>,
    /// Use so many labels of each class
    #[arg(long, value_name = "N")]
    pub(crate) labels_per_class: Option<usize>,
    /// Also train the same network with --mode full from random weights, on the same labels, to compare with
    #[arg(long)]
    pub(crate) from_scratch: bool,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) steps: u64,
    /// Images a step, at most as many as have labels
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch: usize,
    /// Peak learning rate of the classifier, and of a network from scratch; .01 for a classifier alone, else .003
    #[arg(long, value_name = "X")]
    pub(crate) lr: Option<f64>,
    /// Peak learning rate of a trained encoder in --mode full
    #[arg(long, value_name = "X", default_value_t = 0.001)]
    pub(crate) encoder_lr: f64,
    /// Temperature of the prototypes
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    pub(crate) tau: f64,
    /// Names every random draw, the choice of labels included
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u32,
    /// Steps between evaluations; 0 for the end only
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) eval_every: u64,
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
    pub(crate) adapter: Option<String>,
    /// Directory of the run; must not hold another run
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    Linear,
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    Random,
    Prototypes,
}

/// `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) method: &'static str,
    pub(crate) from: PathBuf,
    /// The method that trained the encoder.
    pub(crate) encoder_method: String,
    pub(crate) adapter: String,
    pub(crate) precision: &'static str,
    pub(crate) data: String,
    pub(crate) mode: How,
    pub(crate) init: Start,
    pub(crate) labelled_images: usize,
    pub(crate) steps: u64,
    pub(crate) batch: usize,
    pub(crate) lr: f64,
    pub(crate) encoder_lr: f64,
    pub(crate) seed: u32,
    pub(crate) seconds: f64,
    pub(crate) test_top1_before: f64,
    pub(crate) test_top1: f64,
    pub(crate) test_top1_from_scratch: Option<f64>,
    pub(crate) protocol: String,
}

fn main() -> ExitCode {
    train::main(|| finetune(&train::parse(include_str!("finetune.rs"))))
}

pub(crate) fn finetune(flags: &Flags) -> Result<Summary> {
    let started = Instant::now();
    let budget = LabelBudget::new(flags.labels, flags.labels_per_class)?;
    let lr = flags.lr.unwrap_or(if flags.mode == How::Linear { 0.01 } else { 0.003 });
    for (flag, value) in [("lr", lr), ("encoder-lr", flags.encoder_lr), ("tau", flags.tau)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::Argument(format!("--{flag} {value}: must be a positive number")));
        }
    }
    let from = Checkpoint::read(&flags.from)?;
    let source = flags.data.clone().map_or_else(|| from.source(), Ok)?;
    let Splits { mut train, mut test } = source.load()?;
    from.fit(&mut [&mut train, &mut test])?;
    let own = source == from.source()?;
    if own {
        train.truncate(from.meta.config.train_images); // those of the run
    }
    let chosen = train.choose_labels(budget, flags.seed);
    let labelled = Arc::new(train.select(&chosen));
    let batch = flags.batch.min(labelled.len());
    if batch < 2 {
        return Err(Error::Argument(format!(
            "a batch of {batch}: batch normalisation needs at least 2 images"
        )));
    }

    let gpu = flags.adapter.iter().fold(Gpu::builder(), GpuBuilder::adapter).build()?;
    let dir = RunDir::create(flags.out.as_deref(), "finetune")?;
    let (method, adapter) = (&from.meta.config.method, &gpu.info().name);
    println!("finetune of {} ({method}) on {adapter}", flags.from.display());
    println!("{}: {budget}, {} images; {} test images", train.name, labelled.len(), test.len());
    let task = Task { flags, gpu: &gpu, from: &from, labelled: &labelled, test: &test, batch };

    // The encoder of the run, and a classifier that is random or at the class means.
    let prototypes = flags.init == Start::Prototypes;
    let network = task.network(prototypes)?;
    from.load("", &network.encoder_params)?;
    let mut beginning = "random weights";
    if prototypes {
        // The bank has a row an image of the run, in their order.
        let bank =
            from.tensor("bank").filter(|bank| own && bank.shape == [train.len(), network.embedder.width()]);
        let rows = if let Some(bank) = bank {
            beginning = "class means of the memory bank";
            gpu.tensor(&bank.data, &bank.shape[..])?.gather_rows(&gpu.tensor_u32(&chosen, [chosen.len()])?)
        } else {
            beginning = "class means of the labelled images";
            network.embedder.rows(&network.encoder_params, &labelled)?
        };
        let means = class_means(&rows, &labelled.labels, train.classes())?;
        network.classifier.start_at(&network.classifier_params, &means, flags.tau as f32);
    }
    let metrics = Metrics::open(dir.file("metrics.csv"), 0, &["test_top1"])?;
    let trained = task.train(&network, flags.mode, [lr, flags.encoder_lr], metrics)?;

    // The same labels without what the encoder had learned.
    let mut scratch = None;
    if flags.from_scratch {
        println!("from scratch:");
        let metrics = Metrics::open(dir.file("metrics_scratch.csv"), 0, &["test_top1"])?;
        let lr = flags.lr.unwrap_or(0.003);
        scratch = Some(task.train(&task.network(false)?, How::Full, [lr, lr], metrics)?);
    }

    curves(&dir, &trained, scratch.as_ref())?;
    let mut config =
        Config { method: "finetune".into(), adapter: adapter.clone(), ..from.meta.config.clone() };
    (config.precision, config.data, config.train_images) = ("f32".into(), source.to_string(), train.len());
    (config.steps, config.batch, config.lr, config.seed) = (flags.steps, batch, lr, flags.seed);
    let (seconds, rng_key) = (started.elapsed().as_secs_f64(), Rng::new(flags.seed).key());
    let normalization = [train.mean, train.std];
    let image = train.dims();
    let meta = Meta { step: flags.steps, rng_key, seconds, config, image, normalization, tuned: gpu.tuned() };
    let state = State::new(flags.steps).network("", &network.encoder_params);
    state.network("", &network.classifier_params).save(&dir.file("checkpoint.safetensors"), &meta)?;

    let what = match flags.mode {
        How::Linear => "encoder frozen in eval mode, features of the images as they are",
        How::Full => "encoder trained too, crops and flips",
    };
    let summary = Summary {
        method: "finetune",
        from: flags.from.clone(),
        encoder_method: method.clone(),
        adapter: adapter.clone(),
        precision: "f32",
        data: source.to_string(),
        mode: flags.mode,
        init: flags.init,
        labelled_images: labelled.len(),
        steps: flags.steps,
        batch,
        lr,
        encoder_lr: flags.encoder_lr,
        seed: flags.seed,
        seconds,
        test_top1_before: trained.before,
        test_top1: trained.after,
        test_top1_from_scratch: scratch.as_ref().map(|scratch| scratch.after),
        protocol: format!(
            "top-1 of a linear classifier on the {}, begun at {beginning}; {what}; {budget} ({} images), {} steps \
             of {batch} by AdamW, last step, all test images as they are, eval-mode BN",
            if prototypes { "unit embedding" } else { "encoder output" },
            labelled.len(),
            flags.steps
        ),
    };
    let json = serde_json::to_string_pretty(&summary).map_err(|e| Error::Argument(e.to_string()))?;
    dir.write("summary.json", format!("{json}\n").as_bytes())?;
    println!("  before the first step  top-1 {:5.1} %", 100.0 * summary.test_top1_before);
    println!("  after the last         top-1 {:5.1} %", 100.0 * summary.test_top1);
    if let Some(top1) = summary.test_top1_from_scratch {
        println!("  from scratch           top-1 {:5.1} %", 100.0 * top1);
    }
    println!("  {}", summary.protocol);
    println!(
        "written to {}: summary.json metrics.csv curves.svg checkpoint.safetensors",
        dir.path().display()
    );
    Ok(summary)
}

/// What both trainings share.
struct Task<'a> {
    flags: &'a Flags,
    gpu: &'a Gpu,
    from: &'a Checkpoint,
    labelled: &'a Arc<Dataset>,
    test: &'a Dataset,
    batch: usize,
}

/// An encoder and a classifier on it, their parameters apart.
struct Network {
    embedder: Embedder,
    encoder_params: Params,
    classifier: Classifier,
    classifier_params: Params,
}

/// What a training led to: accuracies, and the rows of its `metrics.csv`.
struct Outcome {
    before: f64,
    after: f64,
    rows: Vec<Row>,
}

impl Task<'_> {
    /// A network like the run's, with random weights. Of unit embeddings it has the projector, where there is one.
    fn network(&self, unit: bool) -> Result<Network> {
        let rng = Rng::new(self.flags.seed);
        let build = ParamBuilder::new(rng.clone());
        let embedder = self.from.embedder(&build, unit && self.from.projector().is_some())?.unit(unit);
        let encoder_params = build.finish(self.gpu)?;
        let build = ParamBuilder::new(rng);
        let new = if unit { Classifier::of_units } else { Classifier::new };
        let classifier = new(&build.scope("classifier"), embedder.width(), self.test.classes());
        Ok(Network { embedder, encoder_params, classifier, classifier_params: build.finish(self.gpu)? })
    }

    /// `lr` is that of the classifier, then of the encoder.
    fn train(&self, network: &Network, how: How, lr: [f64; 2], mut metrics: Metrics) -> Result<Outcome> {
        let Self { flags, gpu, labelled, test, batch, .. } = *self;
        let Network { embedder, encoder_params, classifier, classifier_params } = network;
        // What a frozen encoder says of an image never changes.
        let rows_of = |data| embedder.rows(encoder_params, data);
        let frozen = (how == How::Linear).then(|| Ok::<_, Error>([rows_of(labelled)?, rows_of(test)?]));
        let frozen = frozen.transpose()?;
        let top1 = || {
            let rows = frozen.as_ref().map_or_else(|| rows_of(test), |[_, test]| Ok(test.clone()))?;
            accuracy(&classifier.forward(&classifier_params.frozen(), &rows, Mode::Eval), &test.labels)
        };
        let before = top1()?;
        println!("  before training: top-1 {:.1} %", 100.0 * before);

        // An optimiser each, since their learning rates differ; none for a frozen encoder.
        let adamw = |params| AdamW::new(params, AdamWOptions::default(), Group::exclude_1d);
        let mut of_classifier = adamw(classifier_params)?;
        let mut of_encoder = (how == How::Full).then(|| adamw(encoder_params)).transpose()?;
        let [lr, encoder_lr] = lr.map(|peak| Schedule::warmup_cosine(peak, flags.steps / 10, flags.steps));
        let crop = Some(Crop { scale: [0.4, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] });
        let recipe = Recipe { crop, flip: 0.5, ..Recipe::plain(labelled.mean, labelled.std) };
        let augment = Augment::new(recipe, flags.seed);

        let losses = gpu.zeros([flags.steps.max(1) as usize])?; // read at evaluations, so that no step waits
        let (mut logged, mut since, mut after) = (0, Instant::now(), before);
        for images in Loader::builder(labelled, batch).seed(flags.seed).build()?.take(flags.steps as usize) {
            let x = if let Some([rows, _]) = &frozen {
                rows.gather_rows(&gpu.tensor_u32(&images.indices, [batch])?)
            } else {
                let views = augment.views(&Images::upload(gpu, &images)?, images.epoch, 0..1);
                embedder.forward(encoder_params, &views, Mode::Train)
            };
            let logits = classifier.forward(classifier_params, &x, Mode::Train);
            let loss = logits.softmax_cross_entropy(&gpu.tensor_u32(&images.labels, [batch])?, 1.0);
            losses.write_rows(images.step as usize, &loss.stop_gradient().reshape([1]));
            let gradients = loss.backward();
            of_classifier.step(classifier_params, &classifier_params.pack(&gradients), lr.at(images.step));
            if let Some(adamw) = &mut of_encoder {
                adamw.step(encoder_params, &encoder_params.pack(&gradients), encoder_lr.at(images.step));
            }

            let done = images.step + 1;
            if done == flags.steps || (flags.eval_every > 0 && done.is_multiple_of(flags.eval_every)) {
                let values = losses.to_vec()?;
                let images_per_s = ((done - logged) * batch as u64) as f64 / since.elapsed().as_secs_f64();
                after = top1()?;
                for (step, &loss) in (logged + 1..=done).zip(&values[logged as usize..]) {
                    if !loss.is_finite() {
                        return Err(Error::NotFinite { step, value: loss, checkpoint: "none".into() });
                    }
                    let (lr, parts) = (lr.at(step - 1), vec![(step == done).then_some(after as f32)]);
                    metrics.push(Row { step, loss, lr, images_per_s, parts, ..Row::default() })?;
                }
                let loss = values[done as usize - 1];
                println!("  step {done}: loss {loss:.4}, top-1 {:.1} %", 100.0 * after);
                (logged, since) = (done, Instant::now());
            }
        }
        Ok(Outcome { before, after, rows: metrics.rows().to_vec() })
    }
}

/// Draws `curves.svg`.
fn curves(dir: &RunDir, trained: &Outcome, scratch: Option<&Outcome>) -> Result<()> {
    let panel = |title: &str, y: &dyn Fn(&Row) -> Option<f32>| {
        let series = [("trained encoder", Some(trained)), ("from scratch", scratch)];
        let series = series.into_iter().filter_map(|(label, outcome)| {
            let points = outcome?.rows.iter().filter_map(|row| Some((row.step as f64, f64::from(y(row)?))));
            Some(Series { label: label.into(), points: points.collect(), stroke: plot::Stroke::Solid })
        });
        Panel { title: title.into(), x: "step".into(), series: series.collect(), ..Panel::default() }
    };
    let mut top1 = panel("top-1 on the test images", &|row| row.parts.first().copied().flatten());
    top1.levels = vec![("before the first step".into(), trained.before)];
    plot::figure(&dir.file("curves.svg"), 2, &[panel("loss", &|row| Some(row.loss)), top1])
}
