//! Which adapter to use.

use super::facts::{Class, Facts, Means};
use crate::error::{Error, Result};

/// An adapter of this machine: name, class, limits, features.
#[derive(Debug, Clone)]
pub struct AdapterInfo {
    /// The driver's name for it.
    pub name: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub class: String,
    /// Driver and its version.
    pub driver: String,
    /// PCI id of the vendor; 0 where the backend tells none, as Metal.
    pub vendor: u32,
    /// PCI id of the device; 0 where the backend tells none.
    pub device: u32,
    /// Whether kernels run on the CPU.
    pub is_cpu: bool,
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Workgroups in one dimension.
    pub max_workgroups: u32,
    /// Invocations in a workgroup.
    pub max_workgroup_size: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory_bytes: u32,
    /// Smallest and largest subgroup size.
    pub subgroup_size: (u32, u32),
    /// Whether shaders can use `f16`.
    pub f16: bool,
    /// Whether shaders can use subgroup operations.
    pub subgroups: bool,
    /// Whether GPU timestamps are there (for profiles).
    pub timestamps: bool,
    /// Sides of the square tiles that its matrix units (cooperative matrices) multiply with f16 operands and f32 sums,
    /// largest first: of 16 and 8, those it has.
    pub matrix_tiles: Vec<u32>,
    /// Iterations that kernels may give all loops of one invocation together; `u32::MAX` where there is no limit. lavapipe ends
    /// loops, without a word, after 65,535; 60,000 leaves room for those that a kernel's author did not count.
    pub loop_iterations: u32,
    /// The numbers by which ops choose kernels and cut their work: those of its class, or an override.
    pub facts: Facts,
}

impl AdapterInfo {
    /// What `override SUBGROUP` is set to in kernels that declare it: the largest subgroup, or 32 where there are none.
    pub(crate) fn largest_subgroup(&self) -> u32 {
        if self.subgroups { self.subgroup_size.1 } else { 32 }
    }

    /// Whether kernels run on a CPU with subgroups of exactly 8 lanes: one vector register, as on lavapipe. There a shuffle
    /// costs one instruction, and the `broadcast` kernels let lanes lend one another what they loaded.
    #[must_use]
    pub fn shuffles_in_register(&self) -> bool {
        self.is_cpu && self.subgroups && self.subgroup_size == (8, 8)
    }

    /// The number of iterations, a power of two, that a loop may make at most if each of them costs `cost`.
    pub(crate) fn longest_loop(&self, cost: u32) -> usize {
        1 << (self.loop_iterations / cost).max(1).ilog2()
    }

    /// In words, the ability that kernels of `means` need and this adapter lacks.
    pub(crate) fn lacks(&self, means: Means) -> Option<&'static str> {
        match means {
            Means::Shuffles if !self.shuffles_in_register() => {
                Some("a CPU with subgroups of exactly 8 lanes")
            }
            Means::MatrixUnits if self.matrix_tiles.is_empty() => {
                Some("matrix units (cooperative matrices) with f16 operands and f32 sums")
            }
            _ => None,
        }
    }

    /// The adapter, for a device with `limits`.
    pub(super) fn of(adapter: &wgpu::Adapter, limits: &wgpu::Limits) -> Self {
        let (info, features) = (adapter.get_info(), adapter.features());
        let is_cpu = info.device_type == wgpu::DeviceType::Cpu;
        let class = if is_cpu { Class::Cpu } else { Class::of_vendor(info.vendor, &info.name) };
        let mut this = Self {
            vendor: info.vendor,
            device: info.device,
            is_cpu,
            loop_iterations: if is_cpu { 60_000 } else { u32::MAX },
            facts: Facts::of(class),
            backend: format!("{:?}", info.backend),
            class: format!("{:?}", info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_workgroup_size: limits.max_compute_invocations_per_workgroup,
            workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
            subgroup_size: (info.subgroup_min_size, info.subgroup_max_size),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            matrix_tiles: [16, 8].into_iter().filter(|&side| multiplies(adapter, limits, side)).collect(),
            name: info.name,
        };
        if this.shuffles_in_register() {
            this.facts = Facts::of(Class::CpuShuffles);
        }
        this
    }
}

