//! Which adapter to use.

use std::path::Path;

use super::backends;
use super::facts::{Class, Facts, Means};
use super::selector::{self, Selector};
use crate::error::{Error, Result};

/// An adapter of this machine: name, class, limits, features.
#[derive(Debug, Clone)]
pub struct AdapterInfo {
    /// Its place in [`Gpu::adapters`](crate::Gpu::adapters): a number by which it can be chosen.
    pub index: usize,
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
    /// Domain, bus, device and function, `0000:01:00.0`; empty where the backend tells none. DX12 tells all cards of one kind
    /// the bus of the first.
    pub pci_bus: String,
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
    /// Whether kernels for matrix units run on emulated ones ([`GpuBuilder::emulate_matrix_units`](crate::GpuBuilder::emulate_matrix_units)).
    pub emulates_matrix_units: bool,
    /// Iterations that kernels may give all loops of one invocation together; `u32::MAX` where there is no limit. lavapipe ends
    /// loops, without a word, after 65,535; 60,000 leaves room for those that a kernel's author did not count.
    pub loop_iterations: u32,
    /// The numbers by which ops choose kernels and cut their work: those of its class, or an override.
    pub facts: Facts,
}

impl AdapterInfo {
    /// PCI ids of vendor and device, `10de:2330`, by which it can be chosen; empty where the backend tells none.
    #[must_use]
    pub fn pci_ids(&self) -> String {
        selector::ids(self.vendor, self.device)
    }

    /// The same adapter with emulated matrix units of 16 x 16, where it can emulate them.
    pub(super) fn with_emulated_matrix_units(mut self) -> Self {
        if self.f16 && self.subgroups && self.workgroup_memory_bytes >= matrix_bytes(16) {
            self.matrix_tiles = vec![16];
            self.emulates_matrix_units = true;
        }
        self
    }

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

    /// The adapter at place `index` of [`list`], for a device with `limits`.
    pub(super) fn of(index: usize, adapter: &wgpu::Adapter, limits: &wgpu::Limits) -> Self {
        let (info, features) = (adapter.get_info(), adapter.features());
        let is_cpu = info.device_type == wgpu::DeviceType::Cpu;
        let class = if is_cpu { Class::Cpu } else { Class::of_vendor(info.vendor, &info.name) };
        let mut this = Self {
            index,
            pci_bus: info.device_pci_bus_id,
            vendor: info.vendor,
            device: info.device,
            is_cpu,
            loop_iterations: if is_cpu { 60_000 } else { u32::MAX },
            facts: Facts::of_adapter(class, &info.name),
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
            emulates_matrix_units: false,
            name: info.name,
        };
        if this.shuffles_in_register() {
            this.facts = Facts::of(Class::CpuShuffles);
        }
        this
    }
}

/// Bytes of workgroup memory of `shaders/lib/matrix.wgsl` with tiles of `side`: blocks of 8 x 8 tiles, a strip of C, where its
/// rows lie, and the statistics of its columns.
const fn matrix_bytes(side: u32) -> u32 {
    2 * 8 * side * 40 * 2 + 4 * side * 2 * side * 4 + 8 * side * 4 + 96 * side + 16
}

/// Whether matrix units take f16 tiles of `side` squared and add them up in f32, and there is room for the workgroups of
/// `shaders/lib/matrix.wgsl`: four subgroups, and blocks of 8 x 8 tiles in workgroup memory.
fn multiplies(adapter: &wgpu::Adapter, limits: &wgpu::Limits, side: u32) -> bool {
    let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    let subgroup = adapter.get_info().subgroup_max_size;
    let room = subgroup >= side
        && 4 * subgroup <= limits.max_compute_invocations_per_workgroup
        && matrix_bytes(side) <= limits.max_compute_workgroup_storage_size;
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
    /// As [`Selector`] reads it. `None`: `WGPU_ADAPTER_NAME`, else the best.
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
///
/// Drivers that state no conformance are hidden, as wgpu does, unless they are `allowed` or
/// `WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1` is set.
fn instance(allowed: wgpu::InstanceFlags) -> Result<wgpu::Instance> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION | wgpu::InstanceFlags::DEBUG);
    let mut descriptor = descriptor.with_env();
    descriptor.flags |= allowed;
    let here = wgpu::Instance::enabled_backend_features() & wgpu::Backends::PRIMARY;
    let variable = std::env::var("WGPU_BACKEND").ok();
    descriptor.backends = backends::choose(variable.as_deref(), here).map_err(Error::Argument)?;
    Ok(wgpu::Instance::new(descriptor))
}

/// Every adapter of this machine, in the order of choice ([`selector::sort`]).
pub(super) async fn list() -> Result<Vec<wgpu::Adapter>> {
    let instance = instance(wgpu::InstanceFlags::empty())?;
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    selector::sort(&mut adapters, wgpu::Adapter::get_info);
    Ok(adapters)
}

