//! Options of a device, and opening it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use super::choices::Choices;
use super::compiler::Compiler;
use super::facts::{Class, Facts};
use super::fault::Faults;
use super::limits::Lowered;
use super::loader::Guarded;
use super::profile::{PrintAtEnd, Profiler};
use super::recorder::Recorder;
use super::tuned::Tuned;
use super::{AdapterInfo, Gpu, Inner, Tested, adapter, disk, trust};
use crate::error::{Error, Result};

/// Options for a [`Gpu`]; [`Gpu::builder`].
#[derive(Debug, Clone, Default)]
pub struct GpuBuilder {
    wanted: adapter::Wanted,
    checks: Option<bool>,
    memory_limit: Option<u64>,
    profile: Option<bool>,
    quiet: bool,
    cache: Option<PathBuf>,
    choices: Vec<(String, String)>,
    tune: Option<bool>,
    facts: Option<Facts>,
    lowered: Lowered,
    self_test: Option<bool>,
    #[cfg(feature = "isa")]
    described: Option<super::Described>,
}

/// Whether a variable is on; `None` where it is not set.
fn env(name: &str) -> Option<bool> {
    std::env::var(name).ok().map(|value| value != "0")
}

impl GpuBuilder {
    /// Takes the first adapter of [`Gpu::adapters`] that `name` names, instead of `WGPU_ADAPTER_NAME`, which is read alike, or the best: a
    /// number is an index into that list; `10de:2330` (or `10de:`, `:2330`) are the PCI ids of vendor and device;
    /// `0000:01:00.0` is a PCI bus; anything else is its name or a part of that, any case. `examples/adapters.rs` prints them.
    #[must_use]
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.wanted.name = Some(name.into());
        self
    }

    /// Refuses CPU adapters such as lavapipe.
    #[must_use]
    pub fn gpu_only(mut self) -> Self {
        self.wanted.gpu_only = true;
        self
    }

    /// Runtime checks (bounds, zeroed workgroup memory) in this crate's kernels. Default: `WGRAD_CHECKS=1|0`, else
    /// on in debug builds. A user's own kernels are always checked.
    #[must_use]
    pub fn checks(mut self, on: bool) -> Self {
        self.checks = Some(on);
        self
    }

    /// Bytes that live and pooled buffers may hold; growth past it is [`Error::OutOfMemory`].
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Opens the device with room for `n` workgroups in a dimension of a launch, at most what the adapter has (65,535 on most): a launch
    /// of more is folded into y and z, so tests of kernels reach that with small tensors. A launch of more than n^3 is [`Error::TooLarge`].
    /// Default: `WGRAD_LIMITS=workgroups=<n>`, else what the adapter has.
    #[must_use]
    pub fn max_workgroups(mut self, n: u32) -> Self {
        self.lowered.workgroups = Some(n);
        self
    }

    /// Opens the device with limits no higher than WebGPU's defaults, which are everywhere: bindings of 128 MiB, 8 storage buffers,
    /// workgroups of 256 invocations and 16 KiB. For tests. Default: `WGRAD_LIMITS=webgpu`, else what the adapter has.
    #[must_use]
    pub fn webgpu_limits(mut self) -> Self {
        self.lowered.webgpu = true;
        self
    }

    /// Runs kernels for matrix units on emulated ones of 16 x 16, where the adapter has f16, subgroups and 32 KiB of workgroup memory:
    /// slowly, for tests of those kernels. Default: `WGRAD_LIMITS=matrix=emulated`, else the adapter's own.
    #[must_use]
    pub fn emulate_matrix_units(mut self) -> Self {
        self.lowered.matrix = true;
        self
    }

    /// Makes the workgroups of kernels for matrix units as for subgroups of `n` invocations, a power of two and at least half the side of
    /// a tile, whatever the device takes: results stay, speed does not. For tests. Default: `WGRAD_LIMITS=subgroup=<n>`, else what the self-test found.
    #[must_use]
    pub fn matrix_subgroup(mut self, n: u32) -> Self {
        self.lowered.subgroup = Some(n);
        self
    }

    /// Times every launch ([`Gpu::profile`]), if the adapter has timestamps. Default: `WGRAD_PROFILE=1`. Costs the overlap of
    /// host and device.
    ///
    /// With `WGRAD_PROFILE=1` the table is also printed to stderr when the last handle of the device, tensors included, is
    /// dropped: unless [`Gpu::profile_table`] gave it to the program before, this is `profile(false)`, the device has an error,
    /// or the thread panics. A handle in a `static`, and one alive at `process::exit`, is never dropped.
    #[must_use]
    pub fn profile(mut self, on: bool) -> Self {
        self.profile = Some(on);
        self
    }

    /// Takes the kernels of `family` from `shaders/<family>/<file>.wgsl`, instead of choosing by adapter: `kernel("matmul",
    /// "1_naive")`. Default: `WGRAD_KERNEL=matmul:1_naive,conv:1_naive`. A name that does not exist is an error of [`GpuBuilder::build`].
    ///
    /// A kernel whose means the adapter lacks is the device's error, at the first op that it should compute. For what a kernel
    /// does not compute (a weight gradient by `6_winograd`, f16 by `12_split_f32`) the adapter's choice takes its place, and a line on
    /// stderr says so once.
    #[must_use]
    pub fn kernel(mut self, family: impl Into<String>, file: impl Into<String>) -> Self {
        self.choices.push((family.into(), file.into()));
        self
    }

    /// Chooses kernels as for a class of adapters, whatever the adapter is: for tests and for authors of kernels who lack such an
    /// adapter. No kernel is chosen that needs an ability which this adapter lacks. Default: `WGRAD_ADAPTER_CLASS`, a class and numbers that
    /// replace its own, as `nvidia,tile=64`; else the adapter's class.
    #[must_use]
    pub fn class(self, class: Class) -> Self {
        self.facts(Facts::of(class))
    }

    /// [`GpuBuilder::class`] with numbers of one's own.
    #[must_use]
    pub fn facts(mut self, facts: Facts) -> Self {
        self.facts = Some(facts);
        self
    }

    /// Measures which kernels are the fastest, where the static table ([`ops::ladders`](crate::ops::ladders)) would choose.
    /// Default: `WGRAD_TUNE=1`, else off.
    ///
    /// That happens when a product or convolution of some sizes is first called: it waits for the device, runs the candidates
    /// on operands of its own, refuses any whose result differs from that of the static choice, and times the others. Results
    /// are kept on disk ([`GpuBuilder::cache_dir`]) by adapter, driver and version. A kernel that is named
    /// ([`GpuBuilder::kernel`]) stays.
    ///
    /// Kernels round differently, so runs on different choices differ in the last bits; see [`Gpu::tuned`].
    #[must_use]
    pub fn tune(mut self, on: bool) -> Self {
        self.tune = Some(on);
        self
    }

    /// Tests the device when it opens, once for an adapter and driver: barriers, subgroups, f16, matrix units ([`Gpu::tested`]).
    /// Default: `WGRAD_SELF_TEST=1|0`, else on. Without the test a device that computes wrongly is not refused.
    #[must_use]
    pub fn self_test(mut self, on: bool) -> Self {
        self.self_test = Some(on);
        self
    }

    /// Folder for what outlives a program, made if need be: compiled pipelines, measured choices. Default: `WGRAD_CACHE_DIR` (empty for none), else `wgrad` in the
    /// user's cache folder.
    #[must_use]
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Leaves out the notices that are printed to stderr: that kernels will run on a CPU, that the adapter's facts are
    /// overridden, that a kernel which was named gives way to another.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Opens a device on an adapter that is described and not there, which lists what is launched and executes nothing. Names
    /// of adapters are not looked at, and nothing is tuned.
    #[cfg(feature = "isa")]
    #[doc(hidden)]
    #[must_use]
    pub fn described(mut self, adapter: &super::Described) -> Self {
        self.described = Some(adapter.clone());
        self.facts(adapter.info().facts).profile(false).tune(false)
    }

    /// The adapter to open, what is known of it, and the limits of the device.
    async fn choose(&self, lowered: Lowered) -> Result<(wgpu::Adapter, AdapterInfo, wgpu::Limits)> {
        #[cfg(feature = "isa")]
        if let Some(described) = &self.described {
            let adapter = described.adapter().await?;
            let limits = adapter.limits();
            return Ok((adapter, described.info().clone(), limits));
        }
        let (index, adapter) = adapter::choose(&self.wanted).await?;
        let limits = lowered.of(&adapter.limits())?;
        let info = AdapterInfo::of(index, &adapter, &limits);
        let info = if lowered.matrix { info.with_emulated_matrix_units() } else { info };
        Ok((adapter, info, limits))
    }

    /// Opens the device, waiting for it.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] (its text names the remedy), [`Error::Device`], also for one that fails its self-test,
    /// [`Error::Argument`] for a kernel or an override of the adapter's facts or limits that does not exist or is malformed, for
    /// workgroups that no dimension holds, or for a `WGPU_BACKEND` that is not of this system.
    #[cfg(not(target_family = "wasm"))]
    pub fn build(self) -> Result<Gpu> {
        pollster::block_on(self.build_async())
    }

    /// Opens the device.
    ///
    /// # Errors
    /// As [`GpuBuilder::build`].
    pub async fn build_async(self) -> Result<Gpu> {
        let wanted = self.self_test.or_else(|| env("WGRAD_SELF_TEST")).unwrap_or(true);
        let cache = self.cache.clone().or_else(disk::cache_dir);
        // Natively adapters and devices are there at once, so the lock is not held across a wait.
        #[cfg(not(target_family = "wasm"))]
        let (gpu, subgroup) = {
            let _guard = super::loader::lock();
            pollster::block_on(self.open())?
        };
        #[cfg(target_family = "wasm")]
        let (gpu, subgroup) = self.open().await?;
        let tested = if gpu.recorder().only_lists() {
            // Fast enough that no launch is cut.
            Tested { flops_per_second: 1e15, bytes_per_second: 1e14, ..gpu.tested() }
        } else if wanted {
            gpu.self_test(cache).await?
        } else {
            gpu.tested()
        };
        gpu.rely_on(Tested { matrix_subgroup: subgroup.unwrap_or(tested.matrix_subgroup), ..tested });
        Ok(gpu)
    }

    /// The device, and the subgroup that kernels for matrix units make their workgroups for, if it was set.
    async fn open(self) -> Result<(Gpu, Option<u32>)> {
        let named = std::env::var("WGRAD_KERNEL").unwrap_or_default();
        let choices = Choices::new(&named, &self.choices, self.quiet)?;
        let lowered = Lowered::parse(&std::env::var("WGRAD_LIMITS").unwrap_or_default())?;
        let lowered = Lowered {
            webgpu: self.lowered.webgpu || lowered.webgpu,
            matrix: self.lowered.matrix || lowered.matrix,
            workgroups: self.lowered.workgroups.or(lowered.workgroups),
            subgroup: self.lowered.subgroup.or(lowered.subgroup),
        };
        let (adapter, mut info, limits) = self.choose(lowered).await?;
        let subgroup = lowered.subgroup_for(info.matrix_tiles.first().copied())?;
        if !self.quiet {
            lowered.tell(&info);
        }
        if info.is_cpu && !self.quiet {
            // The first of the list: there is no GPU before it.
            let hidden = if info.index == 0 { adapter::hidden(&[adapter.get_info()]).await } else { None };
            let hidden = hidden.map(|hidden| format!("; {hidden}")).unwrap_or_default();
            eprintln!("wgrad: no GPU in use; kernels run on the CPU adapter {}{hidden}", info.name);
        }
        let own = info.facts;
        let class = std::env::var("WGRAD_ADAPTER_CLASS").unwrap_or_default();
        if let Some(facts) = self.facts {
            facts.check().map_err(|why| Error::Argument(format!("GpuBuilder::facts: {why}")))?;
            info.facts = facts;
        } else if !class.is_empty() {
            info.facts = own.with_overrides(&class)?;
        }
        if info.facts != own && !self.quiet {
            let changed =
                if info.facts == Facts::of(info.facts.class) { "" } else { " and numbers of its own" };
            eprintln!(
                "wgrad: kernels are chosen as for the class {}{changed}, not as for {}",
                info.facts.class, info.name
            );
        }
        let mut useful = wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::SUBGROUP
            | wgpu::Features::SHADER_F16
            | wgpu::Features::PIPELINE_CACHE;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if !info.matrix_tiles.is_empty() && !info.emulates_matrix_units {
            useful |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            experimental_features = trust::experimental_features();
        }
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("wgrad"),
                required_features: adapter.features() & useful,
                required_limits: limits.clone(),
                experimental_features,
                ..Default::default()
            })
            .await
            .map_err(|e| Error::Device { adapter: info.name.clone(), message: e.to_string() })?;

        let device = Arc::new(device);
        let faults = Faults::watch(&device);

        let checks = self.checks.or_else(|| env("WGRAD_CHECKS")).unwrap_or(cfg!(debug_assertions));
        let asked = env("WGRAD_PROFILE").unwrap_or(false);
        let profile = self.profile.unwrap_or(asked);
        let tune = self.tune.or_else(|| env("WGRAD_TUNE")).unwrap_or(false);
        if asked && profile && !info.timestamps && !self.quiet {
            eprintln!("wgrad: WGRAD_PROFILE: {} has no timestamps, so there is no profile", info.name);
        }
        let profiler = (profile && info.timestamps).then(|| Profiler::new(&device, &queue));
        let cache = self.cache.or_else(disk::cache_dir);
        let compiler = Compiler::new(&device, &adapter.get_info(), cache.clone());
        let print_at_end = asked && profiler.is_some();
        let recorder =
            Recorder::new(&device, &queue, info.facts.submission_seconds, &Tested::assumed(&info), profiler);
        #[cfg(feature = "isa")]
        let recorder = recorder.listing(self.described);
        let inner = Arc::new(Guarded::new(Inner {
            recorder: Mutex::new(recorder),
            tuned: Tuned::open(tune, cache, &info, checks),
            roofline: OnceLock::new(),
            tested: OnceLock::new(),
            device,
            info,
            limits,
            checks,
            memory_limit: self.memory_limit.unwrap_or(u64::MAX),
            choices,
            faults,
            kernels: Mutex::default(),
            compiler,
            pool: Mutex::default(),
            staging: Mutex::default(),
        }));
        let at_end = print_at_end.then(|| Arc::new(PrintAtEnd(Arc::clone(&inner))));
        Ok((Gpu(inner, at_end), subgroup))
    }
}
