//! Records work and submits it: one command encoder, one open compute pass, flushed when large or when read.
//!
//! Uniforms of all launches of a submission lie in one uniform arena, bound with dynamic offsets and written once a
//! flush. Bind groups are cached by what they bind. In steady state a launch allocates nothing.
//!
//! A launch whose pipeline is still being compiled, and all that comes after it, is put off to the flush.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compiled::{Compiled, MAX_UNIFORMS_BYTES};
use super::launch::Work;
use super::pool::{RawBuffer, Storage};
use super::profile::Profiler;
use super::tested::Tested;

/// Launches in one submission at most.
const MAX_LAUNCHES: u32 = 512;
/// Submissions in flight at most: enough to keep the device busy while the next is recorded.
const MAX_IN_FLIGHT: usize = 3;
/// Bind groups kept; a program with more distinct ones starts over.
const MAX_BIND_GROUPS: usize = 8192;

/// What is encoded later, because a pipeline before it is not there yet.
enum Command {
    Dispatch {
        kernel: Arc<Compiled>,
        bind_group: wgpu::BindGroup,
        uniforms_at: u32,
        groups: [u32; 3],
        work: Work,
    },
    Copy {
        from: wgpu::Buffer,
        from_at: u64,
        to: wgpu::Buffer,
        to_at: u64,
        bytes: u64,
    },
}

pub(super) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    pipeline: u32,
    put_off: Vec<Command>,
    arena: wgpu::Buffer,
    /// Bytes to be written to the arena at the next flush.
    uniforms: Vec<u8>,
    alignment: usize,
    launches: u32,
    /// Seconds that the work recorded since the last flush takes about, and how many a submission may (driver time-outs).
    seconds: f64,
    max_seconds: f64,
    /// Seconds for an operation and for a byte.
    costs: [f64; 2],
    /// Number of the recording; a buffer that carries it is used by work not yet submitted.
    epoch: u64,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    /// The submission made last.
    pub(super) last: Option<wgpu::SubmissionIndex>,
    bind_groups: HashMap<Box<[u64]>, wgpu::BindGroup>,
    key: Vec<u64>,
    pub(super) profiler: Option<Profiler>,
    /// Where launches are listed instead.
    #[cfg(feature = "isa")]
    listed: Option<super::described::Described>,
}

/// Seconds for an operation and for a byte, of kernels that reach a quarter of the rates.
fn costs(rates: &Tested) -> [f64; 2] {
    [4.0 / rates.flops_per_second, 4.0 / rates.bytes_per_second]
}

