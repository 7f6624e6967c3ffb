//! The configuration that a recipe and a command line resolve to.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::augmentation::Augmentation;
use super::flags::Flags;
use super::recipe::{self, Override};
use crate::error::{Error, Result};
use crate::nn::{Params, Precision, Segment};
use crate::optim::{
    AdamW, AdamWOptions, Group, Lars, LarsOptions, Momentum, Optimizer, Schedule, Sgd, SgdOptions,
};

/// Everything that decides what a run computes, every default filled in. Stored as `config.toml`, which is a recipe, and in
/// the checkpoint.
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
    pub tune: bool,
    /// Where the images come from.
    pub data: String,
    /// Training images used.
    pub train_images: usize,
    /// Name of an [`EncoderKind`](crate::nn::EncoderKind).
    pub encoder: String,
    /// Optimiser steps.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the steps over which the learning rate rises to its peak; a half cosine to 0 follows.
    pub warmup: f64,
    /// Temperature of the loss, for methods with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// Names every random draw.
    pub seed: u32,
    /// Steps between evaluations; 0 for the end only.
    pub eval_every: u64,
    /// Steps between checkpoints; 0 for the end only.
    pub save_every: u64,
    /// Optimiser and its settings.
    pub optimizer: OptimizerConfig,
    /// Operations that make two views of an image differ.
    pub augment: Augmentation,
    /// The method's own settings; see [`Setup::open`](super::Setup::open).
    #[serde(default)]
    pub options: Table,
}

/// An optimiser by name: `[optimizer.sgd]`, `[optimizer.lars]` or `[optimizer.adamw]` in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// [`Sgd`].
    Sgd {
        /// Momentum.
        momentum: f64,
        /// Weight decay.
        weight_decay: f64,
    },
    /// [`Lars`], with trust coefficient .001; biases and normalisation are excluded.
    Lars {
        /// Momentum.
        momentum: f64,
        /// Weight decay.
        weight_decay: f64,
    },
    /// [`AdamW`], with PyTorch's betas; biases and normalisation do not decay.
    AdamW {
        /// Weight decay, times the learning rate.
        weight_decay: f64,
    },
}

impl OptimizerConfig {
    /// How a parameter is treated where the method wants nothing else.
    #[must_use]
    pub fn group(&self, segment: &Segment) -> Group {
        match self {
            Self::Sgd { .. } => Group::default_for(segment),
            Self::Lars { .. } | Self::AdamW { .. } => Group::exclude_1d(segment),
        }
    }

    /// The optimiser for these parameters, each in the group that `group` gives it: [`OptimizerConfig::group`] or a method's
    /// own.
    ///
    /// # Errors
    /// Out of memory.
    pub fn build(&self, params: &Params, group: impl Fn(&Segment) -> Group) -> Result<Box<dyn Optimizer>> {
        Ok(match *self {
            Self::Sgd { momentum, weight_decay } => {
                let (momentum, weight_decay) = (momentum as f32, weight_decay as f32);
                let options = SgdOptions { momentum, weight_decay, ..SgdOptions::default() };
                Box::new(Sgd::new(params, options, group)?)
            }
            Self::Lars { momentum, weight_decay } => {
                let (momentum, weight_decay) = (momentum as f32, weight_decay as f32);
                let options = LarsOptions { momentum, weight_decay, ..LarsOptions::default() };
                Box::new(Lars::new(params, options, group)?)
            }
            Self::AdamW { weight_decay } => {
                let options = AdamWOptions { weight_decay, ..AdamWOptions::default() };
                Box::new(AdamW::new(params, options, group)?)
            }
        })
    }
}

/// Momentum of a teacher, a method's setting: `{ constant = 0.99 }`, `{ cosine = [0.99, 1.0] }` over the run, or
/// `{ adaptive = [0.9, 0.999] }` between bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherMomentum {
    /// The same at every step.
    Constant(f64),
    /// A half cosine from the first to the second value.
    Cosine([f64; 2]),
    /// By the share of signal in the gradient, between the two values.
    Adaptive([f64; 2]),
}

impl TeacherMomentum {
    /// For a run of so many steps.
    ///
    /// # Errors
    /// [`Error::Argument`] if a value is not in `0..=1`, or the adaptive bounds are the wrong way round.
    pub fn over(self, steps: u64) -> Result<Momentum> {
        let (values, momentum) = match self {
            Self::Constant(m) => ([m, m], Momentum::Constant(m)),
            Self::Cosine([from, to]) => ([from, to], Momentum::Cosine { from, to, steps }),
            Self::Adaptive([shortest, longest]) => {
                ([shortest, longest], Momentum::Adaptive { shortest, longest })
            }
        };
        let ordered = !matches!(self, Self::Adaptive([shortest, longest]) if shortest > longest);
        if ordered && values.iter().all(|m| (0.0..=1.0).contains(m)) {
            return Ok(momentum);
        }
        Err(Error::Argument(format!("options: momentum {values:?} is not between 0 and 1, in order")))
    }
}

/// Says in one line that `flag` cannot be `value`.
fn refuse(flag: &str, value: impl std::fmt::Display, why: &str) -> Error {
    Error::Argument(format!("--{flag} {value}: {why}"))
}

