//! Large launches, cut into parts that end before a driver's time-out.

use super::launch::{Grid, Work};
use super::pool::Bind;
use super::text::Variant;
use super::{Gpu, Kernel, Uniforms};

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
