//! The loop that every method shares, around the method's own step.

use std::time::Instant;

use super::checkpoint::{self, Meta, State};
use super::evaluate::{Accuracy, Data, Features, Model, protocol, quality};
use super::flags::{Config, Flags};
use super::interrupt::Interrupt;
use super::losses::Losses;
use super::metrics::{Metrics, Quality, Row, Summary};
use super::progress::Progress;
use super::report;
use super::run_dir::RunDir;
use super::setup::Setup;
use crate::data::{Batch, Loader};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::nn::Params;
use crate::rng::Rng;
use crate::ssl::mi_bound;
use crate::tensor::Tensor;

/// A run between its start and its summary. The method asks for a batch, makes its step, hands over the loss, until there is no
/// batch; everything else happens in between.
pub struct Run<'a> {
    gpu: Gpu,
    config: Config,
    flags: Flags,
    data: Data,
    dir: RunDir,
    model: Model<'a>,
    /// The model's parameters without a graph.
    params: Params,
    state: State,
    loader: Loader,
    losses: Losses,
    metrics: Metrics,
    progress: Progress,
    interrupt: Interrupt,
    baselines: Baselines,
    /// Learning rates of steps whose loss is not back.
    rates: std::collections::VecDeque<f32>,
    done: u64,
    /// Step of the newest checkpoint; 0 for none.
    saved: u64,
    clock: Clock,
    /// Features of the newest evaluation, and its step.
    evaluated: Option<(u64, Features)>,
}

/// What the trained encoder is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baselines {
    pub(super) random_init: Accuracy,
    pub(super) raw_pixels: Accuracy,
    /// kNN accuracy of the normalised pixels; the linear probe standardises, so normalisation changes nothing there.
    pub(super) normalized_pixels: f64,
}

/// Wall-clock time: of all, and of training alone.
struct Clock {
    started: Instant,
    /// Seconds of the runs that this one continues.
    earlier: f64,
    /// Since when steps are made; moved on by evaluations.
    window: Instant,
    trained: f64,
    steps: u64,
}

