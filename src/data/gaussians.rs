//! Correlated Gaussians, whose mutual information and log-ratio are known.

use crate::error::Result;
use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// Pairs x, y of `d` standard normal coordinates each, coordinate i of x correlated by `rho` with coordinate i of y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaussians {
    /// Coordinates.
    pub d: usize,
    /// Correlation of each pair of coordinates, in (-1, 1).
    pub rho: f64,
}

impl Gaussians {
    /// Those of mutual information `nats`: I = -d/2 ln(1 - rho^2).
    #[must_use]
    pub fn with_information(d: usize, nats: f64) -> Self {
        Self { d, rho: (1.0 - (-2.0 * nats / d as f64).exp()).sqrt() }
    }

    /// `n` pairs, `[n, d]` each, from the next two tensors of `rng`.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn pairs(&self, gpu: &Gpu, n: usize, rng: &mut Rng) -> Result<[Tensor; 2]> {
        let x = gpu.normal([n, self.d], 0.0, 1.0, rng)?;
        let noise = gpu.normal([n, self.d], 0.0, 1.0, rng)?;
        let y =
            x.mul_scalar(self.rho as f32).add(&noise.mul_scalar((1.0 - self.rho * self.rho).sqrt() as f32));
        Ok([x, y])
    }

    /// Vectors whose dot products are the exact score ln p(y|x) / p(y), up to a number of x alone, which no softmax over y
    /// sees: `[n, d + 1]` each.
    ///
    /// The score is a x.y - b (|x|^2 + |y|^2) - d/2 ln(1 - rho^2) with a = rho / (1 - rho^2), b = rho^2 / (2 (1 - rho^2)).
    ///
    /// # Errors
    /// As [`Gaussians::pairs`].
    pub fn factors(&self, x: &Tensor, y: &Tensor) -> Result<[Tensor; 2]> {
        let [a, b] = self.coefficients();
        let n = x.shape()[0];
        let one = x.gpu().full([1, n], 1.0)?;
        let q = Tensor::concat_rows(&[&x.mul_scalar(a).transpose(), &one]).transpose();
        let squares = y.square().sum(&[1]).mul_scalar(-b).reshape([1, n]);
        Ok([q, Tensor::concat_rows(&[&y.transpose(), &squares]).transpose()])
    }

    /// The exact score of each pair `[n]`, whole.
    #[must_use]
    pub fn log_ratio(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let [a, b] = self.coefficients();
        let constant = -0.5 * self.d as f64 * (1.0 - self.rho * self.rho).ln();
        let squares = x.square().add(&y.square()).mul_scalar(b);
        x.mul(y).mul_scalar(a).sub(&squares).sum(&[1]).add_scalar(constant as f32)
    }

    fn coefficients(&self) -> [f32; 2] {
        let rest = 1.0 - self.rho * self.rho;
        [self.rho / rest, self.rho * self.rho / (2.0 * rest)].map(|v| v as f32)
    }
}
