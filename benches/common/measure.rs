//! The parts of a report, as JSON rows: roofline, ladder, ops, training step.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wgrad::gpu::Roofline;
use wgrad::{Gpu, Result, ops};

use super::op::Op;
use super::{Case, optimizers, steps, table};

/// Timings of a row at most, and how long a row may take.
const SAMPLES: usize = 9;
const BUDGET: Duration = Duration::from_millis(400);

/// Where the rows go and how they are judged.
pub(crate) struct Report {
    pub(crate) gpu: Gpu,
    pub(crate) roofline: Roofline,
    /// Cases that did not equal their specification; these are not timed.
    pub(crate) wrong: Vec<String>,
}

impl Report {
    /// Opens the adapter and measures its roofline.
    pub(crate) fn begin() -> Result<Self> {
        let gpu = Gpu::builder().checks(false).build()?;
        let roofline = gpu.roofline()?;
        Ok(Self { gpu, roofline, wrong: vec![] })
    }

    /// What the roofline's kernels reached.
    pub(crate) fn roofline(&self) -> Value {
        json!({
            "copy_gb_per_s": round(self.roofline.bytes_per_second / 1e9),
            "f32_gflop_per_s": round(self.roofline.flops_per_second / 1e9),
            "matrix_gflop_per_s": self.roofline.matrix_flops_per_second.map(|rate| round(rate / 1e9)),
        })
    }

    /// Every rung of every family that this adapter can run.
    pub(crate) fn ladder(&mut self) -> Result<Vec<Value>> {
        let mut rows = vec![];
        for (family, best) in ops::ladders(self.gpu.info()) {
            for rung in table::rungs(family, &self.gpu) {
                let gpu = Gpu::builder().quiet().checks(false).kernel(family, rung).build()?;
                let roofline = self.roofline.matrix_units(Some(rung) == table::on_matrix_units(family));
                for case in table::ladder(family, rung, &gpu).into_iter().flat_map(Op::cases) {
                    let prefix = format!("{family}/{rung}: ");
                    let Some(mut row) = self.row(&gpu, &prefix, &case, &roofline)? else {
                        continue;
                    };
                    row["family"] = family.into();
                    row["rung"] = rung.into();
                    row["chosen"] = (rung == best).into();
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    /// Every op, forward and backward, with the kernels that this adapter gets.
    pub(crate) fn ops(&mut self) -> Result<Vec<Value>> {
        let gpu = self.gpu.clone();
        let mut rows = vec![];
        for case in table::ops(&gpu).into_iter().flat_map(Op::cases).chain(optimizers::cases(&gpu)) {
            let roofline = self.roofline;
            rows.extend(self.row(&gpu, "", &case, &roofline)?);
        }
        Ok(rows)
    }

    fn row(&mut self, gpu: &Gpu, prefix: &str, case: &Case, roofline: &Roofline) -> Result<Option<Value>> {
        if let Err(wrong) = (case.check)(gpu) {
            println!("{prefix}{wrong}");
            self.wrong.push(format!("{prefix}{wrong}"));
            return Ok(None);
        }
        let mut subject = (case.prepare)(gpu)?;
        let seconds = subject.time(gpu, SAMPLES, BUDGET)?;
        let (gb, gflop) = (case.work.bytes as f64 / seconds / 1e9, case.work.flops as f64 / seconds / 1e9);
        let percent = roofline.percent(case.work, seconds);
        println!(
            "{:<52} {:<26} {:>9.3} ms {gb:>8.1} GB/s {gflop:>9.1} GFLOP/s {percent:>5.0} %",
            format!("{prefix}{}", case.name),
            case.size,
            1e3 * seconds
        );
        Ok(Some(json!({
            "name": case.name,
            "size": case.size,
            "ms": round(1e3 * seconds),
            "gb_per_s": round(gb),
            "gflop_per_s": (case.work.flops > 0).then(|| round(gflop)),
            "percent_of_roofline": round(percent),
        })))
    }

    /// Images a second of a training step, on a device of its own each, so that the first step compiles everything.
    pub(crate) fn train_step(&self) -> Result<Vec<Value>> {
        let mut rows = vec![];
        for step in steps::steps(&self.gpu) {
            let gpu = Gpu::builder().quiet().checks(false).build()?;
            let mut training = step.begin(&gpu)?;
            gpu.sync()?;
            let start = Instant::now();
            let before = training.step().item()?;
            let first = start.elapsed().as_secs_f64();
            training.step().item()?;
            let mut times = vec![];
            let budget = Instant::now();
            while times.len() < 5 || (times.len() < 41 && budget.elapsed() < Duration::from_secs(8)) {
                let start = Instant::now();
                let loss = training.step();
                gpu.sync()?;
                times.push(start.elapsed().as_secs_f64());
                drop(loss);
            }
            let after = training.step().item()?;
            times.sort_by(f64::total_cmp);
            let median = times[times.len() / 2];
            let images_per_s = step.batch as f64 / median;
            let precision = step.precision.name();
            println!(
                "{} {precision}, {} images in two views: {:.1} ms a step, {images_per_s:.0} images/s, first {:.0} ms, loss {before:.3} to {after:.3}",
                step.name,
                step.batch,
                1e3 * median,
                1e3 * first,
            );
            rows.push(json!({
                "network": step.name,
                "precision": precision,
                "images": step.batch,
                "ms": round(1e3 * median),
                "images_per_s": round(images_per_s),
                "first_ms": round(1e3 * first),
                "loss_first": before,
                "loss_last": after,
                "peak_mib": gpu.memory().peak >> 20,
            }));
        }
        Ok(rows)
    }
}

/// Four digits: more would not repeat.
fn round(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
