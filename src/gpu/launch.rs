//! How large a launch is, and what work it states.

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
