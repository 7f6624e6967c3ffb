//! Tables of the READMEs, from the files of measurements.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::measure::Part;
use super::results::{measured, read};
use super::show::{self, number, rows, text};

/// Reports of every adapter in a folder, by name.
pub(crate) fn reports(folder: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    files(folder, "report")?.iter().map(|path| read(path)).collect()
}

/// What `make peers` and `torch_bench.py` left of every adapter, `<adapter>-<kind>.json`, by name.
pub(crate) fn results(folder: &Path, kind: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let read = |path: &PathBuf| Ok(serde_json::from_str(&fs::read_to_string(path)?)?);
    files(folder, kind)?.iter().map(read).collect()
}

fn files(folder: &Path, kind: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let ending = format!("-{kind}.json");
    let mut paths = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(&ending) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Where and when a file of `make peers` or `torch_bench.py` was measured.
fn caption(result: &Value) -> String {
    let text = |key: &str| result[key].as_str().unwrap_or("?").to_owned();
    format!("{}, driver {}, {}", text("adapter"), text("driver"), text("date"))
}

/// The same of a part of a report.
fn caption_of(report: &Value, part: Part) -> String {
    format!("{}, {}", text(&report["adapter"]), show::caption(report, part))
}

const NOT_MEASURED: &str = "Not measured.\n";

/// Beside burn, a table an adapter; beside PyTorch, where that was run.
pub(crate) fn peers(burn: &[Value], torch: &[Value]) -> String {
    let mut out = String::new();
    for result in burn {
        let cold = if result["shader_cache_of_the_driver"] == false {
            "; first calls with the driver's shader cache off"
        } else {
            ""
        };
        let _ = writeln!(out, "Beside {}, on {}{cold}:\n", text(&result["peer"]), caption(result));
        out += "| work | wgrad ms | peer ms | peer / wgrad | first call: wgrad ms | peer ms |\n|---|---:|---:|---:|---:|---:|\n";
        for row in rows(result, "rows") {
            let cells = ["ours_ms", "peer_ms", "ratio", "ours_first_ms", "peer_first_ms"];
            let cells = cells.map(|key| number(&row[key])).join(" | ");
            let _ = writeln!(out, "| {} | {cells} |", text(&row["name"]));
        }
        let _ = writeln!(out, "| **geometric mean** | | | **{}** | | |\n", number(&result["geometric_mean"]));
    }
    for result in torch {
        let _ = writeln!(out, "Beside {}, on {}:\n", text(&result["peer"]), caption(result));
        out += "| work | wgrad ms | f32 | ratio | compiled f32 | AMP | compiled AMP |\n|---|---:|---:|---:|---:|---:|---:|\n";
        for row in rows(result, "rows") {
            let cells = ["ours_ms", "peer_ms", "ratio", "compile_ms", "amp_ms", "amp_compile_ms"];
            let cells = cells.map(|key| number(&row[key])).join(" | ");
            let _ = writeln!(out, "| {} | {cells} |", text(&row["name"]));
        }
        let _ =
            writeln!(out, "| **geometric mean** | | | **{}** | | | |\n", number(&result["geometric_mean"]));
    }
    if out.is_empty() { NOT_MEASURED.into() } else { out }
}

/// Images a second of a training step, all adapters in one table.
pub(crate) fn train_step(reports: &[Value]) -> String {
    let mut out = String::new();
    for report in reports {
        for row in rows(report, "train_step") {
            let name = [&row["network"], &row["precision"]].map(text).join(", ");
            let cells = ["images", "ms", "images_per_s", "first_ms", "peak_mib"]
                .map(|key| number(&row[key]))
                .join(" | ");
            let _ = writeln!(out, "| {} | {name} | {cells} |", text(&report["adapter"]));
        }
    }
    if out.is_empty() {
        return NOT_MEASURED.into();
    }
    format!(
        "| adapter | SimCLR step, 32 x 32 | images | ms | images/s | first step ms | MiB |\n|---|---|---:|---:|---:|---:|---:|\n{out}"
    )
}

/// The rungs of each family, a table an adapter: GFLOP/s, and in brackets the gain over the lowest rung.
pub(crate) fn ladder(reports: &[Value]) -> String {
    let mut out = String::new();
    for report in reports {
        let rows = rows(report, "ladder");
        let mut families: Vec<&str> = rows.iter().map(|row| text(&row["family"])).collect();
        families.dedup();
        for family in families {
            let rows: Vec<&Value> = rows.iter().filter(|row| row["family"] == family).collect();
            let mut columns: Vec<(&str, &str)> = vec![];
            let mut rungs: Vec<&str> = vec![];
            for row in &rows {
                let column = (text(&row["name"]), text(&row["size"]));
                let rung = text(&row["rung"]);
                if !columns.contains(&column) {
                    columns.push(column);
                }
                if !rungs.contains(&rung) {
                    rungs.push(rung);
                }
            }
            let _ = writeln!(out, "**{family}** on {}, GFLOP/s:\n", caption_of(report, Part::Ladder));
            let head: Vec<String> = columns.iter().map(|(name, size)| format!("{name}<br>{size}")).collect();
            let _ = writeln!(out, "| rung | {} |\n|---|{}", head.join(" | "), "---:|".repeat(head.len()));
            let speed = |rung: &str, (name, size): (&str, &str)| {
                let found = rows.iter().find(|r| r["rung"] == rung && r["name"] == name && r["size"] == size);
                found.and_then(|row| row["gflop_per_s"].as_f64())
            };
            for rung in &rungs {
                let chosen = rows.iter().any(|row| row["rung"] == *rung && row["chosen"] == true);
                let _ = write!(out, "| `{rung}`{} |", if chosen { ", the default here" } else { "" });
                for column in &columns {
                    match (speed(rung, *column), speed(rungs[0], *column)) {
                        (Some(now), Some(first)) => {
                            let _ = write!(out, " {} ({:.1}x) |", number(&now.into()), now / first);
                        }
                        _ => out += " - |",
                    }
                }
                out.push('\n');
            }
            out.push('\n');
        }
    }
    if out.is_empty() { NOT_MEASURED.into() } else { out }
}

/// The matmul ladder for a first look: A B of the largest size alone, beside the idea of each rung, which is the second
/// column of the table in `kernels`, the README of the shaders.
pub(crate) fn climb(reports: &[Value], kernels: &str) -> String {
    let mut out = String::new();
    for report in reports {
        let product = |row: &&Value| row["family"] == "matmul" && row["name"] == "matmul";
        let rows: Vec<&Value> = rows(report, "ladder").iter().filter(product).collect();
        let Some(first) = rows.first().and_then(|row| row["gflop_per_s"].as_f64()) else { continue };
        let _ = writeln!(
            out,
            "C = A B, {}, on {}:\n\n| rung | its idea | GFLOP/s | |\n|---|---|---:|---:|",
            text(&rows[0]["size"]),
            caption_of(report, Part::Ladder)
        );
        for row in rows {
            let rung = text(&row["rung"]);
            let line = kernels.lines().find(|line| line.starts_with(&format!("| `{rung}` | ")));
            let idea = line.and_then(|line| line.split(" | ").nth(1)).unwrap_or_default();
            let chosen = if row["chosen"] == true { "**" } else { "" };
            let speed = row["gflop_per_s"].as_f64().unwrap_or_default();
            let _ = writeln!(
                out,
                "| [`{rung}`](shaders/matmul/{rung}.wgsl) | {idea} | {chosen}{}{chosen} | {chosen}{:.1}x{chosen} |",
                number(&row["gflop_per_s"]),
                speed / first
            );
        }
        out += "\nBold: the rung that this adapter gets. CPUs and GPUs want different ones; see below.\n\n";
    }
    if out.is_empty() { NOT_MEASURED.into() } else { out }
}

/// Every op, a table an adapter.
pub(crate) fn ops(reports: &[Value]) -> String {
    let mut out = String::new();
    for report in reports.iter().filter(|report| !rows(report, "ops").is_empty()) {
        let roofline = &measured(report, Part::Ops)["roofline"];
        let (copy, rate) = (&roofline["copy_gb_per_s"], &roofline["f32_gflop_per_s"]);
        let _ = writeln!(
            out,
            "{}: copies {} GB/s, multiply-adds {} GFLOP/s.\n",
            caption_of(report, Part::Ops),
            number(copy),
            number(rate)
        );
        out += "| op | size | ms | GB/s | GFLOP/s | % of roofline |\n|---|---|---:|---:|---:|---:|\n";
        for row in rows(report, "ops") {
            let cells = ["ms", "gb_per_s", "gflop_per_s"].map(|key| number(&row[key])).join(" | ");
            let percent = row["percent_of_roofline"].as_f64().map_or("-".into(), |p| format!("{p:.0}"));
            let _ =
                writeln!(out, "| {} | {} | {cells} | {percent} |", text(&row["name"]), text(&row["size"]));
        }
        out.push('\n');
    }
    if out.is_empty() { NOT_MEASURED.into() } else { out }
}
