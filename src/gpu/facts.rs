//! One table of adapter facts: the numbers by which ops choose between kernels and cut their work, for each class of adapters.
//!
//! These are preferences. The abilities of an adapter (subgroups, memory, limits) are in [`AdapterInfo`](super::AdapterInfo) and
//! stay true whichever class is in force: so [`GpuBuilder::class`](crate::GpuBuilder::class) or `WGRAD_ADAPTER_CLASS` takes the choices of any class on
//! any adapter, and results stay right. A further class is one constant and one line in [`Facts::of`].
//!
//! Without measurements of its own a class has the numbers of [`Class::Gpu`], which are estimates for 30 to 150 cores.

use std::fmt;

use crate::error::{Error, Result};

/// A class of adapters that kernels are chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Kernels run on a CPU whose subgroups are one SIMD register of 8 lanes, as on lavapipe: a shuffle is one instruction.
    CpuShuffles,
    /// Kernels run on a CPU.
    Cpu,
    /// PCI vendor 0x10de.
    Nvidia,
    /// PCI vendor 0x1002.
    Amd,
    /// PCI vendor 0x8086.
    Intel,
    /// PCI vendor 0x106b, or named so by Metal, which tells no vendor.
    Apple,
    /// Any other GPU.
    Gpu,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] =
        [Self::CpuShuffles, Self::Cpu, Self::Nvidia, Self::Amd, Self::Intel, Self::Apple, Self::Gpu];

    /// Its name in `WGRAD_ADAPTER_CLASS`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuShuffles => "cpu-shuffles",
            Self::Cpu => "cpu",
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
            Self::Intel => "intel",
            Self::Apple => "apple",
            Self::Gpu => "gpu",
        }
    }

    /// The class of a GPU by its PCI vendor, or by its name where the backend tells no vendor.
    pub(super) fn of_vendor(vendor: u32, name: &str) -> Self {
        match vendor {
            0x10de => Self::Nvidia,
            0x1002 => Self::Amd,
            0x8086 => Self::Intel,
            0x106b => Self::Apple,
            0 if name.contains("Apple") => Self::Apple,
            _ => Self::Gpu,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a kernel of a ladder keeps the operands that it uses more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// In memory and its caches: the lowest rungs.
    Memory,
    /// In workgroup memory.
    Workgroup,
    /// In registers of each invocation.
    Registers,
    /// In registers that the 8 lanes of a subgroup lend one another.
    Shuffles,
    /// In the tiles of matrix units.
    MatrixUnits,
}

/// How rows are cut into strips, each of which has its own invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripCut {
    /// Rows of a strip at least.
    pub rows: usize,
    /// Strips at most.
    pub strips: usize,
    /// Invocations of all strips at most.
    pub invocations: usize,
}

impl StripCut {
    /// The number of strips for `m` rows where each strip takes `invocations` of them. 0 where one strip is too many.
    pub(crate) fn strips(&self, m: usize, invocations: usize) -> usize {
        (self.invocations / invocations.max(1)).min(m / self.rows).min(self.strips)
    }
}

/// The preferences of an adapter. Change some with `Facts { tile: 64, ..Facts::of(Class::Gpu) }`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// The class that the numbers are of.
    pub class: Class,
    /// Whose kernels are chosen unasked, besides [`Means::Memory`].
    pub means: &'static [Means],
    /// Side of the blocks of a product that a workgroup makes in workgroup memory, at most: 128, 64 or 32.
    pub tile: u32,
    /// Invocations that keep every core busy. Where a sum has fewer it is cut into parts.
    pub fill: u32,
    /// Invocations of one workgroup that run side by side: the rest of a larger workgroup does not count towards `fill`.
    pub side_by_side: u32,
    /// Terms of a part of a long sum at least.
    pub part: u32,
    /// Processors (multiprocessors, compute units, cores) of the adapter, which no driver tells wgpu; 0 where they are not
    /// known. Long sums are cut so that workgroups keep all of them busy to the end.
    pub processors: u32,
    /// Numbers of processors for which sums are cut where they are not known. With none of them sums are cut by `fill` alone,
    /// and `processors` is not read.
    pub likely_processors: &'static [u32],
    /// Invocations below which the contrastive loss cuts the rows that it streams into chunks.
    pub stream: u32,
    /// Strips of sums over columns.
    pub column_sums: StripCut,
    /// Strips of elementwise work with values that are shared by columns.
    pub column_maps: StripCut,
    /// Strips of row-wise kernels that sum columns beside.
    pub row_sums: StripCut,
    /// Whether neighbouring strips take neighbouring rows, so that a whole GPU reads side by side.
    pub interleaved: bool,
    /// Elements that a loop from row to row may span before each step is on a page of its own; `None` where that costs nothing.
    pub page: Option<usize>,
    /// Whether an invocation takes a row of a matrix alone, where rows are many and not too long.
    pub lone_rows: bool,
    /// Whether workgroups with barriers have 8 invocations, one SIMD register, instead of 64 and more.
    pub narrow_workgroups: bool,
    /// Outputs along the width that an invocation of a pooling kernel makes, at most.
    pub pool_run: u32,
    /// Queries of a nearest-neighbour search at once. A multiple of 64.
    pub queries: u32,
    /// Whether an invocation takes four queries.
    pub wide_queries: bool,
    /// Seconds that one launch may take, by the rate that was measured: larger ones are cut. Windows resets a GPU after 2.
    pub launch_seconds: f64,
    /// Seconds that one submission may take.
    pub submission_seconds: f64,
    /// Seconds that the static choice of a kernel may take for the tuner to try others: one of them may be a hundred times
    /// slower, and drivers of GPUs end a launch after some seconds.
    pub trial_seconds: f64,
    /// vec4s that the roofline's copy kernel moves.
    pub roofline_copies: u32,
    /// Rounds of the roofline's multiply-adds, and of those of matrix units.
    pub roofline_rounds: [u32; 2],
}

