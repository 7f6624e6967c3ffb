//! Checks and benchmarks this adapter: roofline, every rung of the kernel ladders, every op, the training step.
//!
//!     cargo run --release --example report -- --quick                            # a table on the terminal, under a minute
//!     cargo run --release --example report -- --filter matmul --save matmul.csv  # some ops, kept as a file
//!     cargo run --release --example report -- --parts correctness                # is this card right, without a time
//!     cargo run --release --example report -- --compare a.json b.json            # two machines, or two versions
//!     cargo run --release --example report                                       # everything, into the tables: make report
//!
//! A whole report first compares every rung and every op with its specification, at all shapes of the tests, in f32 and f16; what
//! fails does not stop the rest, and the exit status tells. Kernels are timed by the device's timestamps where those agree with
//! the host's clock. Everything goes to `<adapter>-report.json`, after each case, so that one that is interrupted or reaches
//! its `--limit` keeps what it has; parts that were not measured stay as they were. In a checkout it then
//! writes the tables of the READMEs from all such files, those of `make peers` and of `torch_bench.py` included. The binary
//! needs neither cargo nor a checkout, so `target/release/examples/report` can be copied to a machine that has only a GPU;
//! bring back the JSON and run it here with `--tables`.

#[path = "../benches/common/mod.rs"]
pub(crate) mod common;
#[path = "common/markers.rs"]
mod markers;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use common::measure::{self, Job, Measured, Part, QUICK, Report, Timing};
use common::results::{self, Results};
use common::{markdown, show, stamp};
use serde_json::json;
use wgrad::train::{Interrupt, parse};

/// Folder of the measurements that the tables are made of.
const RESULTS: &str = "benches/results";
/// No case of a quick look begins after this.
const QUICK_LIMIT: u64 = 45;
/// Cases that were not measured are named, up to so many.
const NAMED: usize = 20;

#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    /// A look: the ops that matter most, timed briefly; the tables stay as they are
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this, as matmul or softmax; can be repeated; the tables stay as they are
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// Comma-separated parts; all, or with --quick and --filter ops and train_step
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_enum)]
    parts: Vec<Part>,
    /// Seconds after which no case begins: what was measured until then is kept
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Write what was measured to this .csv or .json as well
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Draw the kernel ladders as SVG into this folder
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// Measure nothing: print two files of measurements side by side
    #[arg(long, num_args = 2, value_names = ["A.json", "B.json"], exclusive = true)]
    compare: Vec<PathBuf>,
    /// Measure nothing: write the tables anew, and with --draw the pictures
    #[arg(long, conflicts_with_all = ["quick", "filter", "parts", "limit", "save", "adapter"])]
    tables: bool,
    /// Folder of the reports of every adapter; other than this one, the READMEs stay as they are without --tables
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    out: PathBuf,
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
}

impl Args {
    /// Whether only a part of the cases is measured, or briefly: no report then.
    fn is_look(&self) -> bool {
        self.quick || !self.filter.is_empty()
    }

    /// The parts to measure.
    fn parts(&self) -> Vec<Part> {
        let looked_at = |part: &Part| matches!(part, Part::Ops | Part::TrainStep);
        let all = || Part::ALL.into_iter().filter(|part| !self.is_look() || looked_at(part));
        match self.parts.is_empty() {
            true => all().collect(),
            false => Part::ALL.into_iter().filter(|part| self.parts.contains(part)).collect(),
        }
    }

