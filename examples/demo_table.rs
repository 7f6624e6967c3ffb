//! Rewrites the README's demo section from the runs of `make results`: the table between the markers, and the pictures.
//!
//!     cargo run --release --example demo_table -- runs/demo-0 runs/demo-1 runs/demo-2

#[path = "common/markers.rs"]
mod markers;

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

const PICTURES: &str = "examples/images";

fn main() -> Result<(), Box<dyn Error>> {
    let runs: Vec<PathBuf> = env::args().skip(1).map(PathBuf::from).collect();
    let first = runs.first().ok_or("usage: demo_table RUN_DIRECTORY...")?;
    let summaries = runs.iter().map(|run| read(run)).collect::<Result<Vec<_>, _>>()?;

    fs::create_dir_all(PICTURES)?;
    for picture in ["embedding.svg", "curves.svg"] {
        fs::copy(first.join(picture), Path::new(PICTURES).join(picture))?;
    }
    markers::replace(Path::new("README.md"), "demo", &section(&summaries)?)
}

fn read(run: &Path) -> Result<Value, Box<dyn Error>> {
    let path = run.join("summary.json");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The table: a row a run, the means below, and what was measured how.
fn section(runs: &[Value]) -> Result<String, Box<dyn Error>> {
    const COLUMNS: [(&str, &str, f64); 8] = [
        ("kNN: random init", "knn_top1_random_init", 100.0),
        ("raw pixels", "knn_top1_raw_pixels", 100.0),
        ("normalised pixels", "knn_top1_normalized_pixels", 100.0),
        ("**trained**", "knn_top1", 100.0),
        ("linear probe: random init", "linear_top1_random_init", 100.0),
        ("raw pixels", "linear_top1_raw_pixels", 100.0),
        ("**trained**", "linear_top1", 100.0),
        ("seconds", "seconds", 1.0),
    ];
    let number = |run: &Value, key: &str| run[key].as_f64().ok_or_else(|| format!("a summary lacks {key}"));
    let text = |key: &str| runs[0][key].as_str().ok_or_else(|| format!("a summary lacks {key}"));

    let mut out = String::from("![The test images in the plane of the two main directions of the embedding]");
    let _ =
        writeln!(out, "({PICTURES}/embedding.svg)\n\n![Loss and accuracy by step]({PICTURES}/curves.svg)\n");
    let names: Vec<&str> = COLUMNS.iter().map(|c| c.0).collect();
    let _ = writeln!(out, "| run | {} |\n|---|{}", names.join(" | "), "---:|".repeat(COLUMNS.len()));
    let mut means = [0.0; COLUMNS.len()];
    for (i, run) in runs.iter().enumerate() {
        let _ = write!(out, "| seed {i} |");
        for ((_, key, scale), mean) in COLUMNS.iter().zip(&mut means) {
            let value = scale * number(run, key)?;
            *mean += value / runs.len() as f64;
            let _ = write!(out, " {value:.1} |");
        }
        out.push('\n');
    }
    let cells: Vec<String> = means.iter().map(|m| format!("**{m:.1}**")).collect();
    let _ = writeln!(out, "| mean | {} |\n", cells.join(" | "));
    let (adapter, protocol, precision) = (text("adapter")?, text("protocol")?, text("precision")?);
    let steps = number(&runs[0], "steps")?;
    let _ = writeln!(
        out,
        "Top-1 accuracy in % on 2,000 test images, {steps} steps, {precision}, on {adapter}. {protocol}."
    );
    let _ = writeln!(out, "Seconds are of the whole run, evaluations included. Written by `make results`.");
    Ok(out)
}
