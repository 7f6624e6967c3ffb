//! The machine: adapter choice, buffers and pool, kernels and their pipelines, recorder, readback, profiler.
//!
//! This room knows no `Tensor`. It knows [`Storage`] (a range of a pooled buffer), [`Kernel`] (WGSL and an entry point),
//! and a queue of recorded work. [`Gpu`] is a handle to one device; clones share it, two devices live side by side.

mod adapter;
mod backends;
mod builder;
mod choices;
mod clock;
mod compiled;
mod compiler;
#[cfg(feature = "isa")]
mod described;
mod disk;
mod facts;
mod fault;
mod kernel;
mod launch;
mod limits;
mod loader;
mod parts;
mod pool;
mod profile;
mod rates;
mod readback;
mod recorder;
mod reflection;
mod roofline;
mod selector;
mod self_test;
mod tested;
mod text;
mod trust;
mod tuned;
mod uniforms;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

pub use adapter::AdapterInfo;
pub use builder::GpuBuilder;
pub use clock::{Clock, Elapsed};
#[cfg(feature = "isa")]
pub use described::{Described, FinalKernel, Launch};
pub use facts::{Class, Facts, Means, StripCut};
pub use kernel::Kernel;
pub use launch::{Grid, Work};
pub use pool::{Bind, Memory, Storage};
pub use profile::{KernelTime, format_profile};
pub use readback::Readback;
pub use reflection::{Reflection, reflect};
pub use roofline::Roofline;
pub use tested::Tested;
pub use text::{assemble, libraries, library_files};
pub use uniforms::{Scalar, UniformField, Uniforms};

pub(crate) use crate::uniforms;
#[cfg(test)]
pub(crate) use choices::FAMILIES;
pub(crate) use kernel::Constant;
pub(crate) use text::{Source, source, wgsl};

use crate::error::{Error, Result};
use choices::Choices;
use compiled::Compiled;
use compiler::Compiler;
use fault::Faults;
use loader::Guarded;
use pool::{Buffer, Pool};
use profile::PrintAtEnd;
use recorder::Recorder;
use text::Variant;
use tuned::Tuned;