/// The adapter of [`list`] that is wanted, or else the first, with its index.
pub(super) async fn choose(wanted: &Wanted) -> Result<(usize, wgpu::Adapter)> {
    let mut adapters = list().await?;
    let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let name = wanted.name.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok()).unwrap_or_default();
    let selector = Selector::parse(&name);
    let allowed = |info: &wgpu::AdapterInfo| !(wanted.gpu_only && info.device_type == wgpu::DeviceType::Cpu);
    let found = match &selector {
        Some(selector) => selector.find(&infos, allowed),
        None => infos.iter().position(allowed),
    };
    match found {
        Some(index) => Ok((index, adapters.swap_remove(index))),
        None => Err(none(&infos, selector.as_ref(), wanted.gpu_only, hidden(&infos).await)),
    }
}

/// The error that none of `infos` is wanted.
fn none(
    infos: &[wgpu::AdapterInfo],
    selector: Option<&Selector>,
    gpu_only: bool,
    hidden: Option<String>,
) -> Error {
    let (wanted, remedy) = if infos.is_empty() {
        ("this machine shows none".to_owned(), hidden.unwrap_or_else(|| remedy().to_owned()))
    } else {
        let named = selector.map(|selector| format!(" {selector}")).unwrap_or_default();
        let class = if gpu_only { " that is not a CPU" } else { "" };
        let there: Vec<_> = infos.iter().enumerate().map(|(i, info)| selector::line(i, info)).collect();
        let remedy =
            "name one by its number, its ids, its bus or a part of its name, or none to take the best";
        let hidden = hidden.map(|hidden| format!("; {hidden}")).unwrap_or_default();
        (format!("none{named}{class}; this machine has: {}", there.join(", ")), format!("{remedy}{hidden}"))
    };
    Error::NoAdapter { wanted, remedy }
}

/// Where the machine shows no GPU (`shown` are its adapters), one it may have all the same, and how to get at it.
pub(super) async fn hidden(shown: &[wgpu::AdapterInfo]) -> Option<String> {
    if shown.iter().any(|info| info.device_type != wgpu::DeviceType::Cpu) {
        return None;
    }
    let all = match instance(wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER) {
        Ok(instance) => instance.enumerate_adapters(wgpu::Backends::all()).await,
        Err(_) => vec![],
    };
    let all: Vec<_> = all.iter().map(wgpu::Adapter::get_info).collect();
    behind(&all, Path::new("/dev/dxg").exists())
}

/// [`hidden`], of all adapters that any driver has; `dxg` says whether this is Linux in Windows (WSL2), with its GPU.
fn behind(all: &[wgpu::AdapterInfo], dxg: bool) -> Option<String> {
    const ALLOW: &str = "WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1";
    let gpus = all.iter().filter(|info| info.device_type != wgpu::DeviceType::Cpu);
    let names: Vec<_> = gpus.map(|info| format!("{} ({})", info.name, info.driver)).collect();
    if !names.is_empty() {
        return Some(format!(
            "hidden, because its driver states no conformance to Vulkan: {}; {ALLOW} allows it",
            names.join(", ")
        ));
    }
    dxg.then(|| {
        format!(
            "this is WSL, where Vulkan reaches the GPU through Mesa's Dozen (dzn) alone, which is not installed here; \
             distributions that build it have it in their Mesa packages, and {ALLOW} allows it; on Windows itself the \
             GPU's own driver is used"
        )
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

#[cfg(test)]
mod tests {
    use super::{Selector, behind, none};
    use wgpu::{AdapterInfo, Backend, DeviceType};

    fn adapter(name: &str, class: DeviceType, driver: &str) -> AdapterInfo {
        AdapterInfo {
            name: name.into(),
            driver: driver.into(),
            vendor: 0x10de,
            device: 0x2330,
            ..AdapterInfo::new(class, Backend::Vulkan)
        }
    }

    #[test]
    fn a_hidden_gpu_is_named_with_the_variable() {
        let cpu = adapter("llvmpipe", DeviceType::Cpu, "llvmpipe");
        let dozen = adapter("Microsoft Direct3D12 (NVIDIA RTX)", DeviceType::DiscreteGpu, "Dozen");
        let text = behind(&[cpu.clone(), dozen], true).unwrap();
        assert!(text.contains("NVIDIA RTX) (Dozen)"), "{text}");
        assert!(text.contains("WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER=1"), "{text}");
        let text = behind(std::slice::from_ref(&cpu), true).unwrap();
        assert!(text.contains("WSL") && text.contains("dzn") && text.lines().count() == 1, "{text}");
        assert_eq!(behind(&[cpu], false), None);
    }

    #[test]
    fn an_error_lists_what_there_is_and_what_is_hidden() {
        let there = [
            adapter("NVIDIA H100", DeviceType::DiscreteGpu, "NVIDIA"),
            adapter("llvmpipe", DeviceType::Cpu, "llvmpipe"),
        ];
        let selector = Selector::parse("4090");
        let text = none(&there, selector.as_ref(), true, None).to_string();
        let wanted = "none with the index 4090 that is not a CPU; this machine has: 0 NVIDIA H100 (10de:2330, Vulkan), \
                      1 llvmpipe (10de:2330, Vulkan); name one by its number";
        assert!(text.contains(wanted), "{text}");
        let text = none(&there[1..], None, true, Some("a hidden one".into())).to_string();
        assert!(text.contains("none that is not a CPU") && text.ends_with("; a hidden one"), "{text}");
        let text = none(&[], None, false, Some("a hidden one".into())).to_string();
        assert_eq!(text, "no adapter found: this machine shows none; a hidden one");
    }
}
