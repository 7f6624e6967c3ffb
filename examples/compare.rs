//! Trains by several methods with one budget and puts them side by side: a table (Markdown and CSV) and one figure.
//!
//!     cargo run --release --example compare -- --methods simclr,moco,dino --seeds 3 --out runs/compare
//!
//! Every flag of a run applies to each method; `--recipe cifar10` takes each METHOD-cifar10. What is done is kept: the same
//! command after Ctrl-C goes on where it stopped.

#[path = "common/markers.rs"]
mod markers;
#[path = "common/methods.rs"]
mod methods;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use methods::{METHODS, Train};
use wgrad::train::{Flags, Row, Summary, parse, plot};

#[derive(Parser)]
#[command(version)]
struct Args {
    /// Comma-separated methods; all if left out
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(METHODS.iter().map(|m| m.0)))]
    methods: Vec<String>,
    /// Runs of each method, their seeds counted from --seed
    #[arg(long, default_value_t = 1)]
    seeds: u32,
    /// Write the table into this file as well, between `<!-- compare -->` and `<!-- /compare -->`, and the figure beside it
    #[arg(long, value_name = "FILE")]
    readme: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// The runs of one method, a seed each.
struct Compared {
    method: &'static str,
    runs: Vec<(Summary, Vec<Row>)>,
}

/// Where the README's picture lies.
const PICTURE: &str = "examples/images/compare.svg";

