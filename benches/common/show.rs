//! Measurements for the terminal, as CSV, two of them side by side, and a ladder as a picture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wgrad::train::plot::{self, Panel, Series};

use super::measure::Part;
use super::results::{measured, same};
use super::stamp;

/// Characters of a full bar.
const BAR: f64 = 10.0;

pub(crate) fn rows<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result[key].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Three digits, as a reader compares them.
pub(crate) fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".into(),
        Some(v) if value.is_u64() => format!("{v:.0}"),
        Some(v) if v >= 100.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.2}"),
    }
}

/// Name and size of a row in one column each.
fn named(part: Part, row: &Value) -> [String; 2] {
    let [family, rung, name, size, network, precision] =
        ["family", "rung", "name", "size", "network", "precision"].map(|key| text(&row[key]));
    match part {
        Part::Correctness if row["rung"].is_null() => [name.to_owned(), precision.to_owned()],
        Part::Correctness => [format!("{family}/{rung}"), precision.to_owned()],
        Part::Ladder => [format!("{family}/{rung}: {name}"), size.to_owned()],
        Part::Ops => [name.to_owned(), size.to_owned()],
        Part::TrainStep => {
            [format!("SimCLR step, {network}, {precision}"), format!("{} images", number(&row["images"]))]
        }
    }
}

/// The line above the rows of a part.
pub(crate) fn head(part: Part) -> String {
    let columns = match part {
        Part::Correctness => {
            return "every rung of the ladders and every op at all shapes, beside the specification"
                .to_owned();
        }
        Part::Ladder | Part::Ops => ["ms", "GB/s", "GFLOP/s", "% of roofline"],
        Part::TrainStep => ["ms", "images/s", "first ms", "MiB"],
    };
    let [a, b, c, d] = columns;
    let what = if part == Part::Ladder { "rung" } else { "op" };
    format!("{what:<42} {:<32} {a:>9} {b:>9} {c:>9}  {d}", "size")
}

/// A row of a part, if it has a line of its own: ops that pass have one together, [`summary`].
pub(crate) fn row(part: Part, row: &Value) -> Option<String> {
    let keys = match part {
        Part::Correctness => {
            let [name, precision] = named(part, row);
            let outcome = if row["passes"] == true { "pass" } else { "FAIL" };
            let line = format!("{name:<42} {precision:<32} {outcome}");
            return (row["passes"] != true || !row["rung"].is_null()).then_some(line);
        }
        Part::Ladder | Part::Ops => ["ms", "gb_per_s", "gflop_per_s"],
        Part::TrainStep => ["ms", "images_per_s", "first_ms"],
    };
    let [name, size] = named(part, row);
    let [a, b, c] = keys.map(|key| number(&row[key]));
    let last = match row["percent_of_roofline"].as_f64() {
        Some(percent) => {
            format!("{percent:>4.0} {}", "#".repeat((percent / 100.0 * BAR).clamp(0.0, BAR) as usize))
        }
        None => number(&row["peak_mib"]),
    };
    Some(format!("{name:<42} {size:<32} {a:>9} {b:>9} {c:>9}  {last}"))
}

/// The lines below the rows of a part: how many pass, the first wrong value of each that does not, and which have no timestamps
/// although the device has.
pub(crate) fn summary(result: &Value, part: Part) -> Vec<String> {
    let now = |row: &&Value| row["measured"].is_null();
    let rows = || rows(result, part.name()).iter().filter(now);
    let stamp = measured(result, part);
    let mut lines = vec![];
    if part == Part::Correctness {
        for (what, is_rung) in [("rungs", true), ("cases of ops", false)] {
            let of_kind = || rows().filter(move |row| row["rung"].is_string() == is_rung);
            let (all, pass) = (of_kind().count(), of_kind().filter(|row| row["passes"] == true).count());
            if all > 0 {
                let half = of_kind().filter(|row| row["precision"] == "f16").count();
                lines.push(format!("{what}: {pass} of {all} pass; {half} of these in f16"));
            }
        }
        lines.extend(rows().filter_map(|row| Some(format!("FAIL {}", row["wrong"].as_str()?))));
    } else if stamp["device"]["clock"] == "timestamps" {
        let host: Vec<_> = rows().filter(|row| row["clock"] == "host").map(|row| named(part, row)).collect();
        if !host.is_empty() {
            let names: Vec<_> = host.iter().map(|[name, _]| name.as_str()).collect();
            lines.push(format!(
                "by the host's clock, as copies between buffers have no timestamps: {}",
                names.join("; ")
            ));
        }
    }
    lines
}