/// lavapipe on a few cores. Workgroup memory is memory like any other there, a workgroup runs on one core, 8 invocations a
/// SIMD register, and a barrier ends a vector loop. Measured on 2 cores (`shaders/README.md`).
const CPU: Facts = Facts {
    class: Class::Cpu,
    means: &[Means::Registers],
    tile: 128,
    fill: 128,
    side_by_side: 8,
    part: 64,
    processors: 0,
    likely_processors: &[],
    stream: 128,
    column_sums: StripCut { rows: 128, strips: 1024, invocations: usize::MAX },
    column_maps: StripCut { rows: 32, strips: usize::MAX, invocations: usize::MAX },
    row_sums: StripCut { rows: 32, strips: 1024, invocations: usize::MAX },
    interleaved: false,
    page: Some(16_384),
    lone_rows: true,
    narrow_workgroups: true,
    pool_run: 16,
    // A strip of similarities that a core's cache holds, whose rows do not lie a power of two apart.
    queries: 320,
    wide_queries: true,
    launch_seconds: 0.5,
    submission_seconds: 0.5,
    trial_seconds: 0.2,
    roofline_copies: 1 << 21,
    roofline_rounds: [64, 4],
};

const CPU_SHUFFLES: Facts =
    Facts { class: Class::CpuShuffles, means: &[Means::Registers, Means::Shuffles], ..CPU };

/// Estimates: no GPU has been measured.
const GPU: Facts = Facts {
    class: Class::Gpu,
    means: &[Means::Workgroup, Means::MatrixUnits],
    tile: 128,
    fill: 65_536,
    side_by_side: u32::MAX,
    part: 128,
    processors: 0,
    // From a laptop's GPU to an H100's 132.
    likely_processors: &[20, 60, 84, 132],
    stream: 32_768,
    // 97 % of what 132 processors of 2,048 invocations hold at once.
    column_sums: StripCut { rows: 16, strips: usize::MAX, invocations: 262_144 },
    column_maps: StripCut { rows: 4, strips: usize::MAX, invocations: 1_048_576 },
    row_sums: StripCut { rows: 4, strips: usize::MAX, invocations: 65_536 },
    interleaved: true,
    page: None,
    lone_rows: false,
    narrow_workgroups: false,
    pool_run: 4,
    queries: 4096,
    wide_queries: false,
    launch_seconds: 0.5,
    submission_seconds: 0.5,
    trial_seconds: 0.02,
    roofline_copies: 1 << 25,
    roofline_rounds: [1024, 4096],
};

const NVIDIA: Facts = Facts { class: Class::Nvidia, ..GPU };

/// Blocks of 128 stay: RADV's compiler gives `8_subgroup` 108 vector registers on RDNA 3, which leaves 14 subgroups a SIMD.
const AMD: Facts = Facts { class: Class::Amd, ..GPU };

/// Blocks of 64: llama.cpp (`ggml-vulkan.cpp`, `mul_mat_l`) leaves out its 128 x 128 blocks on Intel GPUs that multiply
/// without matrix units.
const INTEL: Facts = Facts { class: Class::Intel, tile: 64, ..GPU };

/// Blocks of 64: llama.cpp (`ggml-vulkan.cpp`, `mul_mat_l`) and MLX (`steel` matrix products) have none that are larger for
/// Apple's GPUs.
const APPLE: Facts = Facts { class: Class::Apple, tile: 64, ..GPU };

