//! The roofline: the rates that percentages refer to.

use super::Work;

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