/// A device and its queue. Cheap to clone; `Send + Sync`.
///
/// Work is recorded and runs later; only reading ([`Gpu::sync`], `Tensor::to_vec`, `Tensor::item`) waits. Errors of the
/// device are sticky: later work is skipped and the next reading call returns the first error.
#[derive(Clone)]
pub struct Gpu(Arc<Guarded<Inner>>, #[expect(dead_code, reason = "its drop prints")] Option<Arc<PrintAtEnd>>);

struct Inner {
    device: Arc<wgpu::Device>,
    info: AdapterInfo,
    limits: wgpu::Limits,
    checks: bool,
    memory_limit: u64,
    choices: Choices,
    faults: Arc<Faults>,
    kernels: Mutex<HashMap<u32, Arc<Compiled>>>,
    compiler: Compiler,
    recorder: Mutex<Recorder>,
    pool: Mutex<Pool>,
    staging: Mutex<HashMap<u64, Vec<wgpu::Buffer>>>,
    roofline: OnceLock<(Roofline, Clock)>,
    tested: OnceLock<Tested>,
    tuned: Tuned,
}

impl Gpu {
    /// Opens the best adapter (or the one `WGPU_ADAPTER_NAME` names, on the backends `WGPU_BACKEND` names).
    ///
    /// # Errors
    /// [`Error::NoAdapter`] (its text names the remedy), [`Error::Device`], [`Error::Argument`] for a wrong variable.
    #[cfg(not(target_family = "wasm"))]
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// [`Gpu::new`] without blocking.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub async fn new_async() -> Result<Self> {
        Self::builder().build_async().await
    }

    /// Options.
    #[must_use]
    pub fn builder() -> GpuBuilder {
        GpuBuilder::default()
    }

    /// Every adapter of this machine, in the order of choice: discrete cards, integrated ones, virtual and other ones, CPUs; in
    /// a class Metal, Vulkan, DX12, and among equals the driver's order. None where `WGPU_BACKEND` is wrong, which
    /// [`Gpu::new`] tells.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn adapters() -> Vec<AdapterInfo> {
        let _guard = loader::lock();
        let adapters = pollster::block_on(adapter::list()).unwrap_or_default();
        let info =
            |(index, adapter): (usize, &wgpu::Adapter)| AdapterInfo::of(index, adapter, &adapter.limits());
        adapters.iter().enumerate().map(info).collect()
    }

    /// The adapter in use.
    #[must_use]
    pub fn info(&self) -> &AdapterInfo {
        &self.0.info
    }

    /// The numbers by which ops choose kernels and cut their work.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.0.info.facts
    }

    /// What the self-test found: sizes of subgroups, and rates about. Of a device that was not tested, assumptions.
    #[must_use]
    pub fn tested(&self) -> Tested {
        self.0.tested.get().copied().unwrap_or_else(|| Tested::assumed(&self.0.info))
    }

    /// Whether kernels run on a CPU adapter. How ops choose between kernels is told by [`Gpu::facts`].
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.0.info.is_cpu
    }

    /// The file that [`GpuBuilder::kernel`] or `WGRAD_KERNEL` names for a family of kernels.
    pub(crate) fn kernel_choice(&self, family: &str) -> Option<&str> {
        self.0.choices.of(family)
    }

    /// Prints a notice to stderr, once a device, unless it is quiet.
    pub(crate) fn tell_once(&self, notice: &str) {
        self.0.choices.tell_once(notice);
    }

    /// Whether this crate's kernels run with runtime checks.
    #[must_use]
    pub fn checks(&self) -> bool {
        self.0.checks
    }

    /// Bytes held by live tensors and by the pool.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.pool().memory
    }

    /// Starts [`Memory::peak`] afresh from what is live now.
    pub fn reset_peak(&self) {
        let mut pool = self.pool();
        pool.memory.peak = pool.memory.live;
    }

    /// Whether both handles are of one device.
    #[must_use]
    pub fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Launches a kernel, and tells at once what is wrong with the launch: for trying out a kernel. An op wants [`Gpu::run`].
    ///
    /// `tensors` are bound from binding 1 on; `uniforms` is a struct made by [`uniforms!`](crate::uniforms), or `()` for
    /// none. All tensors of a launch are of this `Gpu`, and one buffer is not bound `read` and `read_write` at once.
    ///
    /// A tensor bound `read_write` counts as written in place: [`Tensor::backward`](crate::Tensor::backward) panics if an op
    /// had saved it before.
    ///
    /// # Errors
    /// [`Error::Kernel`] if tensors or uniforms do not fit what the WGSL states, [`Error::TooLarge`] if the grid does
    /// not fit the adapter. Errors of the device are sticky and come with the next reading call.
    ///
    /// # Panics
    /// If a tensor belongs to another `Gpu`, or there are more than 8.
    #[track_caller]
    pub fn launch<P: Uniforms>(
        &self,
        kernel: &Kernel,
        tensors: &[&dyn Bind],
        uniforms: &P,
        grid: Grid,
    ) -> Result<()> {
        self.try_run(kernel, tensors, uniforms, grid, Work::default())
    }

    /// [`Gpu::launch`] for an op, as the ops of this crate launch their kernels: it returns nothing, so that ops chain, and
    /// says how much work the launch is.
    ///
    /// What [`Gpu::launch`] returns as an error becomes the device's first error, if it had none: later work is skipped, and the
    /// next reading call returns it. A tensor made after an error is such an error too ([`Error::Poisoned`]).
    ///
    /// `work` is the least traffic in bytes and the floating-point operations of the launch, of which
    /// [`Gpu::profile_table`] makes GB/s, GFLOP/s and the percentage of the roofline. It also limits how much goes into one
    /// submission, since drivers end those that take long: state it truly for a launch that takes milliseconds.
    ///
    /// # Panics
    /// If a tensor belongs to another `Gpu`, or there are more than 8.
    #[track_caller]
    pub fn run<P: Uniforms>(
        &self,
        kernel: &Kernel,
        tensors: &[&dyn Bind],
        uniforms: &P,
        grid: Grid,
        work: Work,
    ) {
        if let Err(error) = self.try_run(kernel, tensors, uniforms, grid, work) {
            self.latch(error);
        }
    }

    #[track_caller]
    fn try_run<P: Uniforms>(
        &self,
        kernel: &Kernel,
        tensors: &[&dyn Bind],
        uniforms: &P,
        grid: Grid,
        work: Work,
    ) -> Result<()> {
        const MAX_BINDINGS: usize = 8;
        assert!(
            tensors.len() <= MAX_BINDINGS,
            "{}: {} tensors > {MAX_BINDINGS}",
            kernel.name(),
            tensors.len()
        );
        for tensor in tensors {
            assert!(self.same(tensor.storage().gpu()), "{}: tensors of two Gpus are mixed", kernel.name());
        }
        if self.0.faults.is_set() {
            return Ok(());
        }
        if tensors.iter().any(|t| t.storage().is_poisoned()) {
            return Err(Error::Poisoned);
        }
        let variant = Variant::of(tensors.iter().map(|t| t.is_half()));
        let compiled = self.compiled(kernel, variant)?;
        compiled.check_launch::<P>(tensors)?;
        let groups = grid.count(compiled.workgroup_size);
        if groups == 0 {
            return Ok(());
        }
        let limit = self.0.limits.max_compute_workgroups_per_dimension;
        let folded = launch::fold(groups, limit).ok_or_else(|| Error::TooLarge {
            op: compiled.name.clone(),
            size: groups,
            limit: u64::from(limit).pow(3).min(u64::from(u32::MAX)),
            unit: "workgroups",
        })?;

        let mut bindings = [tensors.first().map(|t| t.storage()); MAX_BINDINGS];
        for (slot, tensor) in bindings.iter_mut().zip(tensors) {
            *slot = Some(tensor.storage());
        }
        let bindings = bindings.map(|b| b.expect("a kernel binds at least one tensor"));
        self.recorder().dispatch(
            &compiled,
            &bindings[..tensors.len()],
            |out| uniforms.write(out.len(), out),
            folded,
            work,
        );
        for (tensor, _) in tensors.iter().zip(&compiled.writable).filter(|(_, writable)| **writable) {
            let storage = tensor.storage();
            storage.count_write(0, storage.bytes);
        }
        Ok(())
    }

    /// Records a copy between two ranges; offsets and length in 4-byte words.
    #[track_caller]
    pub(crate) fn copy(&self, src: &dyn Bind, src_at: usize, dst: &dyn Bind, dst_at: usize, words: usize) {
        let (src, dst) = (src.storage(), dst.storage());
        assert!(self.same(src.gpu()) && self.same(dst.gpu()), "copy: tensors of two Gpus are mixed");
        if src.is_poisoned() || dst.is_poisoned() {
            self.latch(Error::Poisoned);
        }
        if words > 0 && !self.0.faults.is_set() {
            let byte = |n: usize| 4 * n as u64;
            self.recorder().copy(src, byte(src_at), dst, byte(dst_at), byte(words));
            dst.count_write(byte(dst_at), byte(words));
        }
    }

    /// Writes host bytes to a range, after all work recorded so far that uses it.
    pub(crate) fn upload(&self, dst: &dyn Bind, bytes: &[u8]) {
        if !self.0.faults.is_set() {
            self.recorder().upload(dst.storage(), bytes);
            dst.storage().count_write(0, bytes.len() as u64);
        }
    }

    /// Memory for 4-byte elements, uninitialised.
    pub(crate) fn allocate(&self, op: &str, elements: usize) -> Result<Storage> {
        let limit = self.0.limits.max_storage_buffer_binding_size.min(self.0.limits.max_buffer_size);
        if elements as u64 > u64::from(u32::MAX) {
            let (size, limit) = (elements as u64, u64::from(u32::MAX));
            return Err(Error::TooLarge { op: op.to_owned(), size, limit, unit: "elements" });
        }
        let bytes = 4 * elements as u64;
        if bytes > limit {
            return Err(Error::TooLarge { op: op.to_owned(), size: bytes, limit, unit: "bytes" });
        }
        let raw = self.take_buffer(op, Pool::class(bytes).min(limit))?;
        Ok(Storage { buffer: Arc::new(Buffer::new(self.clone(), Some(raw))), offset: 0, bytes })
    }

    fn take_buffer(&self, op: &str, class: u64) -> Result<pool::RawBuffer> {
        if let Some(raw) = self.pool().take(class) {
            return Ok(raw);
        }
        let memory = self.memory();
        if memory.live + memory.pooled + class > self.0.memory_limit {
            self.trim();
            let in_use = self.memory().live;
            if in_use + class > self.0.memory_limit {
                let limit = self.0.memory_limit;
                return Err(Error::OutOfMemory { op: op.to_owned(), bytes: class, in_use, limit });
            }
        }
        // What executes nothing needs no memory.
        let size = if self.recorder().only_lists() { 256 } else { class };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = self.0.device.create_buffer(&descriptor);
        Ok(self.pool().adopt(buffer, class))
    }

    /// Storage that holds nothing: what an op returns after an error.
    pub(crate) fn poisoned(&self) -> Storage {
        Storage { buffer: Arc::new(Buffer::new(self.clone(), None)), offset: 0, bytes: 0 }
    }

    /// Frees all pooled buffers.
    pub fn trim(&self) {
        if self.pool().trim() {
            self.recorder().forget_bind_groups();
        }
    }

    fn release(&self, raw: pool::RawBuffer) {
        self.pool().put(raw);
    }

    fn compiled(&self, kernel: &Kernel, wanted: Variant) -> Result<Arc<Compiled>> {
        let variant = kernel.variant(wanted);
        let mut kernels = self.0.kernels.lock().expect("no panic while compiling");
        if let Some(compiled) = kernels.get(&variant.1) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(Compiled::new(
            &self.0.device,
            &self.0.compiler,
            kernel,
            variant,
            self.0.checks,
            &self.0.info,
            self.tested().matrix_subgroup,
        )?);
        kernels.insert(variant.1, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Submits what is recorded, without waiting.
    pub fn flush(&self) {
        self.recorder().flush();
    }

    /// Waits until all recorded work is done.
    ///
    /// # Errors
    /// The device's first error.
    #[cfg(not(target_family = "wasm"))]
    pub fn sync(&self) -> Result<()> {
        self.flush();
        self.wait_for(None);
        self.error().map_or(Ok(()), Err)
    }

    /// Waits until all recorded work is done, without blocking the thread.
    ///
    /// # Errors
    /// The device's first error.
    pub async fn sync_async(&self) -> Result<()> {
        let probe = self.allocate("sync", 1)?;
        Readback::start(self, &probe).await.map(drop)
    }

    /// Starts reading a range; the bytes are those of this moment.
    pub(crate) fn read(&self, storage: &Storage) -> Readback {
        Readback::start(self, storage)
    }

    fn copy_to_staging(&self, storage: &Storage) -> Result<(wgpu::Buffer, Option<wgpu::SubmissionIndex>)> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let Some(raw) = storage.raw() else { return Err(Error::Poisoned) };
        let class = Pool::class(storage.bytes);
        let pooled = self.0.staging.lock().expect("staging list").get_mut(&class).and_then(Vec::pop);
        let staging = pooled.unwrap_or_else(|| {
            self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: class,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let mut recorder = self.recorder();
        if storage.bytes > 0 {
            recorder.copy_out(storage, raw, &staging);
        }
        recorder.flush();
        Ok((staging, recorder.last.clone()))
    }

    fn recycle_staging(&self, buffer: wgpu::Buffer) {
        let mut staging = self.0.staging.lock().expect("staging list");
        let list = staging.entry(buffer.size()).or_default();
        if list.len() < 4 {
            list.push(buffer);
        }
    }

    /// Waits for a submission, or for all of them.
    fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) {
        if let Err(error) = self.0.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }) {
            self.latch(Error::DeviceLost(error.to_string()));
        }
    }

    fn poll_once(&self) {
        if let Err(error) = self.0.device.poll(wgpu::PollType::Poll) {
            self.latch(Error::DeviceLost(error.to_string()));
        }
    }

    /// The device's first error, which stays.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.0.faults.get()
    }

    /// Whether no panic has left work of the device half done, after which every call on it panics too.
    pub(crate) fn is_intact(&self) -> bool {
        let Inner { recorder, pool, staging, .. } = &**self.0;
        !(recorder.is_poisoned() || pool.is_poisoned() || staging.is_poisoned())
    }

    /// Takes the device's first error, so that later work runs again; a lost device stays lost.
    pub fn take_error(&self) -> Option<Error> {
        self.0.faults.take()
    }

    pub(crate) fn latch(&self, error: Error) {
        self.0.faults.latch(error);
    }

    /// Destroys the device, as a driver reset would: for tests of what follows.
    #[doc(hidden)]
    pub fn lose_device_for_test(&self) {
        self.0.device.destroy();
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.0.recorder.lock().expect("no panic while recording")
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().expect("no panic in the pool")
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.0.info.name).field("checks", &self.0.checks).finish()
    }
}

impl fmt::Debug for Readback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readback").finish_non_exhaustive()
    }
}