/// Whether matrix units take f16 tiles of `side` squared and add them up in f32, and there is room for the workgroups of
/// `shaders/lib/matrix.wgsl`: four subgroups, and blocks of 8 x 8 tiles in workgroup memory.
fn multiplies(adapter: &wgpu::Adapter, limits: &wgpu::Limits, side: u32) -> bool {
    let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    let subgroup = adapter.get_info().subgroup_max_size;
    let memory = 2 * 8 * side * 40 * 2 + 4 * side * (2 * side + 4) * 4 + 16;
    let room = subgroup >= side
        && 4 * subgroup <= limits.max_compute_invocations_per_workgroup
        && memory <= limits.max_compute_workgroup_storage_size;
    let fits = |p: &wgpu::CooperativeMatrixProperties| {
        (p.m_size, p.n_size, p.k_size) == (side, side, side)
            && p.ab_type == wgpu::CooperativeScalarType::F16
            && p.cr_type == wgpu::CooperativeScalarType::F32
    };
    room && adapter.features().contains(needed) && adapter.cooperative_matrix_properties().iter().any(fits)
}

/// What the caller wants of an adapter.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Part of the name, any case. `None`: `WGPU_ADAPTER_NAME`, else the best.
    pub(super) name: Option<String>,
    /// Refuse CPU adapters.
    pub(super) gpu_only: bool,
}

/// The backends wgrad runs on, narrowed by `WGPU_BACKEND`.
///
/// In debug builds wgpu would name every object for debuggers, and load the Khronos validation layer where it is installed.
/// Here each is done if asked for (`WGPU_DEBUG=1` for RenderDoc and the like, `WGPU_VALIDATION=1`): the loader's way to the
/// names is not safe across threads ([`super::loader`]), and the layer is slow, and crashes in version 1.3.239 when one
/// thread opens a device while another uses one.
fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION | wgpu::InstanceFlags::DEBUG);
    let mut descriptor = descriptor.with_env();
    descriptor.backends &= wgpu::Backends::PRIMARY;
    wgpu::Instance::new(descriptor)
}

/// Every adapter of this machine, best class first (discrete, integrated, virtual, other, CPU).
pub(super) async fn list() -> Vec<wgpu::Adapter> {
    let mut adapters = instance().enumerate_adapters(wgpu::Backends::all()).await;
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

/// The first adapter of [`list`] that fits.
pub(super) async fn choose(wanted: &Wanted) -> Result<wgpu::Adapter> {
    let adapters = list().await;
    let found: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    let name =
        wanted.name.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok()).filter(|n| !n.is_empty());
    let fits = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let named = name.as_ref().is_none_or(|n| info.name.to_lowercase().contains(&n.to_lowercase()));
        named && !(wanted.gpu_only && info.device_type == wgpu::DeviceType::Cpu)
    };
    adapters.into_iter().find(fits).ok_or_else(|| {
        if found.is_empty() {
            let wanted = "this machine shows none".to_owned();
            return Error::NoAdapter { wanted, remedy: remedy().to_owned() };
        }
        let named = name.map(|n| format!(" named like \"{n}\"")).unwrap_or_default();
        let class = if wanted.gpu_only { " that is not a CPU" } else { "" };
        let wanted = format!("none{named}{class}; this machine has: {}", found.join(", "));
        Error::NoAdapter { wanted, remedy: "name one of them, or none to take the best".to_owned() }
    })
}

/// What to install where there is no driver at all.
fn remedy() -> &'static str {
    if cfg!(target_os = "linux") {
        "install a Vulkan driver: your GPU vendor's, or for the CPU `sudo apt-get install mesa-vulkan-drivers` \
         (Debian, Ubuntu), `sudo dnf install mesa-vulkan-drivers` (Fedora); in a container with an NVIDIA card, \
         the image needs the driver's Vulkan ICD (NVIDIA_DRIVER_CAPABILITIES=all)"
    } else if cfg!(target_os = "macos") {
        "wgrad needs a Mac with Metal"
    } else if cfg!(windows) {
        "install your GPU vendor's driver (DX12 or Vulkan)"
    } else {
        "install a Vulkan driver"
    }
}
