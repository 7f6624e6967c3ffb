//! The cases of a report and their measurement, as JSON rows: correctness, ladder, ops, training step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use wgrad::gpu::{Clock, Roofline};
use wgrad::{Gpu, GpuBuilder, Result, ops};

use super::correctness::{self, Outcome, Suite};
use super::steps::{self, Step};
use super::{Case, ladder, optimizers, timed};

/// A part of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Every rung and every op against its specification, at all shapes
    Correctness,
    /// Every rung of the kernel ladders
    Ladder,
    /// Every op, forward and backward
    Ops,
    /// Images a second of SimCLR's training step
    TrainStep,
}

impl Part {
    /// In the order of a report.
    pub(crate) const ALL: [Part; 4] = [Part::Correctness, Part::Ladder, Part::Ops, Part::TrainStep];

    /// Its key in a file of measurements.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Correctness => "correctness",
            Part::Ladder => "ladder",
            Part::Ops => "ops",
            Part::TrainStep => "train_step",
        }
    }
}

/// How long things are timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Timings of an op at most, and how long they may take.
    samples: usize,
    budget: Duration,
    /// Steps of a training at most, and how long they may take.
    steps: usize,
    steps_budget: Duration,
}

impl Timing {
    /// For tables that are kept.
    pub(crate) const FULL: Timing = Timing {
        samples: 9,
        budget: Duration::from_millis(400),
        steps: 41,
        steps_budget: Duration::from_secs(8),
    };
    /// For a look.
    pub(crate) const SHORT: Timing = Timing {
        samples: 5,
        budget: Duration::from_millis(100),
        steps: 11,
        steps_budget: Duration::from_secs(2),
    };
}

/// The cases of a quick look: bandwidth, arithmetic, and what a training step spends its time on.
pub(crate) const QUICK: &[&str] = &[
    "copy",
    "relu",
    "add",
    "sum of columns",
    "softmax",
    "softmax, gradient",
    "layer_norm",
    "layer_norm, gradient",
    "batch_norm",
    "batch_norm, gradient",
    "transpose",
    "gather_rows",
    "matmul",
    "conv2d",
    "conv2d, gradient of x",
    "conv2d, gradient of w",
    "info_nce",
    "info_nce, gradient",
    "adamw",
    "ResNet-8, f32",
    "ResNet-8, f16",
];

/// One thing to measure.
pub(crate) struct Job {
    pub(crate) part: Part,
    /// `softmax, f16`; `matmul/1_naive: matmul`; `softmax, gradient`; `ResNet-8, f32`.
    pub(crate) label: String,
    /// What tells its row from the others of its part.
    pub(crate) identity: Map<String, Value>,
    kind: Kind,
}

impl Job {
    /// A suite of the correctness part.
    pub(crate) fn of(suite: Suite) -> Self {
        let precision = suite.precision();
        let identity = match suite.rung {
            Some((family, rung)) => json!({"family": family, "rung": rung, "precision": precision}),
            None => json!({"name": suite.name, "precision": precision}),
        };
        Self {
            part: Part::Correctness,
            label: format!("{}, {precision}", suite.name),
            identity: identity.as_object().cloned().unwrap_or_default(),
            kind: Kind::Suite(suite),
        }
    }
}

enum Kind {
    Suite(Suite),
    Op(Case),
    Rung { family: &'static str, rung: &'static str, case: Case },
    Step(Step),
}

/// What came of a job.
pub(crate) enum Measured {
    Row(Value),
    /// It does not equal its specification or failed otherwise, and has no time.
    Wrong(String),
    /// It was to stop before its end.
    Stopped,
}

/// A rung's own device.
type OnRung = ((&'static str, &'static str), Gpu);

/// A device, its roofline, and how long things are timed.
pub(crate) struct Report {
    pub(crate) gpu: Gpu,
    pub(crate) roofline: Roofline,
    /// By which clock launches are timed.
    pub(crate) clock: Clock,
    builder: GpuBuilder,
    timing: Timing,
    rung: Option<OnRung>,
}

impl Report {
    /// Opens the adapter that `adapter` names, or the best, and measures its roofline.
    pub(crate) fn begin(adapter: Option<&str>, timing: Timing) -> Result<Self> {
        let builder = adapter.into_iter().fold(Gpu::builder().checks(false), GpuBuilder::adapter);
        let gpu = builder.clone().build()?;
        let (roofline, clock) = (gpu.roofline()?, gpu.clock()?);
        Ok(Self { gpu, roofline, clock, builder: builder.quiet(), timing, rung: None })
    }

