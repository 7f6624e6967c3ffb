//! Measures this adapter: roofline, every rung of the kernel ladders, every op, the training step. `make report`.
//!
//! Each case is compared with its specification before it is timed. Writes `<adapter>-report.json`, and, in a checkout,
//! the tables of the READMEs from all such files, those of `make peers` and of `torch_bench.py` included. The binary needs
//! neither cargo nor a checkout, so `target/release/examples/report` can be copied to a machine that has only a GPU; bring
//! back the JSON and run it here with `--tables`.

#[path = "../benches/common/mod.rs"]
mod common;
#[path = "common/markers.rs"]
mod markers;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use common::measure::Report;
use common::{markdown, stamp};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// Folder of the measurements
    #[arg(long, default_value = "benches/results")]
    out: PathBuf,
    /// Measure nothing, only write the tables anew
    #[arg(long)]
    tables: bool,
    /// Comma-separated parts: ladder, ops, train_step
    #[arg(long, value_delimiter = ',', default_value = "ladder,ops,train_step")]
    parts: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{} cases differ from their specification:\n{}", wrong.len(), wrong.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let wrong = if args.tables { vec![] } else { measure(args)? };
    tables(&args.out)?;
    Ok(wrong)
}

fn measure(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let start = Instant::now();
    let mut report = Report::begin()?;
    let info = report.gpu.info().clone();
    let part = |name: &str| args.parts.iter().any(|part| part == name);
    println!("{} ({}), {}", info.name, info.driver, report.roofline());
    let ladder = if part("ladder") { report.ladder()? } else { vec![] };
    let ops = if part("ops") { report.ops()? } else { vec![] };
    let train_step = if part("train_step") { report.train_step()? } else { vec![] };
    let result = json!({
        "adapter": info.name,
        "backend": info.backend,
        "driver": info.driver,
        "date": stamp::today(),
        "wgrad": env!("CARGO_PKG_VERSION"),
        "roofline": report.roofline(),
        "ladder": ladder,
        "ops": ops,
        "train_step": train_step,
        "wrong": report.wrong,
        "seconds": start.elapsed().as_secs(),
    });
    std::fs::create_dir_all(&args.out)?;
    let path = args.out.join(format!("{}-report.json", stamp::slug(&info.name)));
    std::fs::write(&path, serde_json::to_string_pretty(&result)? + "\n")?;
    println!("{} in {} s", path.display(), start.elapsed().as_secs());
    Ok(report.wrong)
}

/// Writes the tables of the READMEs, if this is a checkout.
fn tables(results: &Path) -> Result<(), Box<dyn Error>> {
    let [readme, kernels] = ["README.md", "shaders/README.md"].map(Path::new);
    if !readme.exists() || !kernels.exists() {
        return Ok(());
    }
    let reports = markdown::results(results, "report")?;
    let [burn, torch] = [markdown::results(results, "peers")?, markdown::results(results, "torch")?];
    markers::replace(readme, "peers", &markdown::peers(&burn, &torch))?;
    markers::replace(readme, "train step", &markdown::train_step(&reports))?;
    markers::replace(kernels, "ladder", &markdown::ladder(&reports))?;
    markers::replace(kernels, "ops", &markdown::ops(&reports))
}
