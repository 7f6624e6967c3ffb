//! Time by kernel, from GPU timestamps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::clock::{Clock, Elapsed, Stamped, ticks_between};
use super::compiled::Compiled;
use super::launch::Work;
use super::loader::Guarded;
use super::{Gpu, Inner, Roofline};
use crate::error::{Error, Result};

/// Timestamps in a query set (wgpu's limit); two for each launch of a submission.
const QUERIES: u32 = 4096;

/// What one kernel did while profiling.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KernelTime {
    /// `file/entry`.
    pub kernel: String,
    /// Number of launches.
    pub calls: u64,
    /// Time on the device in seconds.
    pub seconds: f64,
    /// Work stated by the launches.
    pub work: Work,
    /// Whether it multiplies on matrix units, whose rate is then its roof.
    pub matrix_units: bool,
    /// Most dimensions that the grid of one launch had: 2 or 3 where its workgroups were more than one dimension holds.
    pub grid_dimensions: u32,
}

impl KernelTime {
    /// Percentage of its roof: of matrix units where it runs on them. See [`Roofline::percent`].
    #[must_use]
    pub fn percent(&self, roofline: &Roofline) -> f64 {
        roofline.matrix_units(self.matrix_units).percent(self.work, self.seconds)
    }
}

/// One launch on the device's clock, in its ticks.
#[derive(Debug, Clone)]
struct Event {
    kernel: Kernel,
    work: Work,
    start: u64,
    end: u64,
}

/// A kernel that was launched: its name, and [`KernelTime::matrix_units`].
type Kernel = (Arc<str>, bool);

/// A launch whose times are not here yet: its kernel, its work, and the dimensions of its grid.
type Launch = (Kernel, Work, u32);

/// Collects timestamps; made where profiling is asked for and the adapter has timestamps.
pub(super) struct Profiler {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    period_ns: f64,
    names: BTreeMap<u32, Arc<str>>,
    open: Vec<Launch>,
    resolving: Vec<Launch>,
    totals: BTreeMap<Arc<str>, KernelTime>,
    events: Vec<Event>,
    /// Launches without a time.
    untimed: u64,
    /// Copies between buffers, which are no launches and have no time.
    copies: u64,
    /// Whether the program has had its table.
    shown: bool,
}

impl Profiler {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let buffer = |label, usage| {
            let size = u64::from(QUERIES) * 8;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profile"),
                ty: wgpu::QueryType::Timestamp,
                count: QUERIES,
            }),
            resolved: buffer("timestamps", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            host: buffer(
                "timestamps on the host",
                wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            ),
            period_ns: f64::from(queue.get_timestamp_period()),
            names: BTreeMap::new(),
            open: Vec::new(),
            resolving: Vec::new(),
            totals: BTreeMap::new(),
            events: Vec::new(),
            untimed: 0,
            copies: 0,
            shown: false,
        }
    }

    /// The timestamps that the next launch's pass should write.
    pub(super) fn begin(
        &mut self,
        kernel: &Compiled,
        work: Work,
        groups: [u32; 3],
    ) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let first = 2 * self.open.len() as u32;
        if first + 2 > QUERIES {
            self.untimed += 1;
            return None;
        }
        let name = self.names.entry(kernel.id).or_insert_with(|| kernel.name.as_str().into());
        let dimensions = groups.iter().rposition(|&n| n > 1).map_or(1, |last| last as u32 + 1);
        self.open.push(((Arc::clone(name), kernel.matrix_units), work, dimensions));
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Records the copy of all timestamps of the submission to the host.
    pub(super) fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.open.len() as u32;
        if count == 0 {
            return;
        }
        encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.host, 0, u64::from(count) * 8);
        self.resolving = std::mem::take(&mut self.open);
    }

    /// Waits for the submission and adds its times. Profiling gives up overlap of host and device.
    pub(super) fn collect(&mut self, device: &wgpu::Device) {
        let launches = std::mem::take(&mut self.resolving);
        if launches.is_empty() {
            return;
        }
        self.host.map_async(wgpu::MapMode::Read, .., |_| {});
        if device.poll(wgpu::PollType::wait_indefinitely()).is_err() {
            return;
        }
        let Ok(range) = self.host.get_mapped_range(..) else { return };
        let ticks: Vec<u64> = range.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        drop(range);
        self.host.unmap();
        for ((kernel, work, dimensions), pair) in launches.into_iter().zip(ticks.chunks_exact(2)) {
            let (start, end) = (pair[0], pair[1]);
            let Some(ticks) = ticks_between(start, end) else {
                self.untimed += 1;
                continue;
            };
            let total = self.totals.entry(Arc::clone(&kernel.0)).or_default();
            total.matrix_units = kernel.1;
            total.grid_dimensions = total.grid_dimensions.max(dimensions);
            total.calls += 1;
            total.seconds += ticks as f64 * self.period_ns * 1e-9;
            total.work.bytes += work.bytes;
            total.work.flops += work.flops;
            self.events.push(Event { kernel, work, start, end });
        }
    }

    /// A copy between buffers was recorded.
    pub(super) fn count_copy(&mut self) {
        self.copies += 1;
    }

    /// All launches in sum.
    pub(super) fn sum(&self) -> Stamped {
        let launches = self.totals.values().map(|total| total.calls).sum();
        let seconds = self.totals.values().map(|total| total.seconds).sum();
        Stamped { seconds, launches, untimed: self.untimed, copies: self.copies }
    }

    /// Times by kernel, longest first.
    pub(super) fn totals(&self) -> Vec<KernelTime> {
        let named =
            |(name, time): (&Arc<str>, &KernelTime)| KernelTime { kernel: name.to_string(), ..time.clone() };
        let mut rows: Vec<_> = self.totals.iter().map(named).collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        rows
    }

    /// All launches as a Chrome trace (also read by Perfetto), each with its rates and its percentage of the roof.
    fn trace(&self, roofline: &Roofline) -> String {
        let origin = self.events.first().map_or(0, |e| e.start);
        let mut out = String::from("{\"traceEvents\":[");
        for (i, Event { kernel: (name, matrix_units), work, start, end }) in self.events.iter().enumerate() {
            let since = start.saturating_sub(origin) as f64 * self.period_ns;
            let ns = (end - start) as f64 * self.period_ns;
            let percent = roofline.matrix_units(*matrix_units).percent(*work, ns * 1e-9);
            let (gb, gflop) = (work.bytes as f64 / ns, work.flops as f64 / ns);
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(
                out,
                "{comma}\n{{\"name\":\"{name}\",\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":{:.3},\"dur\":{:.3}\
                 ,\"args\":{{\"GB/s\":{gb:.2},\"GFLOP/s\":{gflop:.2},\"% roof\":{percent:.1}}}",
                since / 1e3,
                ns / 1e3
            );
            out.push('}');
        }
        out + "\n]}\n"
    }
}