    /// What the device is, beyond its name: ids, sizes of subgroups as its self-test found them, and the clock of its times.
    pub(crate) fn device(&self) -> Value {
        let (info, tested) = (self.gpu.info(), self.gpu.tested());
        let (clock, why) = match &self.clock {
            Clock::Timestamps => ("timestamps", None),
            Clock::Host(why) => ("host", Some(why)),
        };
        json!({
            "id": format!("{:04x}:{:04x}", info.vendor, info.device),
            "subgroup": tested.subgroup,
            "matrix_subgroup": tested.matrix_subgroup,
            "stated_subgroups": [info.subgroup_size.0, info.subgroup_size.1],
            "clock": clock,
            "no_timestamps": why,
        })
    }

    /// What the roofline's kernels reached.
    pub(crate) fn roofline(&self) -> Value {
        json!({
            "copy_gb_per_s": round(self.roofline.bytes_per_second / 1e9),
            "f32_gflop_per_s": round(self.roofline.flops_per_second / 1e9),
            "matrix_gflop_per_s": self.roofline.matrix_flops_per_second.map(|rate| round(rate / 1e9)),
        })
    }

    /// Everything that a part measures on this adapter.
    pub(crate) fn jobs(&self, part: Part) -> Vec<Job> {
        let gpu = &self.gpu;
        let job = |label, identity: &Value, kind| {
            let identity = identity.as_object().cloned().unwrap_or_default();
            Job { part, label, identity, kind }
        };
        let mut jobs = vec![];
        match part {
            Part::Correctness => {
                jobs.extend(correctness::suites(gpu).into_iter().map(Job::of));
            }
            Part::Ladder => {
                for (family, _) in ops::ladders(gpu.info()) {
                    for rung in ladder::rungs(family, gpu) {
                        for case in ladder::ladder(family, rung, gpu) {
                            let identity =
                                json!({"family": family, "rung": rung, "name": case.name, "size": case.size});
                            let label = format!("{family}/{rung}: {}", case.name);
                            jobs.push(job(label, &identity, Kind::Rung { family, rung, case }));
                        }
                    }
                }
            }
            Part::Ops => {
                for case in timed::ops(gpu).into_iter().chain(optimizers::cases(gpu)) {
                    let identity = json!({"name": case.name, "size": case.size});
                    jobs.push(job(case.name.clone(), &identity, Kind::Op(case)));
                }
            }
            Part::TrainStep => {
                for step in steps::steps(gpu) {
                    let precision = step.precision.name();
                    let identity =
                        json!({"network": step.name, "precision": precision, "images": step.batch});
                    jobs.push(job(format!("{}, {precision}", step.name), &identity, Kind::Step(step)));
                }
            }
        }
        jobs
    }

