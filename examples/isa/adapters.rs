//! The adapters that are described: AMD's chips as their driver states them, and a typical adapter of each class.

use serde::{Deserialize, Serialize};
use wgrad::gpu::{AdapterInfo, Class, Facts};

/// A chip that RADV compiles for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chip {
    /// As in `RADV_FORCE_FAMILY`.
    pub(crate) name: &'static str,
    pub(crate) architecture: &'static str,
}

/// One of each architecture.
pub(crate) const CHIPS: [Chip; 3] = [
    Chip { name: "navi21", architecture: "RDNA 2" },
    Chip { name: "navi31", architecture: "RDNA 3" },
    Chip { name: "gfx1201", architecture: "RDNA 4" },
];

/// What a driver states of a chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Abilities {
    /// Smallest and largest subgroup.
    pub(crate) subgroups: (u32, u32),
    /// Invocations of a workgroup.
    pub(crate) workgroup: u32,
    /// Bytes of workgroup memory.
    pub(crate) workgroup_memory: u32,
    /// Sides of the square tiles that matrix units multiply, f16 operands and f32 sums.
    pub(crate) tiles: Vec<u32>,
}

/// One of AMD's adapters, as its driver states it.
pub(crate) fn with(abilities: &Abilities) -> AdapterInfo {
    AdapterInfo {
        subgroup_size: abilities.subgroups,
        max_workgroup_size: abilities.workgroup,
        workgroup_memory_bytes: abilities.workgroup_memory,
        matrix_tiles: abilities.tiles.clone(),
        ..typical(Class::Amd)
    }
}

/// An adapter of a class: subgroups, workgroup memory and matrix units as most drivers of its recent cards state them.
pub(crate) fn typical(class: Class) -> AdapterInfo {
    // Smallest and largest subgroup, bytes of workgroup memory, invocations of a workgroup, sides of square f16 tiles.
    let (subgroup_size, memory, workgroup, tiles): (_, _, _, &[u32]) = match class {
        Class::Nvidia => ((32, 32), 49_152, 1024, &[16]),
        Class::Amd => ((32, 64), 65_536, 1024, &[16]),
        // Its tiles are 8 x 16, which wgrad does not take.
        Class::Intel => ((8, 32), 65_536, 1024, &[]),
        Class::Apple => ((32, 32), 32_768, 1024, &[8]),
        Class::Gpu => ((32, 32), 32_768, 1024, &[]),
        Class::Cpu => ((4, 4), 32_768, 1024, &[]),
        Class::CpuShuffles => ((8, 8), 32_768, 1024, &[]),
    };
    let is_cpu = matches!(class, Class::Cpu | Class::CpuShuffles);
    AdapterInfo {
        index: 0,
        emulates_matrix_units: false,
        pci_bus: String::new(),
        name: format!("an adapter of the class {class}"),
        backend: "Noop".to_owned(),
        class: if is_cpu { "Cpu" } else { "DiscreteGpu" }.to_owned(),
        driver: "none".to_owned(),
        vendor: 0,
        device: 0,
        is_cpu,
        max_binding_bytes: if is_cpu { 1 << 27 } else { (1 << 31) - 4 },
        max_workgroups: 65_535,
        max_workgroup_size: workgroup,
        workgroup_memory_bytes: memory,
        subgroup_size,
        f16: class != Class::Cpu,
        subgroups: true,
        timestamps: false,
        matrix_tiles: tiles.to_vec(),
        loop_iterations: if is_cpu { 60_000 } else { u32::MAX },
        facts: Facts::of(class),
    }
}
