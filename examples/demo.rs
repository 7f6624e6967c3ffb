//! The demo: SimCLR trains an encoder without labels, then the encoder is put to use with a few.
//!
//!     cargo run --release --example demo
//!
//! It runs `simclr` and, on what that leaves, `finetune` with ten labels a class beside the same network from scratch, and
//! ends with a table of both. All flags are those of `simclr`.

#[path = "finetune.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod finetune;
#[path = "simclr.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod simclr;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use wgrad::train::{self, Checkpoint, FewLabels, Flags, RunDir, Summary};
use wgrad::{Error, Result};

#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Labels of each class to fine-tune with; 0 to leave that out
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) labels_per_class: usize,
    /// Optimiser steps of the fine-tuning
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) finetune_steps: u64,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

fn main() -> ExitCode {
    train::main(|| demo(&train::parse(include_str!("demo.rs"))))
}

/// The summary of the training run; in its directory lies `labels_10`, a run of `finetune`.
pub(crate) fn demo(args: &Args) -> Result<Summary> {
    // A directory known beforehand, so that the second program finds what the first has left.
    let Args { labels_per_class, flags, .. } = args;
    let dir = match (&flags.resume, &flags.out) {
        (_, Some(out)) => out.clone(),
        (Some(from), None) => Checkpoint::read(from)?.directory().to_owned(),
        (None, None) => RunDir::create(None, "simclr")?.path().to_owned(),
    };
    let summary = simclr::simclr(&Flags { out: Some(dir.clone()), ..flags.clone() })?;
    if summary.knn_top1.is_none() || *labels_per_class == 0 {
        return Ok(summary); // ended early, or that was all
    }
    let few = few_labels(&dir, args)?;
    println!("\n{}\n{}", summary.table(Some(few)), summary.conclusion(Some(few)));
    Ok(summary)
}

/// The same labels with the encoder of the run in `dir` and from scratch. Where that was measured before, it is read.
fn few_labels(dir: &Path, args: &Args) -> Result<FewLabels> {
    let Args { labels_per_class, finetune_steps, flags } = args;
    let out = dir.join(format!("labels_{labels_per_class}"));
    let summary = out.join("summary.json");
    if !summary.exists() {
        println!("\nfew labels:");
        let seed = Checkpoint::read(dir)?.meta.config.seed;
        let mut given: Vec<OsString> =
            ["finetune", "--mode", "full", "--from-scratch", "--from"].map(Into::into).into();
        given.extend([dir.into(), "--out".into(), out.into()]);
        let numbers = format!("--labels-per-class {labels_per_class} --steps {finetune_steps} --seed {seed}");
        given.extend(numbers.split(' ').map(Into::into));
        given.extend(flags.adapter.iter().flat_map(|name| ["--adapter".into(), name.into()]));
        finetune::finetune(&Parser::parse_from(given))?;
    }
    let text = fs::read_to_string(&summary).map_err(|e| Error::io(&summary, e))?;
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let number = |key: &str| {
        let lacks = || Error::Argument(format!("{}: lacks {key}", summary.display()));
        json[key].as_f64().ok_or_else(lacks)
    };
    Ok(FewLabels {
        per_class: *labels_per_class,
        fine_tuned: number("test_top1")?,
        from_scratch: number("test_top1_from_scratch")?,
    })
}
