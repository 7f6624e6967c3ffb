//! Layer normalisation over the last axis.

use super::row_kernel::{RowKernel, check_columns, rows_of};
use super::strips::Strips;
use crate::gpu::{Kernel, Source, Work, params};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = Source::new("layer_norm.wgsl", include_str!("../../shaders/layer_norm.wgsl"));
static FORWARD: RowKernel = RowKernel::new(&SOURCE, "layer_norm");
static BACKWARD: RowKernel = RowKernel::new(&SOURCE, "layer_norm_backward");
pub(super) static BACKWARD_STRIPS: Kernel = SOURCE.kernel("layer_norm_backward_strips");

params! { struct Params { rows: u32, c: u32, eps: f32 } }
params! { pub(super) struct ColumnParams { m: u32, c: u32, strips: u32, interleaved: u32 } }

impl Tensor {
    /// `gamma (x - mean) / sqrt(var + 1e-5) + beta` over the last axis, with the mean and biased variance of each row;
    /// `gamma` and `beta` are `[c]` for `x [.., c]`.
    ///
    /// Gradient: for `x`, `gamma` and `beta`. The first takes one launch, the other two together two more.
    ///
    /// # Panics
    /// If the shapes are not these.
    #[track_caller]
    #[must_use]
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor) -> Tensor {
        let (rows, c) = rows_of("layer_norm", self);
        check_columns("layer_norm", self, "gamma", gamma);
        check_columns("layer_norm", self, "beta", beta);
        let params = Params { rows: rows as u32, c: c as u32, eps: 1e-5 };
        let n = self.len() as u64;

        let y = Tensor::alloc(self.gpu(), "layer_norm", self.shape(), self.dtype());
        let stats = Tensor::alloc(self.gpu(), "layer_norm", &[rows, 2].into(), DType::F32);
        FORWARD.run(
            self.gpu(),
            &[&y, &stats, self, gamma, beta],
            &params,
            (rows, c),
            Work::new(2 * self.bytes() as u64, 8 * n),
        );

        y.with_backward("layer_norm", &[self, gamma, beta], &[self, gamma, &stats], move |b| {
            let [x, gamma, stats] = b.saved();
            let dx = b.needs(0).then(|| {
                let dx = Tensor::alloc(x.gpu(), "layer_norm", x.shape(), x.dtype());
                let work = Work::new(3 * x.bytes() as u64, 12 * n);
                BACKWARD.run(x.gpu(), &[&dx, b.dy, x, gamma, stats], &params, (rows, c), work);
                dx
            });
            if !b.needs(1) && !b.needs(2) {
                return vec![dx, None, None];
            }
            let (dbeta, dgamma) = affine_grads(b.dy, x, stats, rows, c);
            vec![dx, Some(dgamma), Some(dbeta)]
        })
    }
}

impl From<Strips> for ColumnParams {
    fn from(Strips { m, c, strips, interleaved }: Strips) -> Self {
        Self { m, c, strips, interleaved }
    }
}

/// Sums over the rows of `dy` and of `dy xhat`.
fn affine_grads(dy: &Tensor, x: &Tensor, stats: &Tensor, rows: usize, c: usize) -> (Tensor, Tensor) {
    let cut = Strips::for_sums(x.gpu(), rows, c);
    let parts = cut.parts(x.gpu(), "layer_norm");
    let n = x.len() as u64;
    x.gpu().run(
        &BACKWARD_STRIPS,
        &[&parts, dy, x, stats],
        &ColumnParams::from(cut),
        cut.grid(),
        Work::new(2 * x.bytes() as u64, 5 * n),
    );
    cut.add_up("layer_norm", &parts)
}