impl Gpu {
    /// Times by kernel so far, longest first; empty unless [`GpuBuilder::profile`](super::GpuBuilder::profile) is on and the
    /// adapter has timestamps.
    ///
    /// Launches whose timestamps are missing, zero or not in order are left out, calls and work included; a line on stderr says so,
    /// once a device, unless it is quiet.
    #[must_use]
    pub fn profile(&self) -> Vec<KernelTime> {
        let (rows, notice) = self.profiled();
        notice.iter().for_each(|notice| self.tell_once(notice));
        rows
    }

    /// The rows of a profile, and a line about launches that are not in it.
    fn profiled(&self) -> (Vec<KernelTime>, Option<String>) {
        let mut recorder = self.recorder();
        recorder.flush();
        let Some(profiler) = &recorder.profiler else { return (vec![], None) };
        (profiler.totals(), profiler.sum().notice())
    }

    /// [`Gpu::profile`] as a table with the percentages of [`Gpu::roofline`], which is measured for it, for the program to show:
    /// `WGRAD_PROFILE=1` then prints none at the end. A last line says how many launches are left out for want of timestamps, if
    /// any. `None` if nothing was profiled.
    ///
    /// # Errors
    /// The device's first error.
    pub fn profile_table(&self) -> Result<Option<String>> {
        let (rows, notice) = self.profiled();
        if rows.is_empty() && notice.is_none() {
            return Ok(None);
        }
        let mut table = String::new();
        if !rows.is_empty() {
            table += &format_profile(&rows, Some(self.roofline()?));
        }
        if let Some(profiler) = &mut self.recorder().profiler {
            profiler.shown = true;
        }
        notice.iter().for_each(|notice| table += &format!("{notice}\n"));
        Ok(Some(table))
    }

    /// Writes all profiled launches as a Chrome trace (chrome://tracing, Perfetto), with GB/s, GFLOP/s and the percentage of
    /// [`Gpu::roofline`], which is measured for it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Argument`] if nothing was profiled; the device's first error.
    pub fn write_trace(&self, path: impl AsRef<Path>) -> Result<()> {
        if self.recorder().profiler.is_none() {
            return Err(Error::Argument("a trace needs profiling on an adapter with timestamps".into()));
        }
        let roofline = self.roofline()?;
        let mut recorder = self.recorder();
        recorder.flush();
        let trace = recorder.profiler.as_ref().map(|profiler| profiler.trace(&roofline)).unwrap_or_default();
        std::fs::write(&path, trace).map_err(|e| Error::io(path, e))
    }

