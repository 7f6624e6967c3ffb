//! Mean cross-entropy of logits against labels, fused with the softmax.

use super::elementwise::assert_f32;
use super::row_kernel::{RowKernel, rows_of};
use crate::gpu::{Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("softmax_cross_entropy.wgsl");
static FORWARD: RowKernel = RowKernel::lanes(&SOURCE, "softmax_cross_entropy");
static BACKWARD: RowKernel = RowKernel::lanes(&SOURCE, "softmax_cross_entropy_backward");

uniforms! { struct Uniforms { rows: u32, c: u32, inv_tau: f32, grad_scale: f32, nan: f32 } }

/// What [`Tensor::softmax_cross_entropy_rows`] finds for each row. Constants: no graph leads to them.
#[derive(Debug, Clone)]
pub struct RowLosses {
    /// `lse - x[label] / tau`, shape `[n]`; NaN where the label is out of range.
    pub losses: Tensor,
    /// `ln sum e^(x / tau)`, shape `[n]`.
    pub lse: Tensor,
}

impl Tensor {
    /// Mean over the rows of `-ln softmax(x / tau)[label]`, for logits `[n, c]` and `u32` labels `[n]`: shape `[]`.
    ///
    /// One kernel over the logits forward and one backward; neither stores probabilities. (The mean of the `n` row losses
    /// is a reduction after the first.) A label of `c` or above reads nothing: its row's loss and gradient are NaN, and so
    /// is the mean.
    ///
    /// Gradient: `(softmax(x / tau) - onehot(label)) dloss / (n tau)`.
    ///
    /// # Panics
    /// If the shapes are not `[n, c]` and `[n]` with `n > 0`, or `tau` is not above zero.
    #[track_caller]
    #[must_use]
    pub fn softmax_cross_entropy(&self, labels: &Tensor, tau: f32) -> Tensor {
        let (rows, saved) = forward(self, labels, tau);
        let loss = rows.losses.mean_all();
        loss.with_backward("softmax_cross_entropy", &[self], &[self, labels, &saved], move |b| {
            let [x, labels, saved] = b.saved();
            let dx = Tensor::alloc(x.gpu(), "softmax_cross_entropy", x.shape(), DType::F32);
            let n = x.len() as u64;
            let inputs: [&dyn crate::gpu::Bind; 5] = [&dx, b.dy, x, labels, saved];
            BACKWARD.run(x.gpu(), &inputs, &uniforms(x, tau), rows_of("", x), Work::new(8 * n, 5 * n));
            vec![Some(dx)]
        })
    }

    /// The loss of each row and its log-sum-exp, by the same kernel, without a graph.
    ///
    /// # Panics
    /// As [`Tensor::softmax_cross_entropy`].
    #[track_caller]
    #[must_use]
    pub fn softmax_cross_entropy_rows(&self, labels: &Tensor, tau: f32) -> RowLosses {
        forward(self, labels, tau).0
    }
}

fn uniforms(x: &Tensor, tau: f32) -> Uniforms {
    let (rows, c) = (x.shape()[0], x.shape()[1]);
    let grad_scale = 1.0 / (rows as f32 * tau);
    Uniforms { rows: rows as u32, c: c as u32, inv_tau: 1.0 / tau, grad_scale, nan: f32::NAN }
}

/// The row losses, and what backward needs: maximum and `ln sum e^((x - maximum) / tau)` of each row, `[n, 2]`.
#[track_caller]
fn forward(x: &Tensor, labels: &Tensor, tau: f32) -> (RowLosses, Tensor) {
    assert_f32("softmax_cross_entropy", &[x]);
    let fits = x.shape().rank() == 2 && **labels.shape() == x.shape()[..1] && labels.dtype() == DType::U32;
    assert!(
        fits && !labels.is_empty(),
        "softmax_cross_entropy: takes f32 [n, c] and u32 [n] with n > 0, not {x} and {labels}"
    );
    assert!(tau > 0.0, "softmax_cross_entropy: temperature {tau} is not above zero");
    let (rows, c) = rows_of("softmax_cross_entropy", x);
    let alloc = |shape: &[usize]| Tensor::alloc(x.gpu(), "softmax_cross_entropy", &shape.into(), DType::F32);
    let (losses, lse, saved) = (alloc(&[rows]), alloc(&[rows]), alloc(&[rows, 2]));
    let n = x.len() as u64;
    let work = Work::new(4 * n + 20 * rows as u64, 6 * n);
    FORWARD.run(x.gpu(), &[&losses, &lse, &saved, x, labels], &uniforms(x, tau), (rows, c), work);
    (RowLosses { losses, lse }, saved)
}
