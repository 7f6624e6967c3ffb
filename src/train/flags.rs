//! The command line that every method shares, and what it leaves out.

use std::path::PathBuf;

use clap::Parser;

/// Flags of a training run. A method with flags of its own flattens this struct into its own `clap` parser.
///
/// Every flag is optional. What is left out takes the method's default for the adapter's class, or on `--resume` the
/// checkpoint's value.
#[derive(Debug, Clone, Default, Parser)]
#[command(version, about = "Trains an encoder without labels. Writes the run to a directory.")]
pub struct Flags {
    /// embedded, synthetic, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR or folder:DIR
    #[arg(long, value_name = "SOURCE")]
    pub data: Option<String>,
    /// Use only the first N training images
    #[arg(long, value_name = "N")]
    pub train_limit: Option<usize>,
    /// Passes over the training images
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<u64>,
    /// Optimiser steps, in place of --epochs
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Images a step; each gives two views
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Temperature of the loss
    #[arg(long, value_name = "X")]
    pub tau: Option<f64>,
    /// Names every random draw of the run
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,
    /// f32, or f16: activations in f16, weights and sums in f32
    #[arg(long, value_name = "TYPE")]
    pub precision: Option<String>,
    /// tiny, resnet8, resnet18, resnet34 or resnet50
    #[arg(long, value_name = "NAME")]
    pub encoder: Option<String>,
    /// Part of the adapter's name; the best one if left out
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Continue the run of this directory or checkpoint file
    #[arg(long, value_name = "PATH")]
    pub resume: Option<PathBuf>,
    /// Directory of the run; must not hold another run
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Steps between evaluations; 0 for the end only
    #[arg(long, value_name = "N")]
    pub eval_every: Option<u64>,
    /// Steps between checkpoints; 0 for the end only
    #[arg(long, value_name = "N")]
    pub save_every: Option<u64>,
    /// Measure which kernels are the fastest here, each time a new size comes up; the run keeps to what was chosen
    #[arg(long)]
    pub tune: bool,
    /// Print GPU time by kernel at the end
    #[arg(long)]
    pub profile: bool,
    /// Write a Chrome/Perfetto trace of the GPU
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

impl Flags {
    /// Reads the command line. Prints help and exits where asked to; a wrong argument is one line and exit status 2.
    #[must_use]
    pub fn from_args() -> Self {
        parse(std::env::args_os())
    }
}

/// Parses a method's own flags the way [`Flags::from_args`] does.
pub fn parse<P: Parser>(args: impl IntoIterator<Item = std::ffi::OsString>) -> P {
    P::try_parse_from(args).unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit(); // --help, --version
        }
        eprintln!("{} (--help lists the flags)", one_line(&error));
        std::process::exit(2);
    })
}

/// The message of a clap error without its usage block.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let head = text.split("\n\n").next().unwrap_or_default();
    head.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A method's defaults for one class of adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Encoder preset.
    pub encoder: &'static str,
    /// Length of the run.
    pub length: Length,
    /// Images a step.
    pub batch: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Temperature; 0 for methods without one.
    pub tau: f64,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Most training images to use; 0 for all.
    pub train_limit: usize,
}

impl Defaults {
    /// For an adapter class. On a CPU: the small encoder, 10,000 images, 300 steps, about a minute on two cores. On a GPU:
    /// ResNet-8 at full resolution, all images, 50 epochs.
    #[must_use]
    pub fn for_class(is_cpu: bool) -> Self {
        let cpu = Self {
            encoder: "tiny",
            length: Length::Steps(300),
            batch: 128,
            lr: 0.2,
            tau: 0.2,
            eval_every: 100,
            train_limit: 10_000,
        };
        let gpu = Self {
            encoder: "resnet8",
            length: Length::Epochs(50),
            batch: 256,
            eval_every: 500,
            train_limit: 0,
            ..cpu
        };
        if is_cpu { cpu } else { gpu }
    }
}

/// Length of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Passes over the training images.
    Epochs(u64),
    /// Optimiser steps.
    Steps(u64),
}
