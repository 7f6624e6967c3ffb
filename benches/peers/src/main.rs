//! wgrad and burn on the same adapter, the same shapes and the same work, alternating in one process.
//!
//!     cargo run --release --manifest-path benches/peers/Cargo.toml -- --out benches/results
//!
//! Each row of `benches/shapes.json` is run once by either side from nothing (compilation and, for burn, autotuning
//! included), the results are compared, and then pairs of warm runs alternate; a row is the median of the pairs' times. A
//! timing repeats the work until it takes 20 ms or more, with a wait for the device at both ends.

mod ours;
mod theirs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};

/// Pairs of timings a row.
const PAIRS: usize = 9;
/// Shortest timing.
const SHORTEST: Duration = Duration::from_millis(20);

#[derive(Parser)]
struct Args {
    /// File with the shapes.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../shapes.json"))]
    shapes: PathBuf,
    /// Folder that gets `<adapter>-peers.json`.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The large shapes too, which are meant for GPUs.
    #[arg(long)]
    large: bool,
}

/// A line of `benches/shapes.json`.
#[derive(Deserialize)]
pub(crate) struct Shape {
    name: String,
    op: String,
    shape: Vec<usize>,
    #[serde(default)]
    gpu: bool,
}

/// One side of a row: the work, which waits for the device, and what it computed last.
pub(crate) struct Side {
    run: Box<dyn FnMut(u32)>,
    results: Box<dyn FnMut() -> Vec<Vec<f32>>>,
}

/// Inputs, the same for both sides.
pub(crate) fn data(seed: u32, len: usize) -> Vec<f32> {
    let mut rng = wgrad::Rng::new(seed);
    (0..len).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

#[derive(Serialize)]
struct Report {
    adapter: String,
    driver: String,
    wgrad: &'static str,
    peer: &'static str,
    shader_cache_of_the_driver: bool,
    copy_gb_per_s: f64,
    geometric_mean: f64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    ours_ms: f64,
    peer_ms: f64,
    ours_first_ms: f64,
    peer_first_ms: f64,
    /// peer / ours: above 1 wgrad is faster.
    ratio: f64,
    /// Of rows bound by memory: bytes read and written once, over the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    ours_gb_per_s: Option<f64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let shapes: Vec<Shape> = serde_json::from_str(&std::fs::read_to_string(&args.shapes)?)?;
    let gpu = wgrad::Gpu::builder().checks(false).build()?;
    let device = burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice);
    let roofline = gpu.roofline()?;
    println!("{} ({})", gpu.info().name, gpu.info().driver);
    println!("copy {:.1} GB/s, multiply-add {:.0} GFLOP/s", roofline.bytes_per_second / 1e9, roofline.flops_per_second / 1e9);
    println!("{:<46} {:>10} {:>10} {:>7} {:>11} {:>11} {:>8}", "", "wgrad ms", "burn ms", "ratio", "first ms", "first ms", "GB/s");
    let mut rows = vec![];
    for shape in shapes.iter().filter(|s| s.name.contains(&args.only) && (args.large || !s.gpu)) {
        let row = row(shape, &gpu, &device)?;
        println!(
            "{:<46} {:>10.2} {:>10.2} {:>7.2} {:>11.0} {:>11.0} {:>8}",
            row.name,
            row.ours_ms,
            row.peer_ms,
            row.ratio,
            row.ours_first_ms,
            row.peer_first_ms,
            row.ours_gb_per_s.map_or("-".into(), |b| format!("{b:.1}"))
        );
        rows.push(row);
    }
    let geometric_mean = (rows.iter().map(|r| r.ratio.ln()).sum::<f64>() / rows.len().max(1) as f64).exp();
    println!("{:<46} {:>10} {:>10} {geometric_mean:>7.2}", "geometric mean", "", "");
    let Some(folder) = &args.out else { return Ok(()) };
    let report = Report {
        adapter: gpu.info().name.clone(),
        driver: gpu.info().driver.clone(),
        wgrad: "0.1.0, f32",
        peer: "burn 0.22.1, wgpu feature, f32",
        shader_cache_of_the_driver: std::env::var_os("MESA_SHADER_CACHE_DISABLE").is_none(),
        copy_gb_per_s: roofline.bytes_per_second / 1e9,
        geometric_mean,
        rows,
    };
    let words: String = report.adapter.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let slug = words.split_whitespace().collect::<Vec<_>>().join("-");
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{slug}-peers.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("{}", path.display());
    Ok(())
}

fn row(shape: &Shape, gpu: &wgrad::Gpu, device: &burn::tensor::Device) -> Result<Row, String> {
    let mut sides = [ours::side(gpu, shape), theirs::side(device, shape)];
    let [ours_first, peer_first] = sides.each_mut().map(|side| time(side, 1));
    agree(&shape.name, &(sides[0].results)(), &(sides[1].results)())?;
    // Warm up, and find how often the work must repeat.
    let repeats = sides.each_mut().map(|side| {
        let once = time(side, 1).min(time(side, 1));
        (SHORTEST.as_secs_f64() / once.as_secs_f64()).ceil().clamp(1.0, 1000.0) as u32
    });
    let mut times = [vec![], vec![]];
    for pair in 0..PAIRS {
        // Who goes first alternates too.
        for which in [pair % 2, 1 - pair % 2] {
            times[which].push(time(&mut sides[which], repeats[which]).as_secs_f64() / f64::from(repeats[which]));
        }
    }
    let [ours, peer] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[PAIRS / 2]
    });
    Ok(Row {
        name: shape.name.clone(),
        ours_ms: ours * 1e3,
        peer_ms: peer * 1e3,
        ours_first_ms: ours_first.as_secs_f64() * 1e3,
        peer_first_ms: peer_first.as_secs_f64() * 1e3,
        ratio: peer / ours,
        ours_gb_per_s: bytes(shape).map(|bytes| bytes as f64 / ours / 1e9),
    })
}

fn time(side: &mut Side, repeats: u32) -> Duration {
    let start = Instant::now();
    (side.run)(repeats);
    start.elapsed()
}

/// Bytes read once and written once by an op that is bound by memory.
fn bytes(shape: &Shape) -> Option<usize> {
    let elements: usize = shape.shape.iter().product();
    match shape.op.as_str() {
        "softmax" | "relu" => Some(8 * elements),
        "column_sum" => Some(4 * elements),
        // Forward and backward read x and dy and write y and dx, at least once.
        "batch_norm" | "layer_norm" => Some(20 * elements),
        _ => None,
    }
}

/// Both sides computed the same, to a thousandth of the largest value.
fn agree(name: &str, ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Result<(), String> {
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let scale = b.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let worst = a.iter().zip(b).fold(0.0_f32, |m, (x, y)| if (x - y).abs() <= m { m } else { (x - y).abs() });
        if a.len() != b.len() || !(worst <= 1e-3 * scale) {
            return Err(format!("{name}: result {i} differs by {worst} of {scale} ({} and {} values)", a.len(), b.len()));
        }
    }
    if ours.len() == theirs.len() { Ok(()) } else { Err(format!("{name}: not as many results")) }
}
