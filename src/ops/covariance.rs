//! Covariance of columns. Results are `f32`; `x` may be `f16`, and its gradient is then.

use super::batch_norm::{BatchNormOptions, batch_stats};
use super::elementwise::assert_float;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("covariance.wgsl");
static CENTER: Kernel = SOURCE.kernel("covariance_center");
static BACKWARD: Kernel = SOURCE.kernel("covariance_backward");
static PENALTY: Kernel = SOURCE.kernel("covariance_penalty");
static PENALTY_BACKWARD: Kernel = SOURCE.kernel("covariance_penalty_backward");
static HINGE: Kernel = SOURCE.kernel("variance_hinge");
static HINGE_BACKWARD: Kernel = SOURCE.kernel("variance_hinge_backward");

uniforms! { struct Uniforms { n: u32, d: u32, s: f32 } }
uniforms! { struct HingeUniforms { n: u32, d: u32, gamma: f32, unbias: f32 } }

impl Tensor {
    /// Unbiased covariance of the columns of `x [n, d]`: `(x - mean)ᵀ (x - mean) / (n - 1)`, shape `[d, d]`.
    ///
    /// Gradient: `(x - mean) (dy + dyᵀ) / (n - 1)`. One centred copy of `x` is kept for it.
    ///
    /// # Panics
    /// If the shape is not `[n, d]` with `n > 1`.
    #[track_caller]
    #[must_use]
    pub fn covariance(&self) -> Tensor {
        let x = &widened("covariance", self);
        let (a, uniforms) = centred("covariance", x);
        a.matmul_tn(&a).with_backward("covariance", &[x], &[&a], move |b| {
            let [a] = b.saved();
            let h = Tensor::alloc(a.gpu(), "covariance", b.dy.shape(), DType::F32);
            let elements = h.len() as u64;
            let work = Work::new(12 * elements, 2 * elements);
            a.gpu().run(&BACKWARD, &[&h, b.dy], &uniforms, Grid::items(elements), work);
            vec![Some(a.matmul(&h))]
        })
    }

    /// VICReg's covariance term of `x [n, d]`: the squares of the covariances off the diagonal, summed and divided by `d`;
    /// a scalar (Bardes et al. 2022, "VICReg", eq. 3-4).
    ///
    /// Gradient: `4 / (d (n - 1)) (x - mean) offdiag(cov)`: one product more. A centred copy of `x` and the covariance
    /// are kept for it.
    ///
    /// # Panics
    /// If the shape is not `[n, d]` with `n > 1`.
    #[track_caller]
    #[must_use]
    pub fn covariance_penalty(&self) -> Tensor {
        let x = &widened("covariance_penalty", self);
        let (a, uniforms) = centred("covariance_penalty", x);
        let a = a.stop_gradient();
        let cov = a.matmul_tn(&a);
        let terms = Tensor::alloc(self.gpu(), "covariance_penalty", &[cov.shape()[0]].into(), DType::F32);
        let elements = cov.len() as u64;
        let work = Work::new(4 * elements, 2 * elements);
        self.gpu().run(&PENALTY, &[&terms, &cov], &uniforms, Grid::items(terms.len() as u64), work);
        terms.sum_all().with_backward("covariance_penalty", &[x], &[&a, &cov], move |b| {
            let [a, cov] = b.saved();
            let h = Tensor::alloc(a.gpu(), "covariance_penalty", cov.shape(), DType::F32);
            let elements = h.len() as u64;
            let work = Work::new(8 * elements, 2 * elements);
            a.gpu().run(&PENALTY_BACKWARD, &[&h, cov, b.dy], &uniforms, Grid::items(elements), work);
            vec![Some(a.matmul(&h))]
        })
    }

    /// VICReg's variance term of `x [n, d]`: the mean over columns of `max(0, gamma - sqrt(var + eps))`, `var` unbiased; a
    /// scalar (Bardes et al. 2022, "VICReg", eq. 1-2, with gamma = 1 and eps = 1e-4).
    ///
    /// Gradient: `-(x - mean) / (d (n - 1) std)` in the columns whose `std` is below `gamma`, one launch.
    ///
    /// # Panics
    /// If the shape is not `[n, d]` with `n > 1`.
    #[track_caller]
    #[must_use]
    pub fn variance_hinge(&self, gamma: f32, eps: f32) -> Tensor {
        let x = &widened("variance_hinge", self);
        let [n, d] = rows("variance_hinge", x);
        let gpu = self.gpu();
        let n64 = n as f64;
        // The statistics hold 1 / sqrt(biased var + e). With e = eps (n - 1) / n that is sqrt(n / (n - 1)) / std.
        let e = (f64::from(eps) * (n64 - 1.0) / n64) as f32;
        let stats = batch_stats(x, &BatchNormOptions::train().eps(e));
        let unbias = (n64 / (n64 - 1.0)).sqrt() as f32;
        let uniforms = HingeUniforms { n: n as u32, d: d as u32, gamma, unbias };
        let terms = Tensor::alloc(gpu, "variance_hinge", &[d].into(), DType::F32);
        let work = Work::new(8 * d as u64, 2 * d as u64);
        gpu.run(&HINGE, &[&terms, &stats], &uniforms, Grid::items(d as u64), work);
        terms.sum_all().with_backward("variance_hinge", &[x], &[x, &stats], move |b| {
            let [x, stats] = b.saved();
            let dx = Tensor::alloc(x.gpu(), "variance_hinge", x.shape(), DType::F32);
            let elements = x.len() as u64;
            let work = Work::new(8 * elements, 2 * elements);
            x.gpu().run(&HINGE_BACKWARD, &[&dx, x, stats, b.dy], &uniforms, Grid::items(elements), work);
            vec![Some(dx)]
        })
    }
}

/// `f16` is taken as `f32`, in which all of this is computed; the gradient is rounded once.
#[track_caller]
fn widened(op: &str, x: &Tensor) -> Tensor {
    assert_float(op, &[x]);
    x.cast(DType::F32)
}

#[track_caller]
fn rows(op: &str, x: &Tensor) -> [usize; 2] {
    let &[n, d] = &**x.shape() else { panic!("{op}: takes [n, d], not {}", x.shape()) };
    assert!(n > 1, "{op}: needs two rows; shape {}", x.shape());
    [n, d]
}

/// `(x - mean) / sqrt(n - 1)`.
#[track_caller]
fn centred(op: &str, x: &Tensor) -> (Tensor, Uniforms) {
    let [n, d] = rows(op, x);
    let uniforms = Uniforms { n: n as u32, d: d as u32, s: (1.0 / (n as f64 - 1.0).sqrt()) as f32 };
    // The first row of the statistics is the mean of each column.
    let stats = batch_stats(x, &BatchNormOptions::train());
    let a = Tensor::alloc(x.gpu(), op, x.shape(), DType::F32);
    let elements = x.len() as u64;
    let work = Work::new(8 * elements, 2 * elements);
    x.gpu().run(&CENTER, &[&a, x, &stats], &uniforms, Grid::items(elements), work);
    (a, uniforms)
}
