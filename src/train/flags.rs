//! The command line that every method shares.

use std::path::PathBuf;

use clap::Parser;

/// Flags of a training run. A method with flags of its own flattens this struct into its own `clap` parser.
///
/// Every flag is optional. What is left out takes the recipe's value, or on `--resume` the checkpoint's.
#[derive(Debug, Clone, Default, Parser)]
#[command(version, about = "Trains an encoder without labels. Writes the run to a directory.")]
pub struct Flags {
    /// What the run starts from, before all other flags: METHOD-embedded (default), METHOD-cifar10, or a file such as the
    /// config.toml of a run
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Any value of the recipe, as options.queue=4096 or optimizer.sgd.momentum=0.95; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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
    /// Save and end after this step, as Ctrl-C would; --resume continues
    #[arg(long, value_name = "N")]
    pub stop_after: Option<u64>,
    /// Measure which kernels are the fastest here, each time a new size comes up; the run keeps to what was chosen
    #[arg(long)]
    pub tune: bool,
    /// End the run at the first alarm: an embedding that collapses, a loss that does not move
    #[arg(long)]
    pub stop_on_collapse: bool,
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
