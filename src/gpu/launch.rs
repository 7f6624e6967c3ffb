//! How large a launch is, what work it states, and how a large one is cut.

use super::pool::Bind;
use super::text::Variant;
use super::{Gpu, Kernel, Uniforms};

/// Number of workgroups of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// At least this many invocations, in workgroups of the kernel's own size.
    Items(u64),
    /// Exactly this many workgroups (folding may add a few; kernels check their flat index).
    Groups(u64),
}

impl Grid {
    /// One invocation for each of `n` items.
    #[must_use]
    pub fn items(n: impl TryInto<u64>) -> Self {
        Self::Items(n.try_into().unwrap_or(u64::MAX))
    }

    /// `n` workgroups.
    #[must_use]
    pub fn groups(n: impl TryInto<u64>) -> Self {
        Self::Groups(n.try_into().unwrap_or(u64::MAX))
    }

    pub(super) fn count(self, workgroup_size: u32) -> u64 {
        match self {
            Self::Items(n) => n.div_ceil(u64::from(workgroup_size)),
            Self::Groups(n) => n,
        }
    }
}

/// Folds `groups` workgroups into three dimensions of at most `limit` each, adding as few as possible.
///
/// Every launch goes through here; kernels get their flat index back from `shaders/lib/grid.wgsl`. `None` if it does not
/// fit or the flat index would pass 2^32.
pub(super) fn fold(groups: u64, limit: u32) -> Option<[u32; 3]> {
    let limit = u64::from(limit);
    let z = groups.div_ceil(limit * limit).max(1);
    let y = groups.div_ceil(z).div_ceil(limit).max(1);
    let x = groups.div_ceil(y * z);
    (z <= limit && x * y * z <= u64::from(u32::MAX)).then_some([x as u32, y as u32, z as u32])
}

/// Memory traffic and arithmetic that a launch needs at least. Profiles, benches and reports use the same count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes read once plus bytes written once.
    pub bytes: u64,
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
}

impl Work {
    /// `bytes` moved and `flops` done.
    #[must_use]
    pub fn new(bytes: impl TryInto<u64>, flops: impl TryInto<u64>) -> Self {
        Self { bytes: bytes.try_into().unwrap_or(0), flops: flops.try_into().unwrap_or(0) }
    }
}

impl Gpu {
    /// Operations of a launch at most, so that it takes [`Facts::launch_seconds`](super::Facts::launch_seconds) where the kernel
    /// reaches a `share` of the rate of multiply-adds.
    pub(crate) fn launch_flops(&self, share: f64) -> u64 {
        (self.tested().flops_per_second * share * self.facts().launch_seconds).max(1.0) as u64
    }

    /// [`Gpu::run`] in as many launches as [`Gpu::launch_flops`] asks for. The kernel adds a number to its workgroup's index, the
    /// workgroups of earlier launches; `uniforms` puts it into the uniforms. The bits are those of one launch.
    #[track_caller]
    pub(crate) fn run_in_parts<P: Uniforms>(
        &self,
        kernel: &Kernel,
        tensors: &[&dyn Bind],
        uniforms: impl Fn(u32) -> P,
        grid: Grid,
        work: Work,
        share: f64,
    ) {
        let parts = work.flops.div_ceil(self.launch_flops(share));
        if parts <= 1 {
            return self.run(kernel, tensors, &uniforms(0), grid, work);
        }
        let variant = Variant::of(tensors.iter().map(|t| t.is_half()));
        let groups = match self.compiled(kernel, variant) {
            Ok(compiled) => grid.count(compiled.workgroup_size),
            Err(error) => return self.latch(error),
        };
        let most = groups.div_ceil(parts).max(1);
        for first in (0..groups).step_by(most as usize) {
            let count = most.min(groups - first);
            let part = |all: u64| (u128::from(all) * u128::from(count) / u128::from(groups)) as u64;
            let work = Work::new(part(work.bytes), part(work.flops));
            self.run(kernel, tensors, &uniforms(first as u32), Grid::groups(count), work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folding_covers_all_and_adds_little() {
        for groups in [0, 1, 65_535, 65_536, 65_537, 131_071, 10_000_019, 4_000_000_007] {
            let [x, y, z] = fold(groups, 65_535).unwrap().map(u64::from);
            assert!(x * y * z >= groups && x <= 65_535 && y <= 65_535 && z <= 65_535);
            assert!(x * y * z - groups <= y * z, "{groups}: {x} {y} {z}");
        }
        assert_eq!(fold(1 << 33, 65_535), None);
    }
}