/// What the device is and by which clock it is timed, in lines for the terminal.
pub(crate) fn device(device: &Value) -> Vec<String> {
    let lanes = |key: &str| number(&device[key]);
    let [least, most] = [0, 1].map(|i| number(&device["stated_subgroups"][i]));
    let mut subgroups = format!("device {}; ", text(&device["id"]));
    subgroups += &match device["subgroup"].as_u64() {
        Some(0) | None => "no subgroups".to_owned(),
        Some(_) => format!("subgroups of {} ({least} to {most} stated)", lanes("subgroup")),
    };
    if device["matrix_subgroup"].as_u64() > Some(0) {
        subgroups += &format!(", {} in kernels for matrix units", lanes("matrix_subgroup"));
    }
    let clock = match device["no_timestamps"].as_str() {
        None => "kernels are timed by the device's timestamps, training steps by the host's clock".to_owned(),
        Some(why) => format!("timed by the host's clock: {why}"),
    };
    vec![subgroups, clock]
}

/// All rows as CSV.
pub(crate) fn csv(result: &Value) -> String {
    const KEYS: [&str; 15] = [
        "family",
        "rung",
        "name",
        "network",
        "precision",
        "size",
        "images",
        "ms",
        "gb_per_s",
        "gflop_per_s",
        "percent_of_roofline",
        "images_per_s",
        "first_ms",
        "clock",
        "passes",
    ];
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.contains([',', '"', '\n']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut out = format!("adapter,driver,date,wgrad,part,{}\n", KEYS.join(","));
    for part in Part::ALL {
        for row in rows(result, part.name()) {
            let stamp = if row["measured"].is_null() { measured(result, part) } else { &row["measured"] };
            let head = [&result["adapter"], &stamp["driver"], &stamp["date"], &stamp["wgrad"]].map(cell);
            let cells = KEYS.map(|key| cell(&row[key]));
            let _ = writeln!(out, "{},{},{}", head.join(","), part.name(), cells.join(","));
        }
    }
    out
}

/// Two results side by side, the time of the second over that of the first.
pub(crate) fn compare(names: [&Path; 2], results: [&Value; 2]) -> String {
    let mut out = String::new();
    for (letter, (name, result)) in ["A", "B"].into_iter().zip(names.into_iter().zip(results)) {
        let _ = writeln!(out, "{letter}: {} ({})", text(&result["adapter"]), name.display());
        for part in Part::ALL.into_iter().filter(|part| !rows(result, part.name()).is_empty()) {
            let _ = writeln!(out, "   {}: {}", part.name(), caption(result, part));
        }
    }
    let (mut logs, mut only) = (vec![], [vec![], vec![]]);
    let mut table = format!("{:<42} {:<32} {:>9} {:>9} {:>7}\n", "op", "size", "A ms", "B ms", "B / A");
    for part in Part::ALL {
        let [a, b] = results.map(|result| rows(result, part.name()));
        if part == Part::Correctness {
            for (letter, rows) in ["A", "B"].into_iter().zip([a, b]) {
                let failed = rows.iter().filter(|row| row["passes"] == false);
                let failed: Vec<_> = failed.map(|row| named(part, row).join(" ")).collect();
                if !failed.is_empty() {
                    let _ = writeln!(out, "{letter} fails {}", failed.join("; "));
                }
            }
            continue;
        }
        if a.is_empty() || b.is_empty() {
            for (only, rows) in only.iter_mut().zip([a, b]).filter(|(_, rows)| !rows.is_empty()) {
                only.push(format!("all of {} ({} cases)", part.name(), rows.len()));
            }
            continue;
        }
        for row in a {
            let [name, size] = named(part, row);
            let Some(other) = b.iter().find(|other| same(row, other)) else {
                only[0].push(format!("{name} {size}"));
                continue;
            };
            let ratio = other["ms"].as_f64().zip(row["ms"].as_f64()).map(|(b, a)| b / a);
            logs.extend(ratio.map(f64::ln).filter(|log| log.is_finite()));
            let ratio = ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
            let [a, b] = [row, other].map(|row| number(&row["ms"]));
            let _ = writeln!(table, "{name:<42} {size:<32} {a:>9} {b:>9} {ratio:>7}");
        }
        let missing = b.iter().filter(|row| !a.iter().any(|other| same(row, other)));
        only[1].extend(missing.map(|row| named(part, row).join(" ")));
    }
    if logs.is_empty() {
        out += "\nno case in both\n";
    } else {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        let _ = write!(out, "\n{table}{:<94} {mean:>7.2}\n", format!("geometric mean of {}", logs.len()));
        out += "B / A is the time of B over that of A: below 1, B is faster.\n";
    }
    for (letter, only) in ["A", "B"].into_iter().zip(only).filter(|(_, only)| !only.is_empty()) {
        let _ = writeln!(out, "only in {letter}: {}", only.join("; "));
    }
    out
}

/// With which driver, when and by which clock a part was measured, rows of an earlier time apart.
pub(crate) fn caption(result: &Value, part: Part) -> String {
    let of = |stamp: &Value| format!("driver {}, {}", text(&stamp["driver"]), text(&stamp["date"]));
    let mut out = of(measured(result, part));
    if part == Part::Ladder || part == Part::Ops {
        out += match measured(result, part)["device"]["clock"].as_str() {
            Some("timestamps") => ", by timestamps",
            Some(_) => ", by the host's clock",
            None => "",
        };
    }
    let mut older: Vec<_> = rows(result, part.name()).iter().map(|row| &row["measured"]).collect();
    older.retain(|stamp| !stamp.is_null());
    while let Some(first) = older.first().copied() {
        let all = older.len();
        older.retain(|stamp| *stamp != first);
        let _ = write!(out, "; {} rows of {}", all - older.len(), of(first));
    }
    out
}

/// Draws the rungs of each family that was measured, to `<adapter>-ladder.svg` in a folder.
pub(crate) fn draw_ladder(folder: &Path, result: &Value) -> wgrad::Result<PathBuf> {
    let all = rows(result, "ladder");
    let roofline = &measured(result, Part::Ladder)["roofline"];
    let mut families: Vec<&str> = all.iter().map(|row| text(&row["family"])).collect();
    families.dedup();
    let panels: Vec<_> = families
        .into_iter()
        .map(|family| {
            let rows = || all.iter().filter(move |row| row["family"] == family);
            let mut names: Vec<&str> = vec![];
            rows().map(|row| text(&row["name"])).for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            });
            let points = |name: &str| {
                let mut points: Vec<_> = rows()
                    .filter(|row| row["name"] == name)
                    .filter_map(|row| Some((rung_number(text(&row["rung"]))?, row["gflop_per_s"].as_f64()?)))
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            let series =
                |name: &&str| Series { label: (*name).to_owned(), points: points(name), ..Series::default() };
            let matrix = rows().any(|row| row["matrix_units"] == true);
            let level = |label: &str, key: &str| Some((label.to_owned(), roofline[key].as_f64()?));
            let levels = [
                level("roofline, f32", "f32_gflop_per_s"),
                level("roofline, matrix units", "matrix_gflop_per_s").filter(|_| matrix),
            ];
            Panel {
                title: format!("{family}, GFLOP/s"),
                x: "number of the rung".to_owned(),
                x_range: None,
                series: names.iter().map(series).collect(),
                levels: levels.into_iter().flatten().collect(),
            }
        })
        .collect();
    let path = folder.join(format!("{}-ladder.svg", stamp::slug(text(&result["adapter"]))));
    plot::figure(&path, panels.len().clamp(1, 3), &panels)?;
    Ok(path)
}

/// `10` of `10_broadcast`.
fn rung_number(rung: &str) -> Option<f64> {
    rung.split('_').next()?.parse().ok()
}