impl Clock {
    fn new(started: Instant, earlier: f64) -> Self {
        Self { started, earlier, window: Instant::now(), trained: 0.0, steps: 0 }
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    /// Ends a window of `steps` steps; returns steps a second in it.
    fn lap(&mut self, steps: usize) -> f64 {
        let seconds = self.window.elapsed().as_secs_f64().max(1e-9);
        self.window = Instant::now();
        self.trained += seconds;
        self.steps += steps as u64;
        steps as f64 / seconds
    }
}

impl<'a> Run<'a> {
    pub(super) fn begin(setup: Setup, model: Model<'a>, state: State) -> Result<Self> {
        let Setup { started, gpu, config, data, dir, checkpoint, flags } = setup;
        let params = model.params.frozen();
        println!("before training:");
        let raw_pixels = Features::pixels(&gpu, &data)?.accuracy(&data)?;
        let random_init = Features::encoded(&model, &params, &data)?.accuracy(&data)?;
        let normalized_pixels = Features::normalized_pixels(&gpu, &data)?.knn(&data)?;
        let baselines = Baselines { random_init, raw_pixels, normalized_pixels };
        report::print_baselines(&baselines);

        let done = checkpoint.as_ref().map_or(0, |c| c.meta.step);
        if let Some(checkpoint) = &checkpoint {
            state.restore(checkpoint)?;
        }
        Interrupt::catch_signals()?;
        let loader = Loader::builder(&data.train, config.batch).seed(config.seed).start(done).build()?;
        Ok(Self {
            losses: Losses::new(&gpu)?,
            metrics: Metrics::open(dir.file("metrics.csv"), done)?,
            progress: Progress::new(config.steps, done),
            interrupt: Interrupt::default(),
            rates: std::collections::VecDeque::new(),
            saved: if dir.file(checkpoint::FILE).exists() { done } else { 0 },
            gpu,
            config,
            flags,
            data,
            dir,
            model,
            params,
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
        if self.interrupt.requested() {
            self.drain(false)?;
            self.save()?;
            return Ok(None);
        }
        Ok(self.loader.next())
    }

    /// Ends a step: `loss` is its scalar, `lr` its learning rate. Nothing waits for the loss; it is logged some steps later.
    /// Evaluates and saves where that is due.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a loss was NaN or infinite; the device's first error; a file that cannot be written.
    ///
    /// # Panics
    /// If `loss` is not one number.
    pub fn end_step(&mut self, loss: &Tensor, lr: f32) -> Result<()> {
        self.done += 1;
        self.losses.push(loss);
        self.rates.push_back(lr);
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
    fn log(&mut self, losses: &[f32], quality: Option<Quality>) -> Result<()> {
        let images_per_s = self.clock.lap(losses.len()) * self.config.batch as f64;
        let tau = (self.config.tau > 0.0).then_some(self.config.tau as f32);
        for (i, &loss) in losses.iter().enumerate() {
            let step = self.done - self.rates.len() as u64 + 1;
            let lr = self.rates.pop_front().unwrap_or_default();
            let mi_bound = self.model.candidates.map(|n| f64::from(mi_bound(loss, n)));
            let quality = quality.filter(|_| i + 1 == losses.len());
            self.metrics.push(Row { step, loss, lr, tau, images_per_s, mi_bound, quality })?;
            if !loss.is_finite() {
                let checkpoint = match self.saved {
                    0 => "none".to_owned(),
                    step => format!("{} (step {step})", self.dir.file(checkpoint::FILE).display()),
                };
                return Err(Error::NotFinite { step, value: loss, checkpoint });
            }
        }
        Ok(())
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
            if !last.is_empty() {
                self.log(&last, None)?;
            }
            self.clock.window = Instant::now();
            return Ok(());
        }
        let started = Instant::now();
        let features = Features::encoded(&self.model, &self.params, &self.data)?;
        let (quality, width) = quality(&self.model, &self.params, &features, &self.data)?;
        self.evaluated = Some((self.done, features));
        self.clock.window += started.elapsed();
        self.log(&last, Some(quality))?;
        self.clock.window = Instant::now();
        self.progress.say(&format!(
            "step {}: kNN top-1 {:.1} %, embedding std {:.4}, RankMe {:.1}",
            self.done,
            100.0 * quality.knn_top1,
            quality.embedding_std,
            quality.rankme
        ));
        report::curves(&self.dir, self.metrics.rows(), &self.baselines, width)?;
        Ok(())
    }

    /// Writes the checkpoint. Every loss so far is logged, so a NaN is never saved unseen.
    fn save(&mut self) -> Result<()> {
        let meta = Meta {
            step: self.done,
            rng_key: Rng::new(self.config.seed).key(),
            seconds: self.clock.seconds(),
            config: self.config.clone(),
        };
        self.state.save(&self.dir.file(checkpoint::FILE), &meta)?;
        self.saved = self.done;
        self.clock.window = Instant::now();
        Ok(())
    }

    /// Ends the run: the accuracies of the trained encoder, the pictures, `summary.json`; after Ctrl-C only the summary.
    ///
    /// # Errors
    /// The device's first error; a file that cannot be written.
    pub fn finish(mut self) -> Result<Summary> {
        self.drain(false)?;
        self.progress.finish();
        let complete = self.done >= self.config.steps;
        let trained = if complete {
            let features = match self.evaluated.take() {
                Some((step, features)) if step == self.done => features,
                _ => Features::encoded(&self.model, &self.params, &self.data)?,
            };
            let accuracy = features.accuracy(&self.data)?;
            report::embedding(&self.dir, &features.test, &self.data.test, &self.config)?;
            Some(accuracy)
        } else {
            None
        };
        let last = self.metrics.rows().last().copied().unwrap_or_default();
        let beside = |value: fn(&Baselines) -> f64| trained.map(|_| value(&self.baselines));
        let summary = Summary {
            method: self.config.method.clone(),
            adapter: self.gpu.info().name.clone(),
            precision: self.config.precision.clone(),
            steps: self.done,
            images_per_s: (self.clock.steps * self.config.batch as u64) as f64 / self.clock.trained.max(1e-9),
            seconds: self.clock.seconds(),
            loss: last.loss,
            knn_top1: trained.map(|a| a.knn),
            linear_top1: trained.map(|a| a.linear),
            knn_top1_random_init: beside(|b| b.random_init.knn),
            knn_top1_raw_pixels: beside(|b| b.raw_pixels.knn),
            knn_top1_normalized_pixels: beside(|b| b.normalized_pixels),
            linear_top1_random_init: beside(|b| b.random_init.linear),
            linear_top1_raw_pixels: beside(|b| b.raw_pixels.linear),
            embedding_std: last.quality.map(|q| q.embedding_std),
            rankme: last.quality.map(|q| q.rankme),
            protocol: protocol(self.data.train.len()),
        };
        report::summary(&self.dir, &summary)?;
        report::print(&self.dir, &summary, trained, &self.baselines);
        report::profile(&self.gpu, &self.flags)?;
        Ok(summary)
    }
}