    /// What can be refused before the work is.
    fn check(&self) -> Result<(), String> {
        if let Some(file) = &self.save {
            let refused = |why: &str| Err(format!("--save {}: {why}", file.display()));
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !name.ends_with(".csv") && !name.ends_with(".json") {
                return refused("must end in .csv or .json");
            }
            if ["report", "peers", "torch"].iter().any(|kind| name.ends_with(&format!("-{kind}.json"))) {
                return refused("is a name of what the tables are made of; take another");
            }
            if file.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
                return refused("its folder is not there");
            }
        }
        if self.draw.is_some() && !self.tables && !self.parts().contains(&Part::Ladder) {
            return Err("--draw: needs the ladder, as with --parts ladder".to_owned());
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run(&parse(include_str!("report.rs"))) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!(
                "{} cases differ from their specification or failed:\n{}",
                wrong.len(),
                wrong.join("\n")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what is asked for; the cases that differ from their specification.
pub(crate) fn run(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    args.check()?;
    if let [a, b] = args.compare.as_slice() {
        let [left, right] = [results::read(a)?, results::read(b)?];
        print!("{}", show::compare([a, b], [&left, &right]));
        return Ok(vec![]);
    }
    let wrong = if args.tables { vec![] } else { measure(args)? };
    if args.tables {
        for report in markdown::reports(&args.out)?.iter().filter(|report| report["ladder"].is_array()) {
            draw(args, report)?;
        }
    }
    if args.tables || (!args.is_look() && args.out == Path::new(RESULTS)) {
        tables(&args.out)?;
    }
    Ok(wrong)
}

fn measure(args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let start = Instant::now();
    let timing = if args.quick { Timing::SHORT } else { Timing::FULL };
    let mut report = Report::begin(args.adapter.as_deref(), timing)?;
    let info = report.gpu.info().clone();
    let mut jobs: Vec<Job> = args.parts().into_iter().flat_map(|part| report.jobs(part)).collect();
    if args.quick && args.filter.is_empty() {
        let whole = |job: &Job| matches!(job.part, Part::Ladder | Part::Correctness);
        jobs.retain(|job| whole(job) || QUICK.contains(&job.label.as_str()));
    }
    let jobs = measure::filter(jobs, &args.filter)?;

    let file = args.out.join(format!("{}-report.json", stamp::slug(&info.name)));
    let mut results = if args.is_look() {
        let mut look = Results::new(&info.name, &info.backend, vec![]);
        look.value["look"] = json!({"quick": args.quick, "filter": args.filter});
        look
    } else {
        Results::open(&file, &info.name, &info.backend)?
    }
    .also(args.save.as_deref());
    Interrupt::catch_signals()?;
    let now = results::now(&info, &report.device(), &report.roofline());
    let rate = |key: &str| show::number(&now["roofline"][key]);
    println!("{} ({}), driver {}", info.name, info.backend, info.driver);
    show::device(&now["device"]).iter().for_each(|line| println!("{line}"));
    println!("copies {} GB/s, multiply-adds {} GFLOP/s", rate("copy_gb_per_s"), rate("f32_gflop_per_s"));
    results.kept(&args.parts(), &now).iter().for_each(|line| println!("{line}"));

    let limit = args.limit.or(args.quick.then_some(QUICK_LIMIT)).map(Duration::from_secs);
    let is_late = || limit.is_some_and(|limit| start.elapsed() > limit);
    let interrupted = || Interrupt::default().requested();
    let stop = || is_late() || interrupted();
    let (mut wrong, mut late) = (vec![], vec![]);
    for jobs in jobs.chunk_by(|a, b| a.part == b.part) {
        let (part, began) = (jobs[0].part, Instant::now());
        let late_before = late.len();
        for (i, job) in jobs.iter().enumerate() {
            if is_late() && !interrupted() {
                late.push(job.label.as_str());
                continue;
            }
            if i == 0 {
                results.begin(part, now.clone());
                println!("\n{}", show::head(part));
            }
            let measured = if interrupted() { Measured::Stopped } else { report.run(job, &stop)? };
            match measured {
                Measured::Row(row) => {
                    show::row(part, &row).iter().for_each(|line| println!("{line}"));
                    results.add(part, row);
                }
                Measured::Wrong(why) => {
                    println!("FAIL {why}");
                    results.wrong(part, &job.identity, &why);
                    wrong.push(why);
                }
                Measured::Stopped if interrupted() => {
                    return Err(format!("ended early; {}", kept(args, &file)).into());
                }
                Measured::Stopped => late.push(job.label.as_str()),
            }
            results.save()?;
        }
        if late.len() == late_before {
            results.end(part, began.elapsed().as_secs());
            results.save()?;
        }
        if late.len() - late_before < jobs.len() {
            show::summary(&results.value, part).iter().for_each(|line| println!("{line}"));
        }
    }
    if let Some(limit) = limit.filter(|_| !late.is_empty()) {
        let more = late.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let named = late[..late.len().min(NAMED)].join("; ");
        println!("\nnot measured within {} s: {named}{more}", limit.as_secs());
    }
    println!("\n{:.0} s; {}", start.elapsed().as_secs_f64(), kept(args, &file));
    draw(args, &results.value)?;
    Ok(wrong)
}

/// Where measurements went.
fn kept(args: &Args, report: &Path) -> String {
    let report = (!args.is_look()).then_some(report);
    let files: Vec<_> =
        report.into_iter().chain(args.save.as_deref()).map(|f| f.display().to_string()).collect();
    match files.is_empty() {
        true => "kept nowhere: --save FILE.json keeps it".to_owned(),
        false => format!("kept in {}", files.join(" and ")),
    }
}

/// Draws the ladder of a report, if asked to.
fn draw(args: &Args, report: &serde_json::Value) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = &args.draw {
        std::fs::create_dir_all(folder).map_err(|e| format!("--draw {}: {e}", folder.display()))?;
        println!("drawn: {}", show::draw_ladder(folder, report)?.display());
    }
    Ok(())
}

/// Writes the tables of the READMEs, if this is a checkout.
fn tables(results: &Path) -> Result<(), Box<dyn Error>> {
    let [readme, kernels] = ["README.md", "shaders/README.md"].map(Path::new);
    if !readme.exists() || !kernels.exists() {
        return Ok(());
    }
    let reports = markdown::reports(results)?;
    let [burn, torch] = [markdown::results(results, "peers")?, markdown::results(results, "torch")?];
    markers::replace(readme, "peers", &markdown::peers(&burn, &torch))?;
    markers::replace(readme, "climb", &markdown::climb(&reports, &std::fs::read_to_string(kernels)?))?;
    markers::replace(readme, "train step", &markdown::train_step(&reports))?;
    markers::replace(kernels, "ladder", &markdown::ladder(&reports))?;
    markers::replace(kernels, "ops", &markdown::ops(&reports))
}
