//! Measures the roofline: a copy kernel and multiply-add kernels.

use std::time::Instant;

use super::pool::{Bind, Storage};
use super::{Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::error::Result;

static SOURCE: Source = source!("roofline.wgsl");
pub(super) static COPY: Kernel = SOURCE.kernel("copy");
pub(super) static MULTIPLY_ADD: Kernel = SOURCE.kernel("multiply_add");
static MATRIX_SOURCE: Source = source!("roofline_matrix.wgsl");
static MATRIX_MULTIPLY_ADD: Kernel = MATRIX_SOURCE.kernel("matrix_multiply_add");

uniforms! {
    pub(super) struct Uniforms { n: u32, rounds: u32 }
}

/// What the adapter reached on a copy and on multiply-adds: the roofline that percentages refer to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Bytes per second of a copy kernel (read + written) through memory.
    pub bytes_per_second: f64,
    /// Floating-point operations per second of an f32 multiply-add kernel.
    pub flops_per_second: f64,
    /// The same of matrix units with f16 operands and f32 sums, where the adapter has them.
    pub matrix_flops_per_second: Option<f64>,
}

impl Roofline {
    /// Percentage of the roofline: the least time the stated work can take here, over the time taken.
    #[must_use]
    pub fn percent(&self, work: Work, seconds: f64) -> f64 {
        let least =
            (work.bytes as f64 / self.bytes_per_second).max(work.flops as f64 / self.flops_per_second);
        100.0 * least / seconds
    }

    /// The roofline of kernels that multiply on matrix units (`on`), or of all others: [`Roofline::percent`] counts the
    /// former against the rate of those units.
    #[must_use]
    pub fn matrix_units(self, on: bool) -> Self {
        let matrix = self.matrix_flops_per_second.filter(|_| on);
        Self { flops_per_second: matrix.unwrap_or(self.flops_per_second), ..self }
    }

    /// Where the two roofs meet: with fewer floating-point operations a byte a kernel waits for memory.
    #[must_use]
    pub fn ridge(&self) -> f64 {
        self.flops_per_second / self.bytes_per_second
    }
}

impl Gpu {
    /// Measures this adapter's copy bandwidth and multiply-add rates: the best of five runs each, a second or so. Done
    /// once a device; not in its profile.
    ///
    /// # Errors
    /// The device's first error.
    pub fn roofline(&self) -> Result<Roofline> {
        if let Some(known) = self.0.roofline.get() {
            return Ok(*known);
        }
        let measured = self.unprofiled(|| self.measure_roofline())?;
        Ok(*self.0.roofline.get_or_init(|| measured))
    }

    fn measure_roofline(&self) -> Result<Roofline> {
        let (copies, rounds) = (self.facts().roofline_copies, self.facts().roofline_rounds[0]);
        let (x, y) = (self.words("roofline", 4 * copies)?, self.words("roofline", 4 * copies)?);
        let items = copies / 8;
        let copy = self.best(&COPY, &[&y, &x], Uniforms { n: copies, rounds }, Grid::items(copies))?;
        let multiply_add =
            self.best(&MULTIPLY_ADD, &[&y, &x], Uniforms { n: items, rounds }, Grid::items(items))?;
        Ok(Roofline {
            bytes_per_second: 32.0 * f64::from(copies) / copy,
            flops_per_second: 64.0 * f64::from(items) * f64::from(rounds) / multiply_add,
            matrix_flops_per_second: self.matrix_rate()?,
        })
    }

    /// FLOP/s of matrix units. Tiles come from registers and the instructions are those of a subgroup, which on some
    /// GPUs (NVIDIA's since Hopper) reach a part of what the vendor states.
    fn matrix_rate(&self) -> Result<Option<f64>> {
        /// Enough to fill 150 cores twice over, whatever a core holds; 8 launches fit a second on any of them.
        const GROUPS: u32 = 2400;
        let tile = self.info().matrix_tiles.first().filter(|_| !self.info().emulates_matrix_units);
        let Some(&tile) = tile else { return Ok(None) };
        let chains = GROUPS * 4 * 8;
        let x = self.words("roofline", 2 * tile * tile)?;
        let values: Vec<u16> =
            (0..4 * tile * tile).map(|i| (i % 2 * 0x8000 + 0x2c00 + i * 37 % 1024) as u16).collect();
        self.upload(&x, bytemuck::cast_slice(&values)); // f16 from 1/16 to 1/8, either sign
        let y = self.words("roofline", GROUPS * 4 * tile * tile)?;
        let rounds = self.facts().roofline_rounds[1];
        let p = Uniforms { n: GROUPS, rounds };
        let seconds = self.best(&MATRIX_MULTIPLY_ADD, &[&y, &Half(&x)], p, Grid::groups(GROUPS))?;
        Ok(Some(2.0 * f64::from(chains) * f64::from(rounds) * f64::from(tile).powi(3) / seconds))
    }

    /// Bytes per second (read + written) of a kernel that copies `bytes`, rounded to whole KiB, again and again: small ones from one cache
    /// to another, as launches of that size see it, their cost included. The best of five runs of some milliseconds each.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge), or the device's first error.
    pub fn bandwidth(&self, bytes: u64) -> Result<f64> {
        let n = (bytes.div_ceil(1024) * 64) as u32;
        let (x, y) = (self.words("bandwidth", 4 * n)?, self.words("bandwidth", 4 * n)?);
        self.unprofiled(|| {
            let p = Uniforms { n, rounds: 0 };
            let time = |launches: u32| -> Result<f64> {
                self.sync()?;
                let start = Instant::now();
                for _ in 0..launches {
                    self.run(&COPY, &[&y, &x], &p, Grid::items(n), Work::default());
                }
                self.sync()?;
                Ok(start.elapsed().as_secs_f64() / f64::from(launches))
            };
            time(1)?; // compiles, and touches the memory
            let launches = (0.005 / time(4)?).clamp(1.0, 500.0) as u32;
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                best = best.min(time(launches)?);
            }
            Ok(32.0 * f64::from(n) / best)
        })
    }

    pub(super) fn words(&self, op: &str, words: u32) -> Result<Storage> {
        self.allocate(op, words as usize)
    }

    /// The shortest of five launches, in seconds.
    fn best(&self, kernel: &Kernel, tensors: &[&dyn Bind], p: Uniforms, grid: Grid) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            self.sync()?;
            let start = Instant::now();
            self.run(kernel, tensors, &p, grid, Work::default());
            self.sync()?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    }
}

/// Memory of f16 values.
pub(super) struct Half<'a>(pub(super) &'a Storage);

impl Bind for Half<'_> {
    fn storage(&self) -> &Storage {
        self.0
    }

    fn is_half(&self) -> bool {
        true
    }
}
