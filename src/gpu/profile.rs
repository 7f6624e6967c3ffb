//! Time by kernel, from GPU timestamps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::compiled::Compiled;
use super::launch::Work;

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
}

/// One launch on the device's clock.
#[derive(Debug, Clone)]
pub(super) struct Event {
    kernel: Arc<str>,
    start_ns: f64,
    end_ns: f64,
}

/// Collects timestamps; made where profiling is asked for and the adapter has timestamps.
pub(super) struct Profiler {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    period_ns: f64,
    names: BTreeMap<u32, Arc<str>>,
    open: Vec<(Arc<str>, Work)>,
    resolving: Vec<(Arc<str>, Work)>,
    totals: BTreeMap<Arc<str>, KernelTime>,
    events: Vec<Event>,
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
        }
    }

    /// The timestamps that the next launch's pass should write.
    pub(super) fn begin(
        &mut self,
        kernel: &Compiled,
        work: Work,
    ) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let first = 2 * self.open.len() as u32;
        if first + 2 > QUERIES {
            return None;
        }
        let name = self.names.entry(kernel.id).or_insert_with(|| kernel.name.as_str().into());
        self.open.push((Arc::clone(name), work));
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
        for ((kernel, work), pair) in launches.into_iter().zip(ticks.chunks_exact(2)) {
            let (start_ns, end_ns) = (pair[0] as f64 * self.period_ns, pair[1] as f64 * self.period_ns);
            let total = self.totals.entry(Arc::clone(&kernel)).or_default();
            total.calls += 1;
            total.seconds += (end_ns - start_ns).max(0.0) * 1e-9;
            total.work.bytes += work.bytes;
            total.work.flops += work.flops;
            self.events.push(Event { kernel, start_ns, end_ns });
        }
    }

    /// Times by kernel, longest first.
    pub(super) fn totals(&self) -> Vec<KernelTime> {
        let named =
            |(name, time): (&Arc<str>, &KernelTime)| KernelTime { kernel: name.to_string(), ..time.clone() };
        let mut rows: Vec<_> = self.totals.iter().map(named).collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        rows
    }

    /// All launches as a Chrome trace (also read by Perfetto).
    pub(super) fn trace(&self) -> String {
        let origin = self.events.first().map_or(0.0, |e| e.start_ns);
        let mut out = String::from("{\"traceEvents\":[");
        for (i, e) in self.events.iter().enumerate() {
            let (start, length) = ((e.start_ns - origin) / 1e3, (e.end_ns - e.start_ns) / 1e3);
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(
                out,
                "{comma}\n{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":{start:.3},\"dur\":{length:.3}}}",
                e.kernel
            );
        }
        out + "\n]}\n"
    }
}

/// What the adapter reached on a copy and on multiply-adds: the roofline that percentages refer to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Bytes per second of a copy kernel (read + written).
    pub bytes_per_second: f64,
    /// Floating-point operations per second of an f32 multiply-add kernel.
    pub flops_per_second: f64,
}

impl Roofline {
    /// Percentage of the roofline: the least time the stated work can take here, over the time taken.
    #[must_use]
    pub fn percent(&self, work: Work, seconds: f64) -> f64 {
        let least =
            (work.bytes as f64 / self.bytes_per_second).max(work.flops as f64 / self.flops_per_second);
        100.0 * least / seconds
    }
}

/// Prints times as a table; `% roof` where a roofline is given.
#[must_use]
pub fn format_profile(rows: &[KernelTime], roofline: Option<Roofline>) -> String {
    let total: f64 = rows.iter().map(|r| r.seconds).sum();
    let mut out = format!(
        "{:<44} {:>7} {:>10} {:>6} {:>10} {:>8} {:>8} {:>7}\n",
        "kernel", "calls", "total ms", "%", "mean us", "GB/s", "GFLOP/s", "% roof"
    );
    for r in rows {
        let percent = roofline.map_or("-".into(), |roof| format!("{:.0}", roof.percent(r.work, r.seconds)));
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