    /// How long `work` takes, which records launches on this device; what was recorded before is done first. The launches are
    /// not in the device's profile. What other threads launch meanwhile counts as well.
    ///
    /// # Errors
    /// The device's first error.
    pub fn elapsed(&self, work: impl FnOnce()) -> Result<Elapsed> {
        let trusted = self.clock()? == Clock::Timestamps;
        let (host, stamped) = self.stamped_if(trusted, work)?;
        let whole = stamped.filter(|stamped| stamped.untimed == 0 && stamped.copies == 0);
        Ok(Elapsed { device: whole.map(|stamped| stamped.seconds), host })
    }

    /// Seconds of `work` by the host's clock, and by timestamps where the adapter has them.
    pub(super) fn stamped(&self, work: impl FnOnce()) -> Result<(f64, Option<Stamped>)> {
        self.stamped_if(true, work)
    }

    fn stamped_if(&self, wanted: bool, work: impl FnOnce()) -> Result<(f64, Option<Stamped>)> {
        self.sync()?;
        let mut recorder = self.recorder();
        let own =
            (wanted && self.info().timestamps && !recorder.only_lists()).then(|| recorder.new_profiler());
        let paused = recorder.profile_with(own);
        drop(recorder);
        let start = Instant::now();
        work();
        let outcome = self.sync();
        let host = start.elapsed().as_secs_f64();
        let own = self.recorder().profile_with(paused);
        outcome?;
        Ok((host, own.map(|profiler| profiler.sum())))
    }

    /// Runs `work` without its launches in the profile.
    pub(crate) fn unprofiled<T>(&self, work: impl FnOnce() -> T) -> T {
        let paused = self.recorder().profile_with(None);
        let result = work();
        if paused.is_some() {
            self.recorder().profile_with(paused);
        }
        result
    }
}

/// Prints the profile when the last handle of a device goes: what `WGRAD_PROFILE=1` asks for. Every handle shares it; it holds
/// on to the device itself, for the roofline is measured then.
pub(super) struct PrintAtEnd(pub(super) Arc<Guarded<Inner>>);

impl Drop for PrintAtEnd {
    fn drop(&mut self) {
        // Whatever went wrong has the last word: no work is started on a device that failed, and a lock that a panic left stays.
        let inner = &self.0;
        if std::thread::panicking() || inner.recorder.is_poisoned() || inner.pool.is_poisoned() {
            return;
        }
        let gpu = Gpu(Arc::clone(inner), None);
        gpu.poll_once(); // tells of a device that was lost
        if gpu.error().is_some() || gpu.recorder().profiler.as_ref().is_none_or(|profiler| profiler.shown) {
            return;
        }
        if let Ok(Some(table)) = gpu.profile_table() {
            // As `eprintln`, but a closed stderr is no panic.
            let _ = writeln!(std::io::stderr(), "profile of {}\n{table}", inner.info.name);
        }
    }
}

/// Prints times as a table; `% roof` where a roofline is given, of the kernel's own roof ([`KernelTime::percent`]). Rows without
/// a time above zero have no rates, and are left out.
#[must_use]
pub fn format_profile(rows: &[KernelTime], roofline: Option<Roofline>) -> String {
    let rows: Vec<&KernelTime> = rows.iter().filter(|row| row.seconds > 0.0).collect();
    let total: f64 = rows.iter().map(|r| r.seconds).sum();
    let mut out = format!(
        "{:<44} {:>7} {:>10} {:>6} {:>10} {:>8} {:>8} {:>7}\n",
        "kernel", "calls", "total ms", "%", "mean us", "GB/s", "GFLOP/s", "% roof"
    );
    for r in &rows {
        let percent = roofline.map_or("-".into(), |roof| format!("{:.0}", r.percent(&roof)));
        let _ = writeln!(
            out,
            "{:<44} {:>7} {:>10.2} {:>6.1} {:>10.1} {:>8.2} {:>8.2} {:>7}",
            r.kernel,
            r.calls,
            r.seconds * 1e3,
            100.0 * r.seconds / total,
            r.seconds * 1e6 / r.calls as f64,
            r.work.bytes as f64 / r.seconds / 1e9,
            r.work.flops as f64 / r.seconds / 1e9,
            percent
        );
    }
    let _ =
        writeln!(out, "{:<44} {:>7} {:>10.2}", "all", rows.iter().map(|r| r.calls).sum::<u64>(), total * 1e3);
    out
}
