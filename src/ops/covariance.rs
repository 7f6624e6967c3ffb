//! Covariance of columns.

use super::batch_norm::{BatchNormOptions, batch_stats};
use super::unary::assert_f32;
use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = Source::new("covariance.wgsl", include_str!("../../shaders/covariance.wgsl"));
static CENTER: Kernel = SOURCE.kernel("covariance_center");
static BACKWARD: Kernel = SOURCE.kernel("covariance_backward");

params! { struct Params { n: u32, d: u32, s: f32 } }

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
        let &[n, d] = &**self.shape() else { panic!("covariance: takes [n, d], not {}", self.shape()) };
        assert_f32("covariance", &[self]);
        assert!(n > 1, "covariance: needs two rows; shape {}", self.shape());
        let params = Params { n: n as u32, d: d as u32, s: (1.0 / (n as f64 - 1.0).sqrt()) as f32 };
        let gpu = self.gpu();

        // The first row of the statistics is the mean of each column.
        let stats = batch_stats(self, &BatchNormOptions::train());
        let a = Tensor::alloc(gpu, "covariance", self.shape(), DType::F32);
        let elements = self.len() as u64;
        gpu.run(
            &CENTER,
            &[&a, self, &stats],
            &params,
            Grid::items(elements),
            Work::new(8 * elements, 2 * elements),
        );

        a.matmul_tn(&a).with_backward("covariance", &[self], &[&a], move |b| {
            let [a] = b.saved();
            let h = Tensor::alloc(a.gpu(), "covariance", b.dy.shape(), DType::F32);
            let elements = h.len() as u64;
            let work = Work::new(12 * elements, 2 * elements);
            a.gpu().run(&BACKWARD, &[&h, b.dy], &params, Grid::items(elements), work);
            vec![Some(a.matmul(&h))]
        })
    }
}
