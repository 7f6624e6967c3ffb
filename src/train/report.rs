//! What a run leaves behind: curves, a picture of the features, the summary, the profile.

use super::alarm::Part;
use super::config::Config;
use super::evaluate::Baselines;
use super::flags::Flags;
use super::metrics::{Quality, Row, Summary};
use super::plot::{self, Panel, Series};
use super::run_dir::RunDir;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::eval::principal_plane;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// Classes in the picture of the features; more than the markers can tell apart would say nothing.
const MAX_CLASSES: usize = 20;
/// Images in it.
const MAX_POINTS: usize = 2000;

/// Draws `curves.svg`. `width` is the embedding's number of dimensions.
pub(super) fn curves(
    dir: &RunDir,
    rows: &[Row],
    baselines: &Baselines,
    parts: &[Part],
    width: usize,
) -> Result<()> {
    let line = |label: &str, y: &dyn Fn(&Row) -> Option<f64>| Series {
        label: label.to_owned(),
        points: rows.iter().filter_map(|r| Some((r.step as f64, y(r)?))).collect(),
        stroke: plot::Stroke::Solid,
    };
    let quality = |label: &str, y: fn(&Quality) -> f64| line(label, &move |r| r.quality.as_ref().map(y));
    let panel = |title: &str, series: Vec<Series>, levels: Vec<(&str, f64)>| Panel {
        title: title.to_owned(),
        x: "step".to_owned(),
        x_range: rows.last().map(|r| (0.0, r.step as f64)),
        series,
        levels: levels.into_iter().map(|(label, y)| (label.to_owned(), y)).collect(),
    };
    let mut panels = vec![panel("loss", vec![line("", &|r| Some(f64::from(r.loss)))], vec![])];
    if rows.iter().any(|r| r.mi_bound.is_some()) {
        panels.push(panel("mutual information bound (nats)", vec![line("", &|r| r.mi_bound)], vec![]));
    }
    // From what the encoder has before its first step.
    let accuracy = |label: &str, start: f64, y: fn(&Quality) -> Option<f64>| {
        let mut series = line(label, &move |r| r.quality.as_ref().and_then(y));
        series.points.insert(0, (0.0, start));
        series
    };
    let (start, pixels) = (baselines.random_init.knn, baselines.normalized_pixels);
    panels.extend([
        panel(
            "kNN top-1 on the test images",
            vec![
                accuracy("moved", start.moved, |q| q.knn_top1_moved),
                accuracy("as they are", start.aligned, |q| Some(q.knn_top1)),
            ],
            vec![("normalised pixels, moved", pixels.moved), ("normalised pixels", pixels.aligned)],
        ),
        panel(
            "alignment and uniformity",
            vec![quality("alignment", |q| q.alignment), quality("uniformity", |q| q.uniformity)],
            vec![],
        ),
        panel(
            "embedding std",
            vec![
                quality("two views of test images", |q| q.embedding_std),
                line("batches", &|r| r.batch_std.map(f64::from)),
            ],
            vec![("1/sqrt(d)", 1.0 / (width as f64).sqrt())],
        ),
        panel("RankMe", vec![quality("", |q| q.rankme)], vec![]),
    ]);
    for (i, part) in parts.iter().enumerate() {
        let series = line("", &|r| r.parts.get(i).copied().flatten().map(f64::from));
        panels.push(panel(part.name, vec![series], vec![]));
    }
    plot::figure(&dir.file("curves.svg"), 3, &panels)
}

/// Draws `embedding.svg`: test images on the first two principal axes of their features, coloured by class.
pub(super) fn embedding(dir: &RunDir, features: &Tensor, data: &Dataset, config: &Config) -> Result<()> {
    let points = principal_plane(&features.slice_rows(0, features.shape()[0].min(MAX_POINTS)))?;
    let groups: Vec<Series> = (data.class_names.iter().take(MAX_CLASSES).enumerate())
        .map(|(class, name)| Series {
            label: name.clone(),
            points: (points.iter().zip(&data.labels))
                .filter(|(_, label)| **label as usize == class)
                .map(|(point, _)| *point)
                .collect(),
            stroke: plot::Stroke::Solid,
        })
        .collect();
    let some =
        if groups.len() < data.classes() { format!(", first {MAX_CLASSES} classes") } else { String::new() };
    let title = format!(
        "{} test images, encoder output after {} steps, first two principal axes{some}",
        data.name, config.steps
    );
    plot::scatter(&dir.file("embedding.svg"), &title, &groups)
}

/// Writes `summary.json`.
pub(super) fn summary(dir: &RunDir, summary: &Summary) -> Result<()> {
    let json = serde_json::to_string_pretty(summary).map_err(|e| Error::Argument(e.to_string()))?;
    dir.write("summary.json", format!("{json}\n").as_bytes())
}

/// Says how the run ended.
pub(super) fn print(dir: &RunDir, summary: &Summary) {
    let Summary { method, steps, loss, images_per_s, seconds, protocol, .. } = summary;
    println!("{method}: {steps} steps, loss {loss:.4}, {images_per_s:.0} images/s, {seconds:.0} s in all");
    let dir = dir.path().display();
    if summary.knn_top1.is_none() {
        println!("ended early; --resume {dir} continues");
        return;
    }
    println!("{protocol}");
    println!("written to {dir}: summary.json metrics.csv curves.svg embedding.svg checkpoint.safetensors");
    println!("\n{}", summary.table(None));
    println!("{}", summary.conclusion(None));
}

/// Prints the table of kernels and writes the trace, where asked for.
pub(super) fn profile(gpu: &Gpu, flags: &Flags) -> Result<()> {
    if flags.profile || flags.trace.is_some() {
        let Some(table) = gpu.profile_table()? else {
            println!("no profile: this adapter has no timestamps");
            return Ok(());
        };
        println!("{table}");
    }
    if let Some(path) = &flags.trace {
        gpu.write_trace(path)?;
        println!("trace: {}", path.display());
    }
    Ok(())
}
