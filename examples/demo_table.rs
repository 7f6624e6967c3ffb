//! Writes the README's demo section from the runs of `make results`, which differ in their seed: the table between the markers
//! `<!-- demo -->` and `<!-- /demo -->`, and the pictures of the first run.
//!
//!     cargo run --release --example demo_table -- runs/results/0 runs/results/1 runs/results/2

#[path = "common/markers.rs"]
mod markers;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use wgrad::train::{FewLabels, Summary, parse};

#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Directories of the runs
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Labels of each class that the runs were fine-tuned with
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) labels_per_class: usize,
    /// The file with the markers; pictures go to examples/images beside it
    #[arg(long, value_name = "FILE", default_value = "README.md")]
    pub(crate) readme: PathBuf,
}

/// Where the pictures lie, from the README.
const PICTURES: &str = "examples/images";

/// What one run of the demo has left.
struct Run {
    summary: Summary,
    few: Option<Few>,
}

/// The part with few labels.
struct Few {
    labels: FewLabels,
    seconds: f64,
    protocol: String,
}

fn main() -> ExitCode {
    match demo_table(&parse(include_str!("demo_table.rs"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn demo_table(args: &Args) -> Result<(), Box<dyn Error>> {
    let read_all = args.runs.iter().map(|run| read(run, args.labels_per_class));
    let runs = read_all.collect::<Result<Vec<_>, _>>()?;
    let section = section(&runs)?;
    let pictures = args.readme.parent().unwrap_or(Path::new("")).join(PICTURES);
    fs::create_dir_all(&pictures)?;
    for picture in ["embedding.svg", "curves.svg"] {
        let from = args.runs[0].join(picture);
        fs::copy(&from, pictures.join(picture)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    markers::replace(&args.readme, "demo", &section)
}

/// The summaries in the directory of a run. One without moved images or few labels is of an earlier version, or of `simclr`
/// alone: what it lacks is a dash in the table, and said.
fn read(run: &Path, per_class: usize) -> Result<Run, Box<dyn Error>> {
    let text = |path: &Path| fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let path = run.join("summary.json");
    let summary: Summary =
        serde_json::from_str(&text(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
    if summary.knn_top1.is_none() {
        return Err(format!("{}: the run ended early", path.display()).into());
    }
    if summary.knn_top1_moved.is_none() {
        eprintln!("{}: has no accuracies of moved images; its run is of an earlier version", path.display());
    }
    let path = run.join(format!("labels_{per_class}/summary.json"));
    if !path.exists() {
        eprintln!("{}: is not there, so the table has no accuracies with few labels", path.display());
        return Ok(Run { summary, few: None });
    }
    let json: Value = serde_json::from_str(&text(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
    let lacks = |key: &str| format!("{}: lacks {key}", path.display());
    let number = |key: &str| json[key].as_f64().ok_or_else(|| lacks(key));
    let labels = FewLabels {
        per_class,
        fine_tuned: number("test_top1")?,
        from_scratch: number("test_top1_from_scratch")?,
    };
    let protocol = json["protocol"].as_str().ok_or_else(|| lacks("protocol"))?.to_owned();
    Ok(Run { summary, few: Some(Few { labels, seconds: number("seconds")?, protocol }) })
}

/// Mean and standard deviation (unbiased; 0 for one run) over the runs; `None` if one of them lacks the value.
fn mean(runs: &[Run], value: impl Fn(&Run) -> Option<f64>) -> Option<(f64, f64)> {
    let values = runs.iter().map(value).collect::<Option<Vec<f64>>>()?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0).max(1.0)).sqrt()))
}

/// The table of means, what it means, the pictures, and how all was measured.
fn section(runs: &[Run]) -> Result<String, Box<dyn Error>> {
    type Value = fn(&Summary) -> Option<f64>;
    const ROWS: [(&str, [Option<Value>; 4]); 4] = [
        (
            "**trained**",
            [
                Some(|s| s.knn_top1_moved),
                Some(|s| s.linear_top1_moved),
                Some(|s| s.knn_top1),
                Some(|s| s.linear_top1),
            ],
        ),
        (
            "random init",
            [
                Some(|s| s.knn_top1_random_init_moved),
                Some(|s| s.linear_top1_random_init_moved),
                Some(|s| Some(s.knn_top1_random_init)),
                Some(|s| Some(s.linear_top1_random_init)),
            ],
        ),
        (
            "raw pixels",
            [
                Some(|s| s.knn_top1_raw_pixels_moved),
                Some(|s| s.linear_top1_raw_pixels_moved),
                Some(|s| Some(s.knn_top1_raw_pixels)),
                Some(|s| Some(s.linear_top1_raw_pixels)),
            ],
        ),
        (
            "normalised pixels",
            [
                Some(|s| s.knn_top1_normalized_pixels_moved),
                None,
                Some(|s| Some(s.knn_top1_normalized_pixels)),
                None,
            ],
        ),
    ];
    let first = &runs.first().ok_or("no runs")?.summary;
    let same =
        |s: &Summary| (s.method.clone(), s.steps, s.precision.clone(), s.adapter.clone(), s.test_images);
    if let Some(other) = runs.iter().map(|run| &run.summary).find(|s| same(s) != same(first)) {
        return Err(format!(
            "runs that differ in more than their seed: {:?} and {:?}",
            same(first),
            same(other)
        )
        .into());
    }
    let of_few =
        |value: fn(&FewLabels) -> f64| mean(runs, |run| run.few.as_ref().map(|few| value(&few.labels)));
    let (fine_tuned, from_scratch) = (of_few(|few| few.fine_tuned), of_few(|few| few.from_scratch));
    let few = runs[0].few.as_ref().filter(|_| fine_tuned.is_some());

    let mut out = String::new();
    let labels =
        few.map_or("few labels".to_owned(), |few| format!("{} labels a class", few.labels.per_class));
    let _ = writeln!(
        out,
        "| | kNN, images moved | linear probe, moved | fine-tuned on {labels} | kNN, images as they are | linear probe, as they are |\n\
         |---|---:|---:|---:|---:|---:|"
    );
    let cell = |value: Option<(f64, f64)>| match value {
        Some((mean, deviation)) if deviation < 1e-9 => format!("{:.1}", 100.0 * mean), // alike but for rounding
        Some((mean, deviation)) => format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * deviation),
        None => "–".to_owned(),
    };
    for (name, values) in ROWS {
        let [a, b, c, d] = values.map(|value| match value {
            Some(value) => cell(mean(runs, |run| value(&run.summary))),
            None => "as raw".to_owned(), // the probe standardises its input
        });
        let few = match name {
            "**trained**" => cell(fine_tuned),
            "random init" => cell(from_scratch),
            _ => "–".to_owned(),
        };
        let _ = writeln!(out, "| {name} | {a} | {b} | {few} | {c} | {d} |");
    }
    let over = |value: Value| mean(runs, |run| value(&run.summary)).map(|(mean, _)| mean);
    let means = Summary {
        test_images: first.test_images,
        knn_top1: over(|s| s.knn_top1),
        knn_top1_moved: over(|s| s.knn_top1_moved),
        knn_top1_random_init_moved: over(|s| s.knn_top1_random_init_moved),
        knn_top1_raw_pixels_moved: over(|s| s.knn_top1_raw_pixels_moved),
        knn_top1_normalized_pixels: over(|s| Some(s.knn_top1_normalized_pixels)).unwrap_or(f64::NAN),
        knn_top1_normalized_pixels_moved: over(|s| s.knn_top1_normalized_pixels_moved),
        ..Summary::default()
    };
    let few_means =
        few.zip(fine_tuned).zip(from_scratch).map(|((few, (fine_tuned, _)), (from_scratch, _))| FewLabels {
            per_class: few.labels.per_class,
            fine_tuned,
            from_scratch,
        });
    let conclusion = means.conclusion(few_means);
    if !conclusion.is_empty() {
        let _ = writeln!(out, "\n{conclusion}");
    }
    let _ = writeln!(
        out,
        "\n![Loss and accuracy by step]({PICTURES}/curves.svg)\n\n\
         ![The test images in the plane of the two main directions of the embedding]({PICTURES}/embedding.svg)"
    );
    let images = first.test_images.map_or("the test images".to_owned(), |n| format!("{n} test images"));
    let seeds = if runs.len() > 1 {
        format!("; mean and standard deviation of {} seeds", runs.len())
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "\nTop-1 accuracy in % on {images}{seeds}; {} steps of {}, {}, on {}. {}.",
        first.steps, first.method, first.precision, first.adapter, first.protocol
    );
    if let Some(few) = few {
        let _ = writeln!(
            out,
            "Few labels: {}; random init is the same network trained from scratch.",
            few.protocol
        );
    }
    let seconds = |value: fn(&Run) -> f64| mean(runs, |run| Some(value(run))).unwrap_or_default().0;
    let _ = writeln!(
        out,
        "A run takes {:.0} s with its evaluations, few labels {:.0} s more. Written by `make results`.",
        seconds(|run| run.summary.seconds),
        seconds(|run| run.few.as_ref().map_or(0.0, |few| few.seconds)),
    );
    Ok(out)
}
