//! The start of a run: adapter, data, configuration, directory.

use std::str::FromStr;
use std::time::Instant;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::augmentation::Augmentation;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::evaluate::Data;
use super::flags::Flags;
use super::recipe;
use super::run_dir::RunDir;
use crate::data::{Augment, DataSource, Dataset, Recipe, Splits};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::nn::{EncoderKind, Module, ParamBuilder, Precision};
use crate::rng::Rng;

/// Adapter, configuration, images and directory of a run, before its network is built.
#[derive(Debug)]
pub struct Setup {
    pub(super) started: Instant,
    pub(super) gpu: Gpu,
    pub(super) config: Config,
    pub(super) data: Data,
    pub(super) dir: RunDir,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) flags: Flags,
}

impl Setup {
    /// Reads the recipe, opens the adapter, loads the data and makes the run's directory; with `--resume`, the checkpoint has
    /// the configuration. Returns the method's own settings beside: the recipe's table `[options]`, of a type that denies
    /// unknown fields.
    ///
    /// # Errors
    /// One line about the recipe, the adapter, the data source or a flag.
    pub fn open<O: DeserializeOwned>(method: &str, flags: &Flags) -> Result<(Self, O)> {
        Self::open_with(method, None, flags)
    }

    /// [`Setup::open`] for a method whose default recipe, a TOML text, is not in this crate.
    ///
    /// # Errors
    /// As [`Setup::open`].
    pub fn open_with<O: DeserializeOwned>(
        method: &str,
        default: Option<&str>,
        flags: &Flags,
    ) -> Result<(Self, O)> {
        let started = Instant::now();
        let checkpoint = flags.resume.as_deref().map(Checkpoint::read).transpose()?;
        // A resumed run's flags and a recipe are checked before the adapter is opened and images are read.
        let resumed =
            checkpoint.as_ref().map(|c| c.meta.config.clone().resumed(method, flags)).transpose()?;
        let (recipe, overrides) = match resumed {
            Some(_) => (Table::new(), vec![]),
            None => (recipe::load(method, flags.recipe.as_deref(), default)?, recipe::overrides(flags)?),
        };

        let mut builder =
            Gpu::builder().profile(flags.profile || flags.trace.is_some() || by_env("WGRAD_PROFILE"));
        if let Some(name) = &flags.adapter {
            builder = builder.adapter(name);
        }
        // A resumed run tunes if it did so from the start.
        let asked = flags.tune || by_env("WGRAD_TUNE") || recipe.get("tune") == Some(&true.into());
        let tune = resumed.as_ref().map_or(asked, |config| config.tune);
        builder = builder.tune(tune);
        #[cfg(feature = "isa")]
        if let Some(described) = &flags.described {
            builder = builder.described(described);
        }
        let gpu = builder.build()?;
        if let Some(from) = checkpoint.as_ref().filter(|c| c.meta.config.adapter == gpu.info().name) {
            gpu.keep_tuned(from.meta.tuned.clone());
        }
        let table = recipe::lay(recipe, gpu.is_cpu(), overrides)?;
        let source = resumed.as_ref().map(|config| config.data.as_str());
        let source = source.or_else(|| table.get("data").and_then(Value::as_str)).unwrap_or("embedded");
        let Splits { mut train, test } = DataSource::from_str(source)?.load()?;
        let mut config = match resumed {
            Some(config) => config,
            None => Config { tune, ..Config::resolve(table, &gpu.info().name, train.len())? },
        };
        let options = config.method_options()?;
        let precision = precision(&config.precision)?;
        if !precision.runs_on(&gpu) {
            let (name, wanted) = (&gpu.info().name, precision.name());
            eprintln!("wgrad: {name} has no {wanted} in shaders; this run is in f32");
            config.precision = Precision::F32.name().to_owned();
        }
        encoder(&config.encoder)?;
        train.truncate(config.train_images);
        let data = Data::new(train, test);

        let dir = match (&checkpoint, &flags.out) {
            (Some(checkpoint), None) => RunDir::open(checkpoint.directory().to_owned())?,
            (Some(_), Some(out)) => RunDir::open(out.clone())?,
            (None, out) => RunDir::create(out.as_deref(), method)?,
        };
        let setup = Self { started, gpu, config, data, dir, checkpoint, flags: flags.clone() };
        setup.announce();
        setup.write_config()?;
        Ok((setup, options))
    }