impl Recorder {
    pub(super) fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        max_seconds: f64,
        rates: &Tested,
        profiler: Option<Profiler>,
    ) -> Self {
        let limits = device.limits();
        let alignment = limits.min_uniform_buffer_offset_alignment.max(32) as usize;
        let arena = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("uniforms"),
            size: u64::from(MAX_LAUNCHES) * u64::from(MAX_UNIFORMS_BYTES).max(alignment as u64),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            device: device.clone(),
            queue: queue.clone(),
            encoder: None,
            pass: None,
            pipeline: u32::MAX,
            put_off: Vec::new(),
            arena,
            uniforms: Vec::new(),
            alignment,
            launches: 0,
            seconds: 0.0,
            max_seconds,
            costs: costs(rates),
            epoch: 1,
            in_flight: VecDeque::new(),
            last: None,
            bind_groups: HashMap::new(),
            key: Vec::new(),
            profiler,
            #[cfg(feature = "isa")]
            listed: None,
        }
    }

    /// Counts work at these rates from now on.
    pub(super) fn expect_rates(&mut self, rates: &Tested) {
        self.costs = costs(rates);
    }

    /// The recorder of an adapter that is described, if it is: it lists launches there, and executes nothing.
    #[cfg(feature = "isa")]
    pub(super) fn listing(self, listed: Option<super::described::Described>) -> Self {
        Self { listed, ..self }
    }

    /// Whether launches are listed and nothing is executed.
    #[cfg(feature = "isa")]
    pub(super) fn only_lists(&self) -> bool {
        self.listed.is_some()
    }

    /// Whether launches are listed and nothing is executed: never, without the feature `isa`.
    #[cfg(not(feature = "isa"))]
    pub(super) fn only_lists(&self) -> bool {
        false
    }

    /// Submits what is recorded and profiles from here on with `profiler`, or not at all; returns the one before.
    pub(super) fn profile_with(&mut self, profiler: Option<Profiler>) -> Option<Profiler> {
        self.flush();
        std::mem::replace(&mut self.profiler, profiler)
    }

    /// A profiler of this device.
    pub(super) fn new_profiler(&self) -> Profiler {
        Profiler::new(&self.device, &self.queue)
    }

    /// Records one dispatch. `write_uniforms` appends the uniform's bytes.
    pub(super) fn dispatch(
        &mut self,
        kernel: &Arc<Compiled>,
        bindings: &[&Storage],
        write_uniforms: impl FnOnce(&mut Vec<u8>),
        groups: [u32; 3],
        work: Work,
    ) {
        #[cfg(feature = "isa")]
        if let Some(adapter) = &self.listed {
            return adapter.add(&kernel.text, groups, work);
        }
        let start = self.uniforms.len();
        write_uniforms(&mut self.uniforms);
        self.uniforms.resize((start + kernel.uniforms_bytes as usize).next_multiple_of(self.alignment), 0);
        self.cache_bind_group(kernel, bindings);
        if self.put_off.is_empty() && kernel.pipeline.is_ready() {
            let bind_group = self.bind_groups[self.key.as_slice()].clone();
            self.encode_dispatch(kernel, &bind_group, start as u32, groups, work);
        } else {
            self.put_off.push(Command::Dispatch {
                kernel: Arc::clone(kernel),
                bind_group: self.bind_groups[self.key.as_slice()].clone(),
                uniforms_at: start as u32,
                groups,
                work,
            });
        }
        for binding in bindings {
            self.touch(binding);
        }
        self.launches += 1;
        self.seconds += work.flops as f64 * self.costs[0] + work.bytes as f64 * self.costs[1];
        if self.launches == MAX_LAUNCHES || self.seconds >= self.max_seconds {
            self.flush();
        }
    }

    fn encode_dispatch(
        &mut self,
        kernel: &Compiled,
        bind_group: &wgpu::BindGroup,
        uniforms_at: u32,
        groups: [u32; 3],
        work: Work,
    ) {
        let timestamps = match &mut self.profiler {
            Some(profiler) => {
                drop(self.pass.take()); // a pass for each dispatch: its boundaries carry the timestamps
                profiler.begin(kernel, work, groups)
            }
            None => None,
        };
        let encoder =
            self.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
        let pass = self.pass.get_or_insert_with(|| {
            self.pipeline = u32::MAX;
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: timestamps };
            encoder.begin_compute_pass(&descriptor).forget_lifetime()
        });
        if self.pipeline != kernel.id {
            pass.set_pipeline(kernel.pipeline.wait());
            self.pipeline = kernel.id;
        }
        let offsets = if kernel.uniforms_bytes > 0 { &[uniforms_at][..] } else { &[] };
        pass.set_bind_group(0, bind_group, offsets);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
    }

    /// Records a copy; offsets are relative to the ranges, in bytes.
    pub(super) fn copy(
        &mut self,
        src: &Storage,
        src_offset: u64,
        dst: &Storage,
        dst_offset: u64,
        bytes: u64,
    ) {
        let (Some(from), Some(to)) = (src.raw(), dst.raw()) else { return };
        self.copy_buffer(&from.wgpu, src.offset + src_offset, &to.wgpu, dst.offset + dst_offset, bytes);
        self.touch(src);
        self.touch(dst);
    }

    /// Records a copy to a buffer that is not a tensor's.
    pub(super) fn copy_out(&mut self, src: &Storage, raw: &RawBuffer, dst: &wgpu::Buffer) {
        self.copy_buffer(&raw.wgpu, src.offset, dst, 0, src.bytes);
        self.touch(src);
    }

    fn copy_buffer(&mut self, from: &wgpu::Buffer, from_at: u64, to: &wgpu::Buffer, to_at: u64, bytes: u64) {
        if self.only_lists() {
            return;
        }
        if let Some(profiler) = &mut self.profiler {
            profiler.count_copy();
        }
        if self.put_off.is_empty() {
            self.encoder_outside_pass().copy_buffer_to_buffer(from, from_at, to, to_at, bytes);
        } else {
            let (from, to) = (from.clone(), to.clone());
            self.put_off.push(Command::Copy { from, from_at, to, to_at, bytes });
        }
    }

    /// Writes host bytes to a range. `write_buffer` acts before anything not yet submitted, so work that uses the buffer
    /// is submitted first.
    pub(super) fn upload(&mut self, dst: &Storage, bytes: &[u8]) {
        let Some(raw) = dst.raw().filter(|_| !self.only_lists()) else { return };
        if raw.touched.load(Ordering::Relaxed) == self.epoch {
            self.flush();
        }
        self.queue.write_buffer(&raw.wgpu, dst.offset, bytes);
    }

    /// Submits what is recorded; waits only while too much is in flight, or for a pipeline.
    pub(super) fn flush(&mut self) {
        for command in std::mem::take(&mut self.put_off) {
            match command {
                Command::Dispatch { kernel, bind_group, uniforms_at, groups, work } => {
                    self.encode_dispatch(&kernel, &bind_group, uniforms_at, groups, work);
                }
                Command::Copy { from, from_at, to, to_at, bytes } => {
                    self.encoder_outside_pass().copy_buffer_to_buffer(&from, from_at, &to, to_at, bytes);
                }
            }
        }
        drop(self.pass.take());
        let Some(mut encoder) = self.encoder.take() else { return };
        if let Some(profiler) = &mut self.profiler {
            profiler.resolve(&mut encoder);
        }
        if !self.uniforms.is_empty() {
            self.queue.write_buffer(&self.arena, 0, &self.uniforms);
        }
        let submission = self.queue.submit([encoder.finish()]);
        self.last = Some(submission.clone());
        self.in_flight.push_back(submission);
        self.uniforms.clear();
        self.launches = 0;
        self.seconds = 0.0;
        self.epoch += 1;
        if let Some(profiler) = &mut self.profiler {
            profiler.collect(&self.device);
        }
        while self.in_flight.len() > MAX_IN_FLIGHT {
            let oldest = self.in_flight.pop_front();
            // A failing poll means a lost device; the lost callback and the next map report it.
            let _ = self.device.poll(wgpu::PollType::Wait { submission_index: oldest, timeout: None });
        }
    }

    /// Forgets cached bind groups, which hold on to their buffers.
    pub(super) fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }

    fn encoder_outside_pass(&mut self) -> &mut wgpu::CommandEncoder {
        drop(self.pass.take());
        self.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
    }

    fn touch(&self, storage: &Storage) {
        if let Some(raw) = storage.raw() {
            raw.touched.store(self.epoch, Ordering::Relaxed);
        }
    }

    /// Leaves the key of the bind group in `self.key` and makes the group if it is new.
    fn cache_bind_group(&mut self, kernel: &Compiled, bindings: &[&Storage]) {
        self.key.clear();
        self.key.push(u64::from(kernel.id));
        for binding in bindings {
            let raw = binding.raw().expect("poisoned inputs were filtered");
            self.key.extend([raw.id, binding.offset, binding.bytes]);
        }
        if self.bind_groups.contains_key(self.key.as_slice()) {
            return;
        }
        if self.bind_groups.len() >= MAX_BIND_GROUPS {
            self.bind_groups.clear();
        }
        let mut entries = Vec::with_capacity(bindings.len() + 1);
        if let Some(size) = std::num::NonZeroU64::new(u64::from(kernel.uniforms_bytes)) {
            let buffer = wgpu::BufferBinding { buffer: &self.arena, offset: 0, size: Some(size) };
            entries
                .push(wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(buffer) });
        }
        for (i, storage) in bindings.iter().enumerate() {
            let raw = storage.raw().expect("poisoned inputs were filtered");
            // Whole vec4s, so that kernels may bind `array<vec4<f32>>` whatever the length: buffers are padded to 256 bytes.
            let size = std::num::NonZeroU64::new(
                storage.bytes.max(4).next_multiple_of(16).min(raw.class - storage.offset),
            );
            let buffer = wgpu::BufferBinding { buffer: &raw.wgpu, offset: storage.offset, size };
            entries.push(wgpu::BindGroupEntry {
                binding: i as u32 + 1,
                resource: wgpu::BindingResource::Buffer(buffer),
            });
        }
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.name),
            layout: &kernel.layout,
            entries: &entries,
        });
        self.bind_groups.insert(self.key.clone().into_boxed_slice(), group);
    }
}
