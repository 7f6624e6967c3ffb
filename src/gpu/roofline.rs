//! Measures the roofline: a copy kernel and a multiply-add kernel.

use std::time::Instant;

use super::{Gpu, Grid, Kernel, Roofline, Source, Work, params};
use crate::error::Result;

static SOURCE: Source = Source::new("roofline.wgsl", include_str!("../../shaders/roofline.wgsl"));
static COPY: Kernel = SOURCE.kernel("copy");
static MULTIPLY_ADD: Kernel = SOURCE.kernel("multiply_add");

params! {
    struct Params { n: u32, rounds: u32 }
}

impl Gpu {
    /// Measures this adapter's copy bandwidth and f32 multiply-add rate: the best of five runs each, a second or less.
    ///
    /// # Errors
    /// The device's first error.
    pub fn roofline(&self) -> Result<Roofline> {
        let (copies, rounds) = if self.is_cpu() { (1_u32 << 21, 64) } else { (1 << 25, 1024) };
        let (x, y) = (
            self.allocate("roofline", 4 * copies as usize)?,
            self.allocate("roofline", 4 * copies as usize)?,
        );
        let time = |kernel: &Kernel, n: u32| -> Result<f64> {
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                self.sync()?;
                let start = Instant::now();
                self.run(kernel, &[&y, &x], &Params { n, rounds }, Grid::items(n), Work::default());
                self.sync()?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            Ok(best)
        };
        let items = copies / 8;
        Ok(Roofline {
            bytes_per_second: 32.0 * f64::from(copies) / time(&COPY, copies)?,
            flops_per_second: 64.0 * f64::from(items) * f64::from(rounds) / time(&MULTIPLY_ADD, items)?,
        })
    }
}
