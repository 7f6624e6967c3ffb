//! Measures this adapter: roofline, every rung of the kernel ladders, every op, the training step. `make report`.
//!
//! Each case is compared with its specification before it is timed. Writes `<adapter>-report.json`, and, in a checkout,
//! the tables of the READMEs from all such files, those of `make peers` and of `torch_bench.py` included. The binary needs
//! neither cargo nor a checkout, so `target/release/examples/report` can be copied to a machine that has only a GPU; bring
//! back the JSON and run it here with `--tables`.

#[path = "../benches/common/mod.rs"]
mod common;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use common::markdown;
use common::measure::Report;
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
        "date": today(),
        "wgrad": env!("CARGO_PKG_VERSION"),
        "roofline": report.roofline(),
        "ladder": ladder,
        "ops": ops,
        "train_step": train_step,
        "wrong": report.wrong,
        "seconds": start.elapsed().as_secs(),
    });
    std::fs::create_dir_all(&args.out)?;
    let path = args.out.join(format!("{}-report.json", slug(&info.name)));
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
    markdown::replace(readme, "peers", &markdown::peers(&burn, &torch))?;
    markdown::replace(readme, "train step", &markdown::train_step(&reports))?;
    markdown::replace(kernels, "ladder", &markdown::ladder(&reports))?;
    markdown::replace(kernels, "ops", &markdown::ops(&reports))
}

/// `NVIDIA H100` as `nvidia-h100`.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    name.chars().map(plain).collect::<String>().split_whitespace().collect::<Vec<_>>().join("-")
}

/// The date in UTC, as `2026-01-31`: days since 1970 in the civil calendar (Howard Hinnant's `civil_from_days`).
fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() / 86_400) + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", year + 400 * era + u64::from(month <= 2))
}
