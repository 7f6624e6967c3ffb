//! The command line that every method shares.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::builder::Resettable;

use crate::nn::EncoderKind;

/// Flags of a training run. A method with flags of its own flattens this struct into its own `clap` parser.
///
/// Every flag is optional. What is left out takes the recipe's value, or on `--resume` the checkpoint's.
#[derive(Debug, Clone, Default, Parser)]
#[command(version)]
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
    /// Name of an [`EncoderKind`]
    #[arg(long, value_name = "NAME", help = EncoderKind::names())]
    pub encoder: Option<String>,
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
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
    /// The adapter, where it is described and not there
    #[cfg(feature = "isa")]
    #[doc(hidden)]
    #[arg(skip)]
    pub described: Option<crate::gpu::Described>,
}

impl Flags {
    /// Reads the command line of the program whose text this is, as [`parse`] does.
    #[must_use]
    pub fn from_args(source: &str) -> Self {
        parse(source)
    }
}

/// Reads the command line of a program. `source` is its text, `include_str!("simclr.rs")`, whose head (the `//!` lines) is
/// its help: the first paragraph before the flags, the others after them.
///
/// Prints help and exits where asked to; a wrong argument is one line and exit status 2.
#[must_use]
pub fn parse<P: Parser>(source: &str) -> P {
    read(source, std::env::args_os()).unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit(); // --help, --version
        }
        eprintln!("{} (--help lists the flags)", one_line(&error));
        std::process::exit(2);
    })
}

/// [`parse`] for a program without flags of its own: it has `--help` and `--version`, and refuses anything else.
pub fn no_flags(source: &str) {
    /// Nothing.
    #[derive(Parser)]
    #[command(version)]
    struct NoFlags {}
    let NoFlags {} = parse(source);
}

fn read<P: Parser>(source: &str, args: impl IntoIterator<Item = OsString>) -> Result<P, clap::Error> {
    let head: Vec<_> = source.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let head: Vec<_> = head.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let first = head.iter().position(|line| line.is_empty()).unwrap_or(head.len());
    // In the place of what clap makes of the documentation of `P`.
    let mut command = P::command().about(head[..first].join("\n")).long_about(Resettable::Reset);
    if first < head.len() {
        command = command.after_help(head[first + 1..].join("\n"));
    }
    let matches = command.try_get_matches_from_mut(args)?;
    P::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The message of a clap error with its tip, without its usage block.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let of_usage = |part: &str| part.starts_with("Usage:") || part.starts_with("For more information");
    let parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty() && !of_usage(part));
    let parts: Vec<_> = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "//! Trains.\n//! On images.\n//!\n//!     cargo run\n//!\n//! A paper.\n\nuse std;\n";

    fn read_line(line: &str) -> Result<Flags, clap::Error> {
        read(SOURCE, line.split_whitespace().map(Into::into))
    }

    #[test]
    fn a_wrong_argument_is_a_line_with_a_tip() {
        let refused = |line| one_line(&read_line(line).unwrap_err());
        let wanted = "error: unexpected argument '--stpes' found; tip: a similar argument exists: '--steps'";
        assert_eq!(refused("program --stpes 3"), wanted);
        assert_eq!(refused("program more"), "error: unexpected argument 'more' found");
        let number = "error: invalid value 'x' for '--steps <N>': invalid digit found in string";
        assert_eq!(refused("program --steps x"), number);
        let both = refused("program --steps 3 --epochs 3");
        assert!(both.contains("cannot be used with") && !both.contains('\n'), "{both}");
    }

    #[test]
    fn help_is_the_head_of_the_program() {
        let error = read_line("program --help").unwrap_err();
        let help = error.to_string();
        assert!(!error.use_stderr());
        assert!(help.starts_with("Trains.\nOn images.\n\nUsage: program"), "{help}");
        assert!(
            help.trim_end().ends_with("    cargo run\n\nA paper.") && !help.contains("use std"),
            "{help}"
        );
        assert_eq!(read_line("program --steps 3").unwrap().steps, Some(3));
    }
}