/// Multiprocessors of NVIDIA's cards, by its data sheets, and by the names that drivers give those whose name says which card it is.
const PROCESSORS: [(&str, u32); 15] = [
    ("NVIDIA H200", 132),
    ("NVIDIA H100 80GB HBM3", 132),
    ("NVIDIA H100 PCIe", 114),
    ("NVIDIA A100-SXM4-80GB", 108),
    ("NVIDIA A100-SXM4-40GB", 108),
    ("NVIDIA A100-PCIE-40GB", 108),
    ("NVIDIA A100 80GB PCIe", 108),
    ("NVIDIA L40S", 142),
    ("NVIDIA L4", 58),
    ("NVIDIA A10", 72),
    ("Tesla T4", 40),
    ("NVIDIA GeForce RTX 5090", 170),
    ("NVIDIA GeForce RTX 4090", 128),
    ("NVIDIA GeForce RTX 3090 Ti", 84),
    ("NVIDIA GeForce RTX 3090", 82),
];

impl Facts {
    /// The facts of a class, with what the name of an adapter tells.
    pub(super) fn of_adapter(class: Class, name: &str) -> Self {
        let known = PROCESSORS.iter().find(|(known, _)| *known == name);
        Self { processors: known.map_or(0, |(_, processors)| *processors), ..Self::of(class) }
    }

    /// The facts of a class.
    #[must_use]
    pub const fn of(class: Class) -> Self {
        match class {
            Class::CpuShuffles => CPU_SHUFFLES,
            Class::Cpu => CPU,
            Class::Nvidia => NVIDIA,
            Class::Amd => AMD,
            Class::Intel => INTEL,
            Class::Apple => APPLE,
            Class::Gpu => GPU,
        }
    }

    /// Whether kernels of this kind are chosen unasked.
    pub(crate) fn prefers(&self, means: Means) -> bool {
        means == Means::Memory || self.means.contains(&means)
    }

    /// The invocations of `groups` workgroups, at least one, that run side by side.
    fn running(&self, groups: u64, invocations: u32) -> u64 {
        groups.max(1) * u64::from(invocations.min(self.side_by_side))
    }

    /// The share of [`Facts::fill`] that `groups` workgroups of `invocations` each are.
    pub(crate) fn filled(&self, groups: u64, invocations: u32) -> f64 {
        self.running(groups, invocations) as f64 / f64::from(self.fill)
    }

    /// The numbers of processors that sums are cut for.
    pub(crate) fn cards(&self) -> &[u32] {
        match self.processors {
            0 => self.likely_processors,
            _ if self.likely_processors.is_empty() => &[],
            _ => std::slice::from_ref(&self.processors),
        }
    }

    /// Parts that a sum of `k` terms is cut into at most, where `groups` workgroups of `invocations` each make the sums: of
    /// [`Facts::part`] terms at least, and with four times [`Facts::fill`] invocations in all.
    pub(crate) fn most_parts(&self, groups: u64, invocations: u32, k: u64) -> u64 {
        (4 * u64::from(self.fill) / self.running(groups, invocations)).min(k / u64::from(self.part)).max(1)
    }

    /// The number of parts that a sum of `k` terms is cut into, when `groups` workgroups of `invocations` each do not fill the
    /// adapter, whatever its processors. Depends on these numbers only, so results are the same bits every time.
    pub(crate) fn parts(&self, groups: u64, invocations: u32, k: u64) -> u64 {
        (u64::from(self.fill) / self.running(groups, invocations)).min(k / u64::from(self.part)).max(1)
    }

    /// The facts that `text` makes of these: items between commas, each the name of a class or `<number>=<value>`.
    ///
    /// # Errors
    /// [`Error::Argument`], which names the item and the names that exist.
    pub(super) fn with_overrides(mut self, text: &str) -> Result<Self> {
        for item in text.split(',').map(str::trim) {
            let refuse = |why: String| Err(Error::Argument(format!("WGRAD_ADAPTER_CLASS: `{item}`: {why}")));
            let Some((name, value)) = item.split_once('=') else {
                let Some(class) = Class::ALL.into_iter().find(|class| class.name() == item) else {
                    let names = Class::ALL.map(Class::name).join(", ");
                    return refuse(format!("no class of adapters; there are {names}"));
                };
                self = Self::of(class);
                continue;
            };
            let Some((_, number)) = self.numbers().into_iter().find(|(known, _)| *known == name) else {
                let names = self.numbers().map(|(name, _)| name).join(", ");
                return refuse(format!("no number of the adapter facts; there are {names}"));
            };
            let Ok(value) = value.parse() else { return refuse("not a whole number".to_owned()) };
            *number = value;
            if let Err(why) = self.check() {
                return refuse(why);
            }
        }
        Ok(self)
    }

