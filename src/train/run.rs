//! The loop that every method shares, around the method's own step.

use std::collections::VecDeque;
use std::ops::Range;

use super::alarm::Alarms;
use super::checkpoint::{self, Meta, State};
use super::clock::Clock;
use super::config::Config;
use super::evaluate::{Accuracy, Baselines, Data, Features, Model, protocol, quality};
use super::flags::Flags;
use super::interrupt::Interrupt;
use super::learner::Step;
use super::losses::{Losses, Values};
use super::metrics::{Metrics, Quality, Row, Summary};
use super::progress::Progress;
use super::report;
use super::run_dir::RunDir;
use super::setup::Setup;
use crate::data::{Augment, Batch, Images, Loader};
use crate::error::{Error, Result};
use crate::eval::batch_std;
use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::ssl::mi_bound;
use crate::tensor::Tensor;

/// Steps between looks at the std of the embeddings.
const STD_EVERY: u64 = 10;

/// A run between its start and its summary. The method asks for a batch, takes its step and hands it over, until there is
/// no batch; logs, evaluations and checkpoints happen in between.
pub struct Run<'a> {
    gpu: Gpu,
    config: Config,
    flags: Flags,
    data: Data,
    dir: RunDir,
    model: Model<'a>,
    /// Makes the views.
    augment: Augment,
    state: State,
    loader: Loader,
    losses: Losses,
    metrics: Metrics,
    progress: Progress,
    interrupt: Interrupt,
    baselines: Baselines,
    alarms: Alarms,
    alarmed: Vec<String>,
    /// Of steps whose loss is not back: the learning rate, and whether the embeddings' std comes with it.
    pending: VecDeque<(f32, bool)>,
    done: u64,
    /// Step of the newest checkpoint; 0 for none.
    saved: u64,
    clock: Clock,
    /// Features of the newest evaluation, and its step.
    evaluated: Option<(u64, Features)>,
}

impl Setup {
    /// Starts the loop. Measures raw pixels and the network as it is now, freshly initialised; then, on `--resume`, takes
    /// the checkpoint's values.
    ///
    /// # Errors
    /// The device's first error; [`Error::Checkpoint`] if the checkpoint does not fit the state.
    pub fn begin(self, model: Model<'_>, state: State) -> Result<Run<'_>> {
        Run::begin(self, model, state)
    }
}

impl<'a> Run<'a> {
    pub(super) fn begin(setup: Setup, model: Model<'a>, state: State) -> Result<Self> {
        let augment = setup.augment();
        let Setup { started, gpu, config, data, dir, checkpoint, flags } = setup;
        let done = checkpoint.as_ref().map_or(0, |c| c.meta.step);
        let mut progress = Progress::new(config.steps, done);
        let baselines = Baselines::measure(&model, &augment, &data, &progress)?;
        progress.say(&format!("before training:\n{}", baselines.summary().table(None)));

        if let Some(checkpoint) = &checkpoint {
            state.restore(checkpoint)?;
        }
        Interrupt::catch_signals()?;
        let names: Vec<_> = model.parts.iter().map(|part| part.name).collect();
        let warmup = config.warmup_steps();
        let loader = Loader::builder(&data.train, config.batch).seed(config.seed).start(done).build()?;
        progress.training();
        Ok(Self {
            losses: Losses::new(&gpu, 3 + model.parts.len())?,
            metrics: Metrics::open(dir.file("metrics.csv"), done, &names)?,
            alarms: Alarms::new(model.collapse, model.parts.clone(), warmup),
            alarmed: vec![],
            progress,
            interrupt: Interrupt::default(),
            pending: VecDeque::new(),
            saved: if dir.file(checkpoint::FILE).exists() { done } else { 0 },
            gpu,
            config,
            flags,
            data,
            dir,
            model,
            augment,
            state,
            loader,
            baselines,
            done,
            clock: Clock::new(started, checkpoint.map_or(0.0, |c| c.meta.seconds)),
            evaluated: None,
        })
    }

    /// A handle that ends the run as Ctrl-C does.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// The next batch; `None` when all steps are done, or after Ctrl-C, when a checkpoint has been written.
    ///
    /// # Errors
    /// As [`Run::end_step`].
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        if self.done >= self.config.steps {
            return Ok(None);
        }
        if self.interrupt.requested() || self.flags.stop_after == Some(self.done) {
            self.drain(false)?;
            self.save()?;
            return Ok(None);
        }
        Ok(self.loader.next())
    }