    /// Checks and times. What goes wrong on the way, an error of the device or a panic included, is the job's outcome, and the
    /// next one gets a device that works. `stop` is asked within a suite.
    ///
    /// # Errors
    /// If there is no such device any more.
    pub(crate) fn run(&mut self, job: &Job, stop: &dyn Fn() -> bool) -> Result<Measured> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.measured(job, stop)));
        let (why, panicked) = match outcome {
            Ok(Ok(Measured::Wrong(why))) => (why, false),
            Ok(Ok(measured)) => return Ok(measured),
            Ok(Err(error)) => (error.to_string(), false),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                (text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned(), true)
            }
        };
        let rung = self.rung.take();
        let is_sound = |gpu: &Gpu| catch_unwind(AssertUnwindSafe(|| gpu.sync().is_ok())).unwrap_or(false);
        if panicked || !is_sound(&self.gpu) {
            let old = std::mem::replace(&mut self.gpu, self.builder.clone().build()?);
            self.gpu.share_rates_of(&old)?;
            // What a panic left half done may panic again when it goes.
            std::mem::forget((old, rung));
        }
        let label = &job.label;
        Ok(Measured::Wrong(if why.starts_with(label) { why } else { format!("{label}: {why}") }))
    }

    fn measured(&mut self, job: &Job, stop: &dyn Fn() -> bool) -> Result<Measured> {
        let (gpu, case, roofline) = match &job.kind {
            Kind::Suite(suite) => return self.suite(job, suite, stop),
            Kind::Step(step) => return self.train_step(job, step).map(Measured::Row),
            Kind::Op(case) => (self.gpu.clone(), case, self.roofline),
            Kind::Rung { family, rung, case } => {
                let matrix = Some(*rung) == ladder::on_matrix_units(family);
                (self.on_rung(family, rung)?, case, self.roofline.matrix_units(matrix))
            }
        };
        if let Err(wrong) = (case.check)(&gpu) {
            return Ok(Measured::Wrong(wrong));
        }
        let mut subject = (case.prepare)(&gpu)?;
        let (seconds, by) = subject.time(&gpu, self.timing.samples, self.timing.budget)?;
        let mut row = Value::Object(job.identity.clone());
        row["ms"] = round(1e3 * seconds).into();
        row["clock"] = by.name().into();
        row["gb_per_s"] = round(case.work.bytes as f64 / seconds / 1e9).into();
        row["gflop_per_s"] =
            (case.work.flops > 0).then(|| round(case.work.flops as f64 / seconds / 1e9)).into();
        row["percent_of_roofline"] = round(roofline.percent(case.work, seconds)).into();
        if let Kind::Rung { family, rung, .. } = &job.kind {
            let mut chosen = ops::ladders(self.gpu.info()).into_iter();
            row["chosen"] = chosen.any(|(of, best)| of == *family && best == *rung).into();
            row["matrix_units"] = (Some(*rung) == ladder::on_matrix_units(family)).into();
        }
        Ok(Measured::Row(row))
    }

    /// A row that says that it passes; one that fails is [`Measured::Wrong`].
    fn suite(&mut self, job: &Job, suite: &Suite, stop: &dyn Fn() -> bool) -> Result<Measured> {
        let gpu = match suite.rung {
            Some((family, rung)) => self.on_rung(family, rung)?,
            None => self.gpu.clone(),
        };
        Ok(match suite.run(&gpu, stop) {
            Outcome::Passed => {
                let mut row = Value::Object(job.identity.clone());
                row["passes"] = true.into();
                Measured::Row(row)
            }
            Outcome::Failed(why) => Measured::Wrong(why),
            Outcome::Stopped => Measured::Stopped,
        })
    }

    /// The device on which a family takes this rung: that of the job before, if it was of the same.
    fn on_rung(&mut self, family: &'static str, rung: &'static str) -> Result<Gpu> {
        if let Some((_, gpu)) = self.rung.as_ref().filter(|(of, _)| *of == (family, rung)) {
            return Ok(gpu.clone());
        }
        let gpu = self.builder.clone().kernel(family, rung).build()?;
        gpu.share_rates_of(&self.gpu)?;
        self.rung = Some(((family, rung), gpu.clone()));
        Ok(gpu)
    }

    /// Images a second of a training step, on a device of its own, so that the first step compiles everything.
    fn train_step(&self, job: &Job, step: &Step) -> Result<Value> {
        let gpu = self.builder.clone().build()?;
        let mut training = step.begin(&gpu)?;
        gpu.sync()?;
        let start = Instant::now();
        let before = training.step().item()?;
        let first = start.elapsed().as_secs_f64();
        training.step().item()?;
        let mut times = vec![];
        let budget = Instant::now();
        let Timing { steps, steps_budget, .. } = self.timing;
        while times.len() < 5 || (times.len() < steps && budget.elapsed() < steps_budget) {
            let start = Instant::now();
            let loss = training.step();
            gpu.sync()?;
            times.push(start.elapsed().as_secs_f64());
            drop(loss);
        }
        let after = training.step().item()?;
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let mut row = Value::Object(job.identity.clone());
        row["ms"] = round(1e3 * median).into();
        row["images_per_s"] = round(step.batch as f64 / median).into();
        row["first_ms"] = round(1e3 * first).into();
        row["loss_first"] = before.into();
        row["loss_last"] = after.into();
        row["peak_mib"] = (gpu.memory().peak >> 20).into();
        Ok(row)
    }
}

/// Those of `jobs` that `wanted` asks for by a part of their label, in any case; all if it asks for nothing.
pub(crate) fn filter(jobs: Vec<Job>, wanted: &[String]) -> std::result::Result<Vec<Job>, String> {
    let matches = |job: &Job, part: &String| job.label.to_lowercase().contains(&part.to_lowercase());
    if let Some(none) = wanted.iter().find(|part| !jobs.iter().any(|job| matches(job, part))) {
        let mut labels: Vec<_> = jobs.iter().map(|job| job.label.as_str()).collect();
        labels.dedup();
        return Err(format!("--filter {none}: must be a part of one of these: {}", labels.join(" | ")));
    }
    let chosen = |job: &Job| wanted.is_empty() || wanted.iter().any(|part| matches(job, part));
    Ok(jobs.into_iter().filter(chosen).collect())
}

/// Four digits: more would not repeat.
fn round(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