impl Config {
    /// Fills a recipe's table, flags already laid over it, and checks every value. `available` is the number of training
    /// images that the source has.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the flag or the key.
    pub fn resolve(mut table: Table, adapter: &str, available: usize) -> Result<Self> {
        let wrong = |key: &str| Error::Argument(format!("recipe: {key} must be a whole number"));
        let whole = |table: &Table, key: &str| match table.get(key) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_integer().and_then(|v| u64::try_from(v).ok());
                number.map(Some).ok_or_else(|| wrong(key))
            }
        };
        let limit = whole(&table, "train_images")?.unwrap_or(0) as usize;
        let train_images = if limit == 0 { available } else { limit.min(available) };
        let batch = whole(&table, "batch")?.unwrap_or(0) as usize;
        if batch < 2 {
            return Err(refuse("batch", batch, "a contrast needs at least 2 images"));
        }
        if batch > train_images {
            return Err(refuse("batch", batch, &format!("there are only {train_images} training images")));
        }
        if let Some(epochs) = whole(&table, "epochs")? {
            let steps = epochs * (train_images / batch) as u64;
            table.insert("steps".into(), Value::Integer(steps as i64));
            table.remove("epochs");
        }
        table.insert("train_images".into(), Value::Integer(train_images as i64));
        table.insert("wgrad".into(), env!("CARGO_PKG_VERSION").into());
        table.insert("adapter".into(), adapter.into());
        let defaults = [("precision", "f32".into()), ("tune", false.into()), ("seed", 0.into())];
        let rare = [("eval_every", 0.into()), ("save_every", 0.into()), ("warmup", 0.1.into())];
        for (key, value) in defaults.into_iter().chain(rare) {
            table.entry(key).or_insert(value);
        }
        let config: Self = recipe::typed("recipe", table)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(refuse("steps", 0, "a run needs at least one step"));
        }
        let positive = |flag, value: f64| {
            let fits = value.is_finite() && value > 0.0;
            if fits { Ok(()) } else { Err(refuse(flag, value, "must be a positive number")) }
        };
        positive("lr", self.lr)?;
        self.tau.map_or(Ok(()), |tau| positive("tau", tau))?;
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(Error::Argument(format!("recipe: warmup {} is not between 0 and 1", self.warmup)));
        }
        // Arrays of whole numbers are widths of layers.
        for (key, value) in &self.options {
            let widths = value.as_array().filter(|array| array.iter().all(Value::is_integer));
            if widths.is_some_and(|array| array.is_empty() || array.iter().any(|v| v.as_integer() < Some(1)))
            {
                return Err(Error::Argument(format!("options: {key} {value}: needs a width of 1 or more")));
            }
        }
        if Precision::from_name(&self.precision).is_none() {
            return Err(refuse("precision", &self.precision, "must be f32 or f16"));
        }
        self.augment.check()
    }

    /// The configuration of a resumed run: the checkpoint's. A flag may change how often to evaluate and save; one that
    /// would change what is computed is refused.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the flag that contradicts the checkpoint.
    pub fn resumed(mut self, method: &str, flags: &Flags) -> Result<Self> {
        if self.method != method {
            return Err(Error::Argument(format!("the run to resume is of {}, not {method}", self.method)));
        }
        if let Some(name) = &flags.recipe {
            return Err(refuse("recipe", name, "the run to resume has its own; leave the flag out"));
        }
        let kept = Table::try_from(&self).map_err(|e| Error::Argument(e.to_string()))?;
        for Override { flag, path, value } in recipe::overrides(flags)? {
            let kept = match path.as_str() {
                "eval_every" | "save_every" => continue,
                "epochs" => {
                    let epochs = self.steps / (self.train_images / self.batch).max(1) as u64;
                    Some(Value::Integer(epochs as i64))
                }
                _ => recipe::get(&kept, &path).cloned(),
            };
            if kept.as_ref() != Some(&value) {
                let kept = kept.map_or_else(|| "none".to_owned(), |kept| recipe::plain(&kept));
                let why = format!("the run to resume has {kept}; leave the flag out");
                return Err(match flag.as_str() {
                    "tune" => Error::Argument(
                        "--tune: the run to resume was not tuned; leave the flag out".to_owned(),
                    ),
                    flag => refuse(flag, recipe::plain(&value), &why),
                });
            }
        }
        self.eval_every = flags.eval_every.unwrap_or(self.eval_every);
        self.save_every = flags.save_every.unwrap_or(self.save_every);
        Ok(self)
    }

    /// The method's own settings.
    pub(super) fn method_options<T: DeserializeOwned>(&self) -> Result<T> {
        recipe::typed("options", self.options.clone())
    }

    /// The temperature, for a method that has one.
    ///
    /// # Panics
    /// If the recipe gave none: a method that asks has it in each of its recipes.
    #[track_caller]
    #[must_use]
    pub fn temperature(&self) -> f32 {
        self.tau.expect("a recipe of this method has a temperature") as f32
    }

    /// The learning rate of every step: warm-up, then a half cosine to 0.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule::warmup_cosine(self.lr, self.warmup_steps(), self.steps)
    }

    /// Steps of the warm-up.
    pub(super) fn warmup_steps(&self) -> u64 {
        (self.warmup * self.steps as f64).round() as u64
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

    /// The command that repeats the run from its `config.toml`.
    #[must_use]
    pub fn command(&self) -> String {
        format!("cargo run --release --example {} -- --recipe config.toml", self.method)
    }
}