    /// Views of a batch, by the run's augmentation: `[n, h, w, c]` for each number in `views`, one after another.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn views(&self, batch: &Batch, views: Range<u32>) -> Result<Tensor> {
        self.views_by(&self.augment, batch, views)
    }

    /// [`Run::views`] by another augmentation.
    ///
    /// # Errors
    /// As [`Run::views`].
    pub fn views_by(&self, augment: &Augment, batch: &Batch, views: Range<u32>) -> Result<Tensor> {
        Ok(augment.views(&Images::upload(&self.gpu, batch)?, batch.epoch, views))
    }

    /// Ends `step`: `z` `[n, d]` are the student's embeddings, `parts` a scalar for each [`Model::part`]. Nothing waits for
    /// them; they are logged up to 32 steps later. Evaluates and saves where that is due.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a loss was NaN or infinite; [`Error::Collapsed`] at an alarm, if asked for; the device's first
    /// error; a file that cannot be written.
    ///
    /// # Panics
    /// If the loss or a part is not one number, or there are not as many parts as the model has.
    #[track_caller]
    pub fn end_step(&mut self, step: &Step, z: &Tensor, parts: &[&Tensor]) -> Result<()> {
        let Step { loss, lr, .. } = step;
        assert_eq!(parts.len(), self.model.parts.len(), "end_step: the model names other parts");
        for scalar in [&[loss], parts].concat() {
            assert_eq!(scalar.len(), 1, "end_step: a loss or part is one number, not {}", scalar.shape());
        }
        self.done += 1;
        self.alarms.width(z.shape()[1]);
        let std = self.done.is_multiple_of(STD_EVERY).then(|| batch_std(z));
        let own = parts.iter().map(|&part| Some(part));
        let values: Vec<_> =
            [Some(loss), self.state.loss_scale(), std.as_ref()].into_iter().chain(own).collect();
        self.losses.push(&values);
        self.pending.push_back((*lr, std.is_some()));
        while let Some(values) = self.losses.arrived()? {
            self.log(&values, None)?;
        }
        if let Some(error) = self.gpu.error() {
            return Err(error);
        }
        let newest = self.metrics.rows().last();
        self.progress.step(self.done, newest.map(|r| r.loss), newest.map_or(0.0, |r| r.images_per_s));
        let (evaluates, saves) = (self.config.evaluates_at(self.done), self.config.saves_at(self.done));
        // The last evaluation is finish's.
        if evaluates && self.done < self.config.steps {
            self.drain(true)?;
        }
        if saves {
            self.drain(self.done == self.config.steps)?;
            self.save()?;
        }
        Ok(())
    }

    /// Logs losses that came back, in order; `quality` belongs to the last.
    fn log(&mut self, steps: &[Values], quality: Option<Quality>) -> Result<()> {
        let images_per_s = self.clock.lap(steps.len()) * self.config.batch as f64;
        let tau = self.config.tau.map(|tau| tau as f32);
        for (i, values) in steps.iter().enumerate() {
            let step = self.done - self.pending.len() as u64 + 1;
            let (lr, has_std) = self.pending.pop_front().unwrap_or_default();
            let [loss, scale, std, parts @ ..] = &values[..] else { unreachable!("three and the parts") };
            let row = Row {
                step,
                loss: *loss,
                lr,
                tau,
                images_per_s,
                mi_bound: self.model.candidates.map(|n| f64::from(mi_bound(*loss, n))),
                quality: quality.filter(|_| i + 1 == steps.len()),
                loss_scale: self.state.loss_scale().map(|_| *scale),
                batch_std: has_std.then_some(*std),
                parts: parts.iter().copied().map(Some).collect(),
            };
            let alarms = self.alarms.see(&row);
            self.metrics.push(row)?;
            if !loss.is_finite() {
                return Err(Error::NotFinite { step, value: *loss, checkpoint: self.last_checkpoint() });
            }
            for alarm in alarms {
                self.progress.say(&alarm);
                self.alarmed.push(alarm.clone());
                if self.flags.stop_on_collapse {
                    return Err(Error::Collapsed { alarm, checkpoint: self.last_checkpoint() });
                }
            }
        }
        Ok(())
    }

    /// Where the newest checkpoint is, in words.
    fn last_checkpoint(&self) -> String {
        match self.saved {
            0 => "none".to_owned(),
            step => format!("{} (step {step})", self.dir.file(checkpoint::FILE).display()),
        }
    }

    /// Waits for all losses and logs them, with an evaluation beside the last if asked for.
    fn drain(&mut self, evaluate: bool) -> Result<()> {
        let mut last = vec![];
        while let Some(values) = self.losses.drain()? {
            let earlier = std::mem::replace(&mut last, values);
            if !earlier.is_empty() {
                self.log(&earlier, None)?;
            }
        }
        if !evaluate {
            return if last.is_empty() { Ok(()) } else { self.log(&last, None) };
        }
        let (model, augment, data) = (&self.model, &self.augment, &self.data);
        self.progress.evaluating("the encoder, and embeddings of two views");
        let (features, (quality, width)) = self.clock.outside(|| {
            let features = Features::encoded(model, augment, data)?;
            let quality = quality(model, augment, &features, data)?;
            Ok::<_, Error>((features, quality))
        })?;
        self.evaluated = Some((self.done, features));
        self.log(&last, Some(quality))?;
        self.progress.say(&format!(
            "step {}: kNN {:.1} %, moved {:.1} %, embedding std {:.4}, RankMe {:.1}",
            self.done,
            100.0 * quality.knn_top1,
            100.0 * quality.knn_top1_moved.unwrap_or(f64::NAN),
            quality.embedding_std,
            quality.rankme
        ));
        let (dir, rows, baselines, model) = (&self.dir, self.metrics.rows(), &self.baselines, &self.model);
        self.clock.outside(|| report::curves(dir, rows, baselines, &model.parts, width))
    }

    /// Writes the checkpoint. Every loss so far is logged, so a NaN is never saved unseen.
    fn save(&mut self) -> Result<()> {
        let meta = Meta {
            step: self.done,
            rng_key: Rng::new(self.config.seed).key(),
            seconds: self.clock.seconds(),
            config: self.config.clone(),
            image: self.data.train.dims(),
            normalization: [self.data.train.mean, self.data.train.std],
            tuned: self.gpu.tuned(),
        };
        self.clock.outside(|| self.state.save(&self.dir.file(checkpoint::FILE), &meta))?;
        self.saved = self.done;
        Ok(())
    }

    /// Ends the run: the accuracies of the trained encoder, the pictures, `summary.json`; after Ctrl-C only the summary.
    ///
    /// # Errors
    /// The device's first error; a file that cannot be written.
    pub fn finish(mut self) -> Result<Summary> {
        self.drain(false)?;
        let trained = if self.done >= self.config.steps { Some(self.trained()?) } else { None };
        self.progress.finish();
        let last = self.metrics.rows().last().cloned().unwrap_or_default();
        let summary = Summary {
            method: self.config.method.clone(),
            adapter: self.gpu.info().name.clone(),
            precision: self.config.precision.clone(),
            steps: self.done,
            images_per_s: self.clock.rate() * self.config.batch as f64,
            seconds: self.clock.seconds(),
            loss: last.loss,
            test_images: Some(self.data.test.len()),
            knn_top1: trained.map(|a| a.knn.aligned),
            linear_top1: trained.map(|a| a.linear.aligned),
            knn_top1_moved: trained.map(|a| a.knn.moved),
            linear_top1_moved: trained.map(|a| a.linear.moved),
            embedding_std: last.quality.map(|q| q.embedding_std),
            embedding_dims: self.alarms.dims(),
            rankme: last.quality.map(|q| q.rankme),
            alarms: self.alarmed.clone(),
            protocol: protocol(&self.data),
            ..self.baselines.summary()
        };
        report::summary(&self.dir, &summary)?;
        report::print(&self.dir, &summary);
        report::profile(&self.gpu, &self.flags)?;
        Ok(summary)
    }

    /// Accuracies of the trained encoder, and the picture of its features.
    fn trained(&mut self) -> Result<Accuracy> {
        let features = match self.evaluated.take() {
            Some((step, features)) if step == self.done => features,
            _ => Features::encoded(&self.model, &self.augment, &self.data)?,
        };
        report::embedding(&self.dir, &features.test, &self.data.test, &self.config)?;
        features.accuracy(&self.data, &self.progress, "the trained encoder")
    }
}
