//! Limits other than those of the adapter, for tests: smaller machines, and matrix units, on the one at hand.

use super::AdapterInfo;
use crate::error::{Error, Result};

/// Which limits a device is opened with, instead of those that its adapter has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lowered {
    /// WebGPU's defaults, which every browser and driver has.
    pub(super) webgpu: bool,
    /// Workgroups in a dimension of a launch.
    pub(super) workgroups: Option<u32>,
    /// Invocations of a subgroup that kernels for matrix units make their workgroups for, whatever the device takes.
    pub(super) subgroup: Option<u32>,
    /// Emulated matrix units of 16 x 16.
    pub(super) matrix: bool,
}

impl Lowered {
    /// Reads `WGRAD_LIMITS`: items between commas, each `webgpu`, `workgroups=<number>`, `subgroup=<number>` or
    /// `matrix=emulated`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut lowered = Self::default();
        for item in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
            match item.split_once('=').map(|(name, n)| (name, n.parse())) {
                None if item == "webgpu" => lowered.webgpu = true,
                _ if item == "matrix=emulated" => lowered.matrix = true,
                Some(("workgroups", Ok(n))) => lowered.workgroups = Some(n),
                Some(("subgroup", Ok(n))) => lowered.subgroup = Some(n),
                _ => {
                    let message = format!(
                        "WGRAD_LIMITS: `{item}`: not webgpu, workgroups=<number>, subgroup=<number> or matrix=emulated"
                    );
                    return Err(Error::Argument(message));
                }
            }
        }
        Ok(lowered)
    }

    /// The subgroup that kernels for matrix units make their workgroups for, if it was set: for tiles of `tile`, an invocation of a
    /// smaller workgroup would stage more than it has registers for.
    pub(super) fn subgroup_for(self, tile: Option<u32>) -> Result<Option<u32>> {
        let least = tile.unwrap_or(16) / 2;
        match self.subgroup {
            Some(n) if !n.is_power_of_two() || n < least => Err(Error::Argument(format!(
                "subgroups of {n} invocations: a power of two, at least {least}"
            ))),
            fits => Ok(fits),
        }
    }

    /// The limits of a device on an adapter that has `own`.
    pub(super) fn of(self, own: &wgpu::Limits) -> Result<wgpu::Limits> {
        let mut limits = own.clone();
        if self.webgpu {
            limits = wgpu::Limits::default().or_worse_values_from(own);
        }
        if let Some(n) = self.workgroups {
            let most = limits.max_compute_workgroups_per_dimension;
            if n == 0 || n > most {
                let message = format!("{n} workgroups in a dimension: not within 1..={most}");
                return Err(Error::Argument(message));
            }
            limits.max_compute_workgroups_per_dimension = n;
        }
        Ok(limits)
    }

    /// Says on stderr what differs from the adapter.
    pub(super) fn tell(self, info: &AdapterInfo) {
        let webgpu = self.webgpu.then(|| "WebGPU's defaults".to_owned());
        let workgroups = self.workgroups.map(|n| format!("{n} workgroups in a dimension"));
        let subgroup = self.subgroup.map(|n| format!("matrix kernels for subgroups of {n}"));
        let matrix = self.matrix.then(|| "emulated matrix units".to_owned());
        let words: Vec<_> = webgpu.into_iter().chain(workgroups).chain(subgroup).chain(matrix).collect();
        if !words.is_empty() {
            eprintln!("wgrad: the device has {}, not what {} has", words.join(" and "), info.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_malformed_ones_refused() {
        let lowered = |webgpu, workgroups| Lowered { webgpu, workgroups, ..Lowered::default() };
        assert_eq!(Lowered::parse("").unwrap(), Lowered::default());
        assert_eq!(Lowered::parse("webgpu").unwrap(), lowered(true, None));
        assert_eq!(Lowered::parse("webgpu, workgroups=100").unwrap(), lowered(true, Some(100)));
        for wrong in ["web", "webgpu,", "workgroups", "workgroups=", "workgroups=-1", "buffers=8"] {
            let error = Lowered::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("not webgpu, workgroups="), "{wrong}: {error}");
        }
    }

    #[test]
    fn subgroups_that_no_kernel_can_take_are_refused() {
        let subgroup = |n, tile| Lowered { subgroup: n, ..Lowered::default() }.subgroup_for(tile);
        for (n, tile) in [(None, None), (Some(4), Some(8)), (Some(8), Some(16)), (Some(64), None)] {
            assert_eq!(subgroup(n, tile).unwrap(), n);
        }
        for (n, tile) in [(0, Some(8)), (12, Some(8)), (2, Some(8)), (4, Some(16)), (4, None)] {
            assert!(subgroup(Some(n), tile).unwrap_err().to_string().contains("a power of two, at least"));
        }
    }

    #[test]
    fn limits_are_lowered_and_never_raised() {
        let own = wgpu::Limits {
            max_compute_workgroup_storage_size: 8192,
            max_buffer_size: 1 << 40,
            ..Default::default()
        };
        let webgpu = Lowered { webgpu: true, workgroups: Some(100), ..Lowered::default() }.of(&own).unwrap();
        assert_eq!(webgpu.max_compute_workgroup_storage_size, 8192);
        assert_eq!(webgpu.max_buffer_size, 256 << 20);
        assert_eq!(webgpu.max_compute_workgroups_per_dimension, 100);
        for n in [0, 65_536] {
            assert!(Lowered { workgroups: Some(n), ..Lowered::default() }.of(&own).is_err());
        }
    }
}