    fn announce(&self) {
        let (c, info, test) = (&self.config, self.gpu.info(), self.data.test.len());
        println!("{} on {} ({})", c.method, info.name, info.backend);
        println!(
            "{}: {} training and {test} test images; encoder {}, {} steps of {} images, seed {}, {}",
            self.data.train.name, c.train_images, c.encoder, c.steps, c.batch, c.seed, c.precision
        );
        if self.gpu.is_cpu() && self.flags.recipe.is_none() && self.checkpoint.is_none() {
            println!(
                "the default recipe on a CPU: a small encoder and at most 10,000 images (--recipe, --encoder)"
            );
        }
        if let Some(from) = &self.checkpoint {
            println!("resuming after step {}", from.meta.step);
            if from.meta.config.adapter != info.name {
                let then = &from.meta.config.adapter;
                println!("begun on {then}: another adapter rounds differently, so bits will differ");
            }
        }
    }

    fn write_config(&self) -> Result<()> {
        let text = toml::to_string(&self.config).map_err(|e| Error::Argument(e.to_string()))?;
        let text = format!("# {}\n{text}", self.config.command());
        self.dir.write("config.toml", text.as_bytes())
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The configuration, complete.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The training images.
    #[must_use]
    pub fn train_set(&self) -> &Dataset {
        &self.data.train
    }

    /// Shape of a view of every image of a step: `[batch, height, width, channels]`.
    #[must_use]
    pub fn batch_shape(&self) -> [usize; 4] {
        let [height, width, channels] = self.data.train.dims();
        [self.config.batch, height, width, channels]
    }

    /// Registers the encoder that `--encoder` names, for these images, in the scope `encoder`.
    ///
    /// # Panics
    /// If `build` has that scope already.
    #[track_caller]
    #[must_use]
    pub fn encoder(&self, build: &ParamBuilder) -> Box<dyn Module> {
        self.encoder_kind().build(&build.scope("encoder"), self.data.train.dims())
    }

    fn encoder_kind(&self) -> EncoderKind {
        encoder(&self.config.encoder).expect("checked when opened")
    }

    /// The run's augmentation: the recipe's, for these images and this seed.
    #[must_use]
    pub fn augment(&self) -> Augment {
        self.augment_with(&self.config.augment, None)
    }

    /// Another augmentation for these images and this seed, its views of `size` x `size` if that is given and the encoder
    /// takes images of any size; of the images' own otherwise.
    #[must_use]
    pub fn augment_with(&self, augmentation: &Augmentation, size: Option<usize>) -> Augment {
        let recipe = augmentation.recipe(&self.data.train);
        let size = size.filter(|_| self.encoder_kind().any_size).map(|size| [size, size]);
        Augment::new(Recipe { size, ..recipe }, self.config.seed)
    }

    /// The precision that `--precision` names, if the adapter has it, else `f32`; for [`Params::with_precision`](crate::nn::Params::with_precision).
    ///
    /// # Panics
    /// Never: [`Setup::open`] has checked the name.
    #[must_use]
    pub fn precision(&self) -> Precision {
        precision(&self.config.precision).expect("checked when opened")
    }

    /// Random numbers of this run: key `(seed, 0)`.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng::new(self.config.seed)
    }

    /// Steps already done: 0, or those of the run that is resumed.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |c| c.meta.step)
    }
}

fn by_env(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| v != "0")
}

fn precision(name: &str) -> Result<Precision> {
    let unknown = || Error::Argument(format!("--precision {name}: must be f32 or f16"));
    Precision::from_name(name).ok_or_else(unknown)
}

fn encoder(name: &str) -> Result<EncoderKind> {
    let unknown = || Error::Argument(format!("--encoder {name}: must be one of {}", EncoderKind::names()));
    EncoderKind::named(name).ok_or_else(unknown)
}
