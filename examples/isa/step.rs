//! The launches of a training step: counted from the method's own program, which runs on an adapter that is described.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wgrad::gpu::{AdapterInfo, Described, FinalKernel, Launch, Work};
use wgrad::train::Flags;

use super::methods::Train;

/// A step: its kernels, and its launches in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) kernels: Vec<FinalKernel>,
    pub(crate) launches: Vec<Counted>,
}

/// A launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Index into the kernels.
    pub(crate) kernel: usize,
    /// Workgroups.
    pub(crate) groups: [u32; 3],
    pub(crate) bytes: u64,
    pub(crate) flops: u64,
}

/// Rates of a card.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Card {
    /// Operations a second.
    pub(crate) f32: f64,
    /// Operations a second of matrix units.
    pub(crate) f16: f64,
    /// Bytes a second.
    pub(crate) bytes: f64,
}

impl Card {
    /// Seconds that a launch takes at least.
    fn seconds(&self, work: Work, matrix_units: bool) -> f64 {
        let rate = if matrix_units { self.f16 } else { self.f32 };
        (work.bytes as f64 / self.bytes).max(work.flops as f64 / rate)
    }
}

impl Step {
    /// Runs a method for two steps and for three, in folders under `dir`. Nothing is executed, and files hold what follows from zeros.
    ///
    /// The third step is what the longer run has more, launch by launch.
    pub(crate) fn list(
        train: Train,
        flags: &Flags,
        info: &AdapterInfo,
        dir: &Path,
    ) -> Result<Self, Box<dyn Error>> {
        let run = |steps: u64| -> wgrad::Result<Vec<Launch>> {
            let adapter = Described::new(info.clone());
            train(&Flags {
                stop_after: Some(steps),
                out: Some(dir.join(steps.to_string())),
                described: Some(adapter.clone()),
                ..flags.clone()
            })?;
            Ok(adapter.take_launches())
        };
        let (two, three) = (run(2)?, run(3)?);
        let step =
            added(&two, &three).ok_or("the launches of two steps and of three differ in more than a step")?;
        let mut this = Self { kernels: vec![], launches: vec![] };
        for Launch { kernel, groups, work } in step {
            let known = this.kernels.iter().position(|known| known == &**kernel);
            let kernel = known.unwrap_or_else(|| {
                this.kernels.push((**kernel).clone());
                this.kernels.len() - 1
            });
            this.launches.push(Counted { kernel, groups: *groups, bytes: work.bytes, flops: work.flops });
        }
        Ok(this)
    }

    /// A table of the launches by kernel, most bytes first; with a card, the time that they take at least, longest first.
    pub(crate) fn table(&self, card: Option<&Card>) -> String {
        #[derive(Default)]
        struct Sum {
            calls: u64,
            work: Work,
            seconds: f64,
        }
        let mut by_kernel: BTreeMap<&str, Sum> = BTreeMap::new();
        let mut all = Sum::default();
        for launch in &self.launches {
            let kernel = &self.kernels[launch.kernel];
            let work = Work::new(launch.bytes, launch.flops);
            let seconds = card.map_or(0.0, |card| card.seconds(work, kernel.matrix_units));
            for sum in [by_kernel.entry(&kernel.name).or_default(), &mut all] {
                sum.calls += 1;
                sum.work.bytes += work.bytes;
                sum.work.flops += work.flops;
                sum.seconds += seconds;
            }
        }
        let mut rows: Vec<_> = by_kernel.into_iter().collect();
        rows.sort_by(|(_, a), (_, b)| b.seconds.total_cmp(&a.seconds).then(b.work.bytes.cmp(&a.work.bytes)));
        rows.push(("all", all));
        let mut out = format!("{:<52} {:>6} {:>11} {:>11}", "kernel", "calls", "MB", "GFLOP");
        let _ = writeln!(out, "{}", if card.is_some() { "  ms at least" } else { "" });
        for (name, sum) in rows {
            let (mb, gflop) = (sum.work.bytes as f64 / 1e6, sum.work.flops as f64 / 1e9);
            let _ = write!(out, "{name:<52} {:>6} {mb:>11.2} {gflop:>11.2}", sum.calls);
            let _ = match card {
                Some(_) => writeln!(out, " {:>12.3}", 1e3 * sum.seconds),
                None => writeln!(out),
            };
        }
        out
    }
}

/// What `long` has between a beginning and an end that `short` has too, and `short` has nothing else.
fn added<'a, T: PartialEq>(short: &[T], long: &'a [T]) -> Option<&'a [T]> {
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let end = long.len().checked_sub(short.len() - same)?;
    (end > same && short[same..] == long[end..]).then(|| &long[same..end])
}