    /// The numbers that [`Facts::with_overrides`] sets, by name.
    fn numbers(&mut self) -> [(&'static str, &mut u32); 7] {
        [
            ("tile", &mut self.tile),
            ("fill", &mut self.fill),
            ("part", &mut self.part),
            ("processors", &mut self.processors),
            ("stream", &mut self.stream),
            ("pool_run", &mut self.pool_run),
            ("queries", &mut self.queries),
        ]
    }

    /// Refuses numbers that no kernel can take, with the reason.
    pub(super) fn check(&self) -> Result<(), String> {
        if ![32, 64, 128].contains(&self.tile) {
            return Err(format!("tile is {}: 32, 64 or 128", self.tile));
        }
        if self.queries == 0 || !self.queries.is_multiple_of(64) {
            return Err(format!("queries is {}: a multiple of 64", self.queries));
        }
        let Self { fill, side_by_side, part, stream, pool_run, .. } = *self;
        if [fill, side_by_side, part, stream, pool_run].contains(&0) {
            return Err("a number is 0".to_owned());
        }
        if self.likely_processors.contains(&0) {
            return Err("a likely number of processors is 0".to_owned());
        }
        if [self.column_sums, self.column_maps, self.row_sums].iter().any(|cut| cut.rows == 0) {
            return Err("a strip has 0 rows".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_every_class_are_its_own_and_whole() {
        for class in Class::ALL {
            let facts = Facts::of(class);
            assert_eq!(facts.class, class);
            assert_eq!(facts.check(), Ok(()), "{class}");
            assert_eq!(Facts::of(Class::Gpu).with_overrides(class.name()).unwrap(), facts);
        }
    }

    #[test]
    fn classes_by_vendor() {
        let ids =
            [(0x10de, Class::Nvidia), (0x1002, Class::Amd), (0x8086, Class::Intel), (0x106b, Class::Apple)];
        for (vendor, class) in ids {
            assert_eq!(Class::of_vendor(vendor, "a card"), class);
        }
        assert_eq!(Class::of_vendor(0, "Apple M3 Max"), Class::Apple);
        assert_eq!(Class::of_vendor(0x5143, "Adreno"), Class::Gpu);
    }

    #[test]
    fn processors_by_name() {
        let processors = |name| Facts::of_adapter(Class::Nvidia, name).cards().to_vec();
        assert_eq!(processors("NVIDIA H100 80GB HBM3"), [132]);
        assert_eq!(processors("NVIDIA GeForce RTX 3090 Ti"), [84]);
        assert_eq!(processors("NVIDIA GeForce RTX 4090 Laptop GPU"), [20, 60, 84, 132]);
        let told = Facts::of(Class::Amd).with_overrides("processors=96").unwrap();
        assert_eq!(told.cards(), [96]);
        assert!(Facts { processors: 2, ..Facts::of(Class::Cpu) }.cards().is_empty());
    }

    #[test]
    fn overrides_are_read_and_malformed_ones_refused() {
        let facts = Facts::of(Class::Cpu).with_overrides("nvidia, tile=64,fill=4096").unwrap();
        assert_eq!(facts, Facts { tile: 64, fill: 4096, ..Facts::of(Class::Nvidia) });
        assert_eq!(Facts::of(Class::Amd).with_overrides("tile=32").unwrap().class, Class::Amd);
        for (text, reason) in [
            ("nvidea", "there are cpu-shuffles, cpu, nvidia"),
            ("", "there are cpu-shuffles"),
            ("nvidia,", "there are cpu-shuffles"),
            ("nvidia,sides=64", "there are tile, fill"),
            ("tile=", "not a whole number"),
            ("tile=-64", "not a whole number"),
            ("tile=65", "32, 64 or 128"),
            ("queries=100", "a multiple of 64"),
            ("fill=0", "a number is 0"),
        ] {
            let error = Facts::of(Class::Cpu).with_overrides(text).unwrap_err().to_string();
            assert!(error.starts_with("WGRAD_ADAPTER_CLASS: `") && error.contains(reason), "{text}: {error}");
        }
    }

    /// A busy adapter is left alone, an idle one gets parts that are long enough.
    #[test]
    fn parts_fill_the_adapter() {
        for class in Class::ALL {
            let facts = Facts::of(class);
            for invocations in [8, 32, 64, 128, 256] {
                for groups in [0, 1, 7, 64, 1000, 1 << 20] {
                    for k in [1, 64, 1000, 1 << 20] {
                        let parts = facts.parts(groups, invocations, k);
                        let counted = u64::from(invocations.min(facts.side_by_side));
                        assert!(parts == 1 || parts * groups.max(1) * counted <= u64::from(facts.fill));
                        assert!(parts == 1 || k / parts >= u64::from(facts.part), "{class}");
                    }
                }
            }
        }
    }
}
