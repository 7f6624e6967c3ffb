//! Measures the roofline: a copy kernel and multiply-add kernels.

use std::time::Instant;

use super::clock::{Clock, Stamped};
use super::pool::{Bind, Storage};
use super::roofline::Roofline;
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

impl Gpu {
    /// Measures this adapter's copy bandwidth and multiply-add rates by [`Gpu::clock`]: the best of five runs each, of some 20 ms or a
    /// launch, a second or so. Done once a device; not in its profile.
    ///
    /// # Errors
    /// The device's first error.
    pub fn roofline(&self) -> Result<Roofline> {
        Ok(self.rates_and_clock()?.0)
    }

    /// By which clock the roofline was measured and [`Gpu::elapsed`] tells times: timestamps where the adapter has them and
    /// they agree with the host's clock about a run of copies. Measures the roofline if that was not done yet.
    ///
    /// # Errors
    /// The device's first error.
    pub fn clock(&self) -> Result<Clock> {
        Ok(self.rates_and_clock()?.1.clone())
    }

    /// Takes roofline and clock of `other`, a device of the same adapter, instead of measuring them.
    ///
    /// # Errors
    /// The first error of `other`.
    pub fn share_rates_of(&self, other: &Gpu) -> Result<()> {
        let known = other.rates_and_clock()?.clone();
        self.0.roofline.get_or_init(|| known);
        Ok(())
    }

    fn rates_and_clock(&self) -> Result<&(Roofline, Clock)> {
        if let Some(known) = self.0.roofline.get() {
            return Ok(known);
        }
        let measured = self.measure_roofline()?;
        Ok(self.0.roofline.get_or_init(|| measured))
    }

    fn measure_roofline(&self) -> Result<(Roofline, Clock)> {
        let (copies, rounds) = (self.facts().roofline_copies, self.facts().roofline_rounds[0]);
        let (x, y) = (self.words("roofline", 4 * copies)?, self.words("roofline", 4 * copies)?);
        let items = copies / 8;
        let copy = self.best(&COPY, &[&y, &x], Uniforms { n: copies, rounds }, Grid::items(copies))?;
        let multiply_add =
            self.best(&MULTIPLY_ADD, &[&y, &x], Uniforms { n: items, rounds }, Grid::items(items))?;
        let clock = copy.clock();
        let roofline = Roofline {
            bytes_per_second: 32.0 * f64::from(copies) / copy.seconds(&clock),
            flops_per_second: 64.0 * f64::from(items) * f64::from(rounds) / multiply_add.seconds(&clock),
            matrix_flops_per_second: self.matrix_rate(&clock)?,
        };
        Ok((roofline, clock))
    }

    /// FLOP/s of matrix units. Tiles come from registers and the instructions are those of a subgroup, which on some
    /// GPUs (NVIDIA's since Hopper) reach a part of what the vendor states.
    fn matrix_rate(&self, clock: &Clock) -> Result<Option<f64>> {
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
        let seconds =
            self.best(&MATRIX_MULTIPLY_ADD, &[&y, &Half(&x)], p, Grid::groups(GROUPS))?.seconds(clock);
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

    /// The shortest of five runs by each clock, of as many launches as take about 20 ms.
    fn best(&self, kernel: &Kernel, tensors: &[&dyn Bind], p: Uniforms, grid: Grid) -> Result<Best> {
        let time = |launches: u32| {
            self.stamped(|| (0..launches).for_each(|_| self.run(kernel, tensors, &p, grid, Work::default())))
        };
        time(1)?; // compiles, and touches the memory
        let launches = (0.02 / time(1)?.0).clamp(1.0, 64.0) as u32;
        let mut runs = vec![];
        for _ in 0..5 {
            runs.push(time(launches)?);
        }
        Ok(Best { launches: f64::from(launches), runs })
    }
}

/// Runs of a kernel: seconds by the host's clock, and by timestamps.
struct Best {
    launches: f64,
    runs: Vec<(f64, Option<Stamped>)>,
}

impl Best {
    /// The clock that may be trusted after these runs: judged by the one that the host was disturbed in the least.
    fn clock(&self) -> Clock {
        let least = self.runs.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        least.map_or_else(|| Clock::judged(0.0, None), |(host, stamped)| Clock::judged(*host, *stamped))
    }

    /// Seconds of a launch by a clock.
    fn seconds(&self, clock: &Clock) -> f64 {
        let by = |(host, stamped): &(f64, Option<Stamped>)| match (clock, stamped) {
            (Clock::Timestamps, Some(stamped)) if stamped.untimed == 0 => stamped.seconds,
            _ => *host,
        };
        self.runs.iter().map(by).fold(f64::INFINITY, f64::min) / self.launches
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
