//! The configuration that a command line resolves to.

use serde::{Deserialize, Serialize};

use super::flags::{Defaults, Flags, Length};
use crate::error::{Error, Result};
use crate::nn::Precision;

/// Everything that decides what a run computes, every default filled in. Stored as `config.toml` and in the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the method.
    pub method: String,
    /// Version of wgrad.
    pub wgrad: String,
    /// The driver's name for the adapter. Another adapter rounds differently.
    pub adapter: String,
    /// Type of stored activations, `f32` or `f16`.
    pub precision: String,
    /// Whether kernels were chosen by measuring; the choices are in the checkpoint.
    #[serde(default)]
    pub tune: bool,
    /// Where the images come from.
    pub data: String,
    /// Training images used.
    pub train_images: usize,
    /// Encoder preset.
    pub encoder: String,
    /// Optimiser steps.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Temperature of the loss; 0 for methods without one.
    pub tau: f64,
    /// Names every random draw.
    pub seed: u32,
    /// Steps between evaluations; 0 for the end only.
    pub eval_every: u64,
    /// Steps between checkpoints; 0 for the end only.
    pub save_every: u64,
}

/// Says in one line that `flag` cannot be `value`.
fn refuse(flag: &str, value: impl std::fmt::Display, why: &str) -> Error {
    Error::Argument(format!("--{flag} {value}: {why}"))
}

impl Config {
    /// Fills in defaults and checks every value. `available` is the number of training images the source has.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the flag.
    pub fn resolve(
        method: &str,
        flags: &Flags,
        defaults: &Defaults,
        adapter: &str,
        available: usize,
    ) -> Result<Self> {
        let limit = flags.train_limit.unwrap_or(defaults.train_limit);
        let train_images = if limit == 0 { available } else { limit.min(available) };
        let batch = flags.batch.unwrap_or(defaults.batch);
        if batch < 2 {
            return Err(refuse("batch", batch, "a contrast needs at least 2 images"));
        }
        if batch > train_images {
            return Err(refuse("batch", batch, &format!("there are only {train_images} training images")));
        }
        let length = match (flags.epochs, flags.steps) {
            (Some(epochs), _) => Length::Epochs(epochs),
            (None, Some(steps)) => Length::Steps(steps),
            (None, None) => defaults.length,
        };
        let steps = match length {
            Length::Epochs(epochs) => epochs * (train_images / batch) as u64,
            Length::Steps(steps) => steps,
        };
        if steps == 0 {
            return Err(refuse("steps", 0, "a run needs at least one step"));
        }
        let lr = flags.lr.unwrap_or(defaults.lr);
        if !(lr.is_finite() && lr > 0.0) {
            return Err(refuse("lr", lr, "must be a positive number"));
        }
        let tau = flags.tau.unwrap_or(defaults.tau);
        if !(tau.is_finite() && (tau > 0.0 || tau == defaults.tau)) {
            return Err(refuse("tau", tau, "must be a positive number"));
        }
        let precision = flags.precision.clone().unwrap_or_else(|| "f32".into());
        if Precision::from_name(&precision).is_none() {
            return Err(refuse("precision", precision, "must be f32 or f16"));
        }
        Ok(Self {
            method: method.to_owned(),
            wgrad: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: adapter.to_owned(),
            precision,
            tune: flags.tune,
            data: flags.data.clone().unwrap_or_else(|| "embedded".into()),
            train_images,
            encoder: flags.encoder.clone().unwrap_or_else(|| defaults.encoder.to_owned()),
            steps,
            batch,
            lr,
            tau,
            seed: flags.seed.unwrap_or(0),
            eval_every: flags.eval_every.unwrap_or(defaults.eval_every),
            save_every: flags.save_every.unwrap_or(0),
        })
    }

    /// The configuration of a resumed run: the checkpoint's. A flag may change how often to evaluate and save; one that
    /// would change what is computed is refused.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the flag that contradicts the checkpoint.
    pub fn resumed(mut self, method: &str, flags: &Flags) -> Result<Self> {
        fn same<T: PartialEq + std::fmt::Display>(flag: &str, given: Option<&T>, kept: &T) -> Result<()> {
            match given {
                Some(given) if given != kept => {
                    Err(refuse(flag, given, &format!("the run to resume has {kept}; leave the flag out")))
                }
                _ => Ok(()),
            }
        }
        if self.method != method {
            return Err(Error::Argument(format!("the run to resume is of {}, not {method}", self.method)));
        }
        same("data", flags.data.as_ref(), &self.data)?;
        same("train-limit", flags.train_limit.as_ref(), &self.train_images)?;
        same("steps", flags.steps.as_ref(), &self.steps)?;
        let epochs = self.steps / (self.train_images / self.batch).max(1) as u64;
        same("epochs", flags.epochs.as_ref(), &epochs)?;
        same("batch", flags.batch.as_ref(), &self.batch)?;
        same("lr", flags.lr.as_ref(), &self.lr)?;
        same("tau", flags.tau.as_ref(), &self.tau)?;
        same("seed", flags.seed.as_ref(), &self.seed)?;
        same("precision", flags.precision.as_ref(), &self.precision)?;
        same("encoder", flags.encoder.as_ref(), &self.encoder)?;
        if flags.tune && !self.tune {
            return Err(Error::Argument(
                "--tune: the run to resume was not tuned; leave the flag out".into(),
            ));
        }
        self.eval_every = flags.eval_every.unwrap_or(self.eval_every);
        self.save_every = flags.save_every.unwrap_or(self.save_every);
        Ok(self)
    }

    /// Whether `done` steps make an evaluation due.
    #[must_use]
    pub fn evaluates_at(&self, done: u64) -> bool {
        done == self.steps || (self.eval_every > 0 && done.is_multiple_of(self.eval_every))
    }

    /// Whether `done` steps make a checkpoint due.
    #[must_use]
    pub fn saves_at(&self, done: u64) -> bool {
        done == self.steps || (self.save_every > 0 && done.is_multiple_of(self.save_every))
    }

    /// The command that repeats the run.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { method, data, train_images, encoder, steps, batch, lr, tau, seed, precision, .. } = self;
        let tune = if self.tune { " --tune" } else { "" };
        let tau = if *tau > 0.0 { format!(" --tau {tau}") } else { String::new() };
        format!(
            "cargo run --release --example {method} -- --data {data} --train-limit {train_images} \
             --encoder {encoder} --steps {steps} --batch {batch} --lr {lr}{tau} --seed {seed} \
             --precision {precision}{tune} --eval-every {} --save-every {}",
            self.eval_every, self.save_every
        )
    }
}
