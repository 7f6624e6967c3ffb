//! What the benches and the report share: cases, their check against the specification, and how they are timed.
#![allow(dead_code, reason = "each program uses a part of this")]

#[path = "../../tests/cases/mod.rs"]
pub(crate) mod cases;
#[path = "../../tests/common/check.rs"]
pub(crate) mod check;
pub(crate) mod correctness;
pub(crate) mod ladder;
pub(crate) mod markdown;
pub(crate) mod measure;
pub(crate) mod optimizers;
pub(crate) mod results;
pub(crate) mod show;
pub(crate) mod stamp;
pub(crate) mod steps;
pub(crate) mod timed;

use std::time::{Duration, Instant};

use check::Checked;
use wgrad::gpu::{Elapsed, Work};
use wgrad::{Gpu, Result, Rng, Tensor};

type Check = Box<dyn Fn(&Gpu) -> Checked>;
type Prepare = Box<dyn Fn(&Gpu) -> Result<Subject>>;

/// One line of a table: something to run, what it has to equal, and the work it needs at least.
pub(crate) struct Case {
    /// `softmax`, or `softmax, gradient`.
    pub(crate) name: String,
    /// `4096x1024`.
    pub(crate) size: String,
    /// Bytes and operations of one run, counted once however often the kernels pass over them.
    pub(crate) work: Work,
    /// Compares a small ragged instance with the specification.
    pub(crate) check: Check,
    /// Makes the instance to time.
    pub(crate) prepare: Prepare,
}

/// What is timed.
pub(crate) struct Subject {
    /// About what a prepared run holds.
    pub(crate) bytes: u64,
    /// Prepares a run, untimed: of a gradient, the forward pass.
    pub(crate) next: Box<dyn FnMut() -> Run>,
}

/// One run, recorded when called.
pub(crate) type Run = Box<dyn FnOnce()>;

impl Subject {
    /// Seconds of `count` runs one after another by the host's clock, up to the end of the last on the device.
    pub(crate) fn seconds(&mut self, gpu: &Gpu, count: u64) -> Result<f64> {
        let mut total = Duration::ZERO;
        self.in_portions(count, |run_all| {
            gpu.sync()?;
            let start = Instant::now();
            run_all();
            gpu.sync()?;
            total += start.elapsed();
            Ok(())
        })?;
        Ok(total.as_secs_f64())
    }

    /// The same by both clocks.
    fn elapsed(&mut self, gpu: &Gpu, count: u64) -> Result<Elapsed> {
        let mut total = Elapsed { device: Some(0.0), host: 0.0 };
        self.in_portions(count, |run_all| {
            let portion = gpu.elapsed(run_all)?;
            total.device = total.device.zip(portion.device).map(|(a, b)| a + b);
            total.host += portion.host;
            Ok(())
        })?;
        Ok(total)
    }

    /// Work that is prepared holds memory, so it is done in portions; what lies between them is not timed.
    fn in_portions(
        &mut self,
        count: u64,
        mut time: impl FnMut(Box<dyn FnOnce()>) -> Result<()>,
    ) -> Result<()> {
        const HELD: u64 = 1 << 29;
        let portion = (HELD / self.bytes.max(1)).clamp(1, 256);
        let mut left = count;
        while left > 0 {
            let runs: Vec<Run> = (0..left.min(portion)).map(|_| (self.next)()).collect();
            left -= runs.len() as u64;
            time(Box::new(|| runs.into_iter().for_each(|run| run())))?;
        }
        Ok(())
    }

    /// Seconds a run, warm, and by which clock: the median of up to `samples` timings of 20 ms or more each, in `budget` or little
    /// longer. Timestamps where all of the work has them; they leave out what the host and the driver need for a launch.
    pub(crate) fn time(&mut self, gpu: &Gpu, samples: usize, budget: Duration) -> Result<(f64, By)> {
        let start = Instant::now();
        // Beside seconds, what the first run spends on compilation is little.
        let first = self.elapsed(gpu, 1)?;
        if first.host > 2.0 {
            return Ok(median(&[first]));
        }
        let once = self.elapsed(gpu, 1)?;
        let count = (0.02 / once.host).ceil().clamp(1.0, 1e4) as u64;
        let mut times = vec![];
        while times.is_empty() || (times.len() < samples && start.elapsed() < budget) {
            let Elapsed { device, host } = self.elapsed(gpu, count)?;
            let each = |seconds: f64| seconds / count as f64;
            times.push(Elapsed { device: device.map(each), host: each(host) });
        }
        Ok(median(&times))
    }
}

/// By which clock a time was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Timestamps,
    Host,
}

impl By {
    /// As a file of measurements has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Timestamps => "timestamps",
            By::Host => "host",
        }
    }
}

/// By timestamps, if all have them.
fn median(times: &[Elapsed]) -> (f64, By) {
    let device: Option<Vec<f64>> = times.iter().map(|time| time.device).collect();
    let by = if device.is_some() { By::Timestamps } else { By::Host };
    let mut seconds = device.unwrap_or_else(|| times.iter().map(|time| time.host).collect());
    seconds.sort_by(f64::total_cmp);
    (seconds[seconds.len() / 2], by)
}

/// A tensor of `shape` uniform between two numbers, drawn on the device.
pub(crate) fn drawn(gpu: &Gpu, seed: u32, shape: &[usize], low: f32, high: f32) -> Result<Tensor> {
    gpu.uniform(shape, low, high, &mut Rng::new(seed))
}

/// `4096x1024`.
pub(crate) fn times(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