fn main() -> ExitCode {
    match compare(parse(include_str!("compare.rs"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: Args) -> Result<(), Box<dyn Error>> {
    let Args { methods, seeds, readme, mut flags } = args;
    if flags.resume.is_some() || seeds == 0 {
        return Err(
            "--resume, --seeds 0: the command itself goes on where it stopped, with a seed or more".into()
        );
    }
    let chosen = METHODS.iter().filter(|(name, _)| methods.is_empty() || methods.iter().any(|m| m == name));
    // Recipes of the demo differ in length: one of them sets the budget.
    if flags.recipe.is_none() && flags.epochs.is_none() {
        flags.steps.get_or_insert(300);
    }
    let out = flags.out.clone().unwrap_or_else(|| "runs/compare".into());
    let first = flags.seed.unwrap_or(0);
    let mut compared = vec![];
    for &(method, train) in chosen {
        let mut runs = vec![];
        for seed in first..first + seeds {
            let dir = out.join(format!("{method}-{seed}"));
            println!("\n== {method}, seed {seed}");
            let Some(summary) = finished(method, train, &dir, seed, &flags)? else {
                println!("ended early; the same command goes on");
                return Ok(());
            };
            let csv = fs::read_to_string(dir.join("metrics.csv"))?;
            runs.push((summary, csv.lines().filter_map(Row::from_csv).collect()));
        }
        compared.push(Compared { method, runs });
    }
    compared.sort_by(|a, b| mean(b, knn).0.total_cmp(&mean(a, knn).0));

    let text = markdown(&compared, seeds)?;
    fs::write(out.join("compare.md"), &text)?;
    fs::write(out.join("compare.csv"), csv(&compared, first))?;
    figure(&out.join("compare.svg"), &compared)?;
    println!("\n{text}\nwritten to {}: compare.md compare.csv compare.svg", out.display());
    if let Some(readme) = readme {
        fs::copy(out.join("compare.svg"), PICTURE)?;
        let picture = format!("![kNN accuracy by step, a panel a method]({PICTURE})\n\n");
        markers::replace(&readme, "compare", &(picture + &text))?;
    }
    Ok(())
}

/// The summary of a run that is there, is to be continued, or is to be made; `None` if it was interrupted.
fn finished(
    method: &str,
    train: Train,
    dir: &Path,
    seed: u32,
    flags: &Flags,
) -> Result<Option<Summary>, Box<dyn Error>> {
    let path = dir.join("summary.json");
    if let Ok(text) = fs::read_to_string(&path) {
        let there: Summary = serde_json::from_str(&text)?;
        if there.knn_top1.is_some() {
            println!("{}: there already", path.display());
            return Ok(Some(there));
        }
    }
    let flags = if dir.join("checkpoint.safetensors").exists() {
        Flags { resume: Some(dir.to_owned()), ..Flags::default() }
    } else {
        let recipe = flags.recipe.as_ref().map(|data| format!("{method}-{data}"));
        Flags { recipe, seed: Some(seed), out: Some(dir.to_owned()), ..flags.clone() }
    };
    let summary = train(&flags)?;
    Ok(summary.knn_top1.is_some().then_some(summary))
}

fn knn(run: &Summary) -> f64 {
    100.0 * run.knn_top1.unwrap_or(f64::NAN)
}

/// Mean and standard deviation (unbiased; 0 for one run) over the runs of a method.
fn mean(of: &Compared, value: impl Fn(&Summary) -> f64) -> (f64, f64) {
    let values: Vec<f64> = of.runs.iter().map(|(summary, _)| value(summary)).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// Embedding std as a share of that of rows spread evenly.
fn spread(run: &Summary) -> f64 {
    let std = run.embedding_std.unwrap_or(f64::NAN);
    std * (run.embedding_dims.unwrap_or(0) as f64).sqrt()
}

fn markdown(compared: &[Compared], seeds: u32) -> Result<String, Box<dyn Error>> {
    let (summary, _) = &compared.first().ok_or("no methods")?.runs[0];
    let mut out = String::from(
        "| method | kNN top-1 | above random init | images moved | linear top-1 | std · √d | RankMe | images/s | seconds | alarms |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for of in compared {
        let cell = |value: &dyn Fn(&Summary) -> f64, digits: usize| {
            let (mean, deviation) = mean(of, value);
            if mean.is_nan() {
                return "–".to_owned(); // not measured by the version that made a run
            }
            let deviation = if seeds > 1 { format!(" ± {deviation:.digits$}") } else { String::new() };
            format!("{mean:.digits$}{deviation}")
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.2} | {:.1} | {:.0} | {:.0} | {:.0} |",
            of.method,
            cell(&knn, 1),
            cell(&|run| knn(run) - 100.0 * run.knn_top1_random_init, 1),
            cell(&|run| 100.0 * run.knn_top1_moved.unwrap_or(f64::NAN), 1),
            cell(&|run| 100.0 * run.linear_top1.unwrap_or(f64::NAN), 1),
            mean(of, spread).0,
            mean(of, |run| run.rankme.unwrap_or(f64::NAN)).0,
            mean(of, |run| run.images_per_s).0,
            mean(of, |run| run.seconds).0,
            mean(of, |run| run.alarms.len() as f64).0,
        );
    }
    let all = || compared.iter().flat_map(|of| of.runs.iter().map(|(summary, _)| summary));
    // A mean of equal values is that value: 72.75 is rounded as it is elsewhere, not the 72.749999 of a sum.
    let exact = |mean: f64| (mean * 1e9).round() / 1e9;
    let over =
        |value: fn(&Summary) -> f64| exact(100.0 * all().map(value).sum::<f64>() / all().count() as f64);
    let steps: Vec<u64> = all().map(|run| run.steps).collect();
    let (least, most) = (steps.iter().min().unwrap_or(&0), steps.iter().max().unwrap_or(&0));
    let steps = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    let _ = writeln!(
        out,
        "\nTop-1 accuracy in % on the test images; {} of {seeds} {}. Random init {:.1} by kNN and {:.1} by linear probe, raw \
         pixels {:.1} and {:.1}. {steps} steps each, {}, on {}. {}.",
        if seeds > 1 { "mean and standard deviation" } else { "one run" },
        if seeds > 1 { "seeds" } else { "seed" },
        over(|run| run.knn_top1_random_init),
        over(|run| run.linear_top1_random_init),
        over(|run| run.knn_top1_raw_pixels),
        over(|run| run.linear_top1_raw_pixels),
        summary.precision,
        summary.adapter,
        summary.protocol,
    );
    out.push_str(
        "SupCon sees the labels in training; the others do not. std · √d is 1 for embeddings spread evenly, 0 for \
         collapsed ones. Seconds are of a whole run, evaluations included.\n",
    );
    Ok(out)
}

fn csv(compared: &[Compared], first: u32) -> String {
    let mut out = String::from(
        "method,seed,steps,loss,knn_top1,linear_top1,knn_top1_random_init,linear_top1_random_init,knn_top1_raw_pixels,\
         linear_top1_raw_pixels,embedding_std,embedding_dims,rankme,images_per_s,seconds,alarms,adapter,precision,\
         knn_top1_moved,linear_top1_moved,knn_top1_random_init_moved,linear_top1_random_init_moved,\
         knn_top1_raw_pixels_moved,linear_top1_raw_pixels_moved,knn_top1_normalized_pixels_moved\n",
    );
    for of in compared {
        for (seed, (run, _)) in (first..).zip(&of.runs) {
            let cell = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            let moved = [
                run.knn_top1_moved,
                run.linear_top1_moved,
                run.knn_top1_random_init_moved,
                run.linear_top1_random_init_moved,
                run.knn_top1_raw_pixels_moved,
                run.linear_top1_raw_pixels_moved,
                run.knn_top1_normalized_pixels_moved,
            ];
            let _ = writeln!(
                out,
                "{},{seed},{},{},{},{},{},{},{},{},{},{},{},{:.1},{:.1},{},\"{}\",{},{}",
                of.method,
                run.steps,
                run.loss,
                cell(run.knn_top1),
                cell(run.linear_top1),
                run.knn_top1_random_init,
                run.linear_top1_random_init,
                run.knn_top1_raw_pixels,
                run.linear_top1_raw_pixels,
                cell(run.embedding_std),
                cell(run.embedding_dims.map(|d| d as f64)),
                cell(run.rankme),
                run.images_per_s,
                run.seconds,
                run.alarms.len(),
                run.adapter,
                run.precision,
                moved.map(cell).join(","),
            );
        }
    }
    out
}

/// A panel a method: its kNN accuracy by step, a line a seed, before those of all others in grey.
fn figure(path: &Path, compared: &[Compared]) -> wgrad::Result<()> {
    let lines = |of: &Compared, stroke: plot::Stroke| -> Vec<plot::Series> {
        let line = |(run, rows): &(Summary, Vec<Row>)| {
            let start = (0.0, 100.0 * run.knn_top1_random_init);
            let measured =
                rows.iter().filter_map(|row| Some((row.step as f64, 100.0 * row.quality?.knn_top1)));
            let points = std::iter::once(start).chain(measured).collect();
            plot::Series { label: String::new(), points, stroke }
        };
        of.runs.iter().map(line).collect()
    };
    let panel = |of: &Compared| {
        let others = compared.iter().filter(|other| other.method != of.method);
        let series = lines(of, plot::Stroke::Solid)
            .into_iter()
            .chain(others.flat_map(|other| lines(other, plot::Stroke::Muted)))
            .collect();
        let title = format!("{}: kNN top-1 (%)", of.method);
        plot::Panel { title, x: "step".into(), x_range: None, series, levels: vec![] }
    };
    let panels: Vec<_> = compared.iter().map(panel).collect();
    plot::figure(path, 4, &panels)
}
