//! Softmax and its logarithm over the last axis.

use super::row_kernel::{RowKernel, rows_of};
use crate::gpu::{Source, Work, source, uniforms};
use crate::tensor::Tensor;

static SOURCE: Source = source!("softmax.wgsl");
static SOFTMAX: RowKernel = RowKernel::lanes(&SOURCE, "softmax");
static SOFTMAX_BACKWARD: RowKernel = RowKernel::lanes(&SOURCE, "softmax_backward");
static LOG_SOFTMAX: RowKernel = RowKernel::lanes(&SOURCE, "log_softmax");
static LOG_SOFTMAX_BACKWARD: RowKernel = RowKernel::lanes(&SOURCE, "log_softmax_backward");

uniforms! { struct Uniforms { rows: u32, c: u32, inv_tau: f32 } }

impl Tensor {
    /// `e^(x / tau) / sum e^(x / tau)` over the last axis; `softmax(0.1)`, or `softmax(None)` for `tau = 1`.
    ///
    /// Gradient: `y (dy - sum y dy) / tau`.
    ///
    /// # Panics
    /// If the shape is `[]`, or `tau` is not above zero.
    #[track_caller]
    #[must_use]
    pub fn softmax(&self, tau: impl Into<Option<f32>>) -> Tensor {
        run("softmax", &SOFTMAX, &SOFTMAX_BACKWARD, self, tau.into())
    }

    /// `x / tau - ln sum e^(x / tau)` over the last axis; `log_softmax(0.1)`, or `log_softmax(None)` for `tau = 1`.
    ///
    /// Gradient: `(dy - e^y sum dy) / tau`.
    ///
    /// # Panics
    /// If the shape is `[]`, or `tau` is not above zero.
    #[track_caller]
    #[must_use]
    pub fn log_softmax(&self, tau: impl Into<Option<f32>>) -> Tensor {
        run("log_softmax", &LOG_SOFTMAX, &LOG_SOFTMAX_BACKWARD, self, tau.into())
    }
}

/// Launches `forward`, and `backward` when its turn comes: both keep only `y`.
#[track_caller]
fn run(
    op: &'static str,
    forward: &'static RowKernel,
    backward: &'static RowKernel,
    x: &Tensor,
    tau: Option<f32>,
) -> Tensor {
    let tau = tau.unwrap_or(1.0);
    assert!(tau > 0.0, "{op}: temperature {tau} is not above zero");
    let (rows, c) = rows_of(op, x);
    let uniforms = Uniforms { rows: rows as u32, c: c as u32, inv_tau: 1.0 / tau };
    let n = x.len() as u64;

    let y = Tensor::alloc(x.gpu(), op, x.shape(), x.dtype());
    forward.run(x.gpu(), &[&y, x], &uniforms, (rows, c), Work::new(2 * x.bytes() as u64, 8 * n));

    y.clone().with_backward(op, &[x], &[&y], move |b| {
        let [y] = b.saved();
        let dx = Tensor::alloc(y.gpu(), op, y.shape(), y.dtype());
        backward.run(y.gpu(), &[&dx, b.dy, y], &uniforms, (rows, c), Work::new(3 * y.bytes() as u64, 5 * n));
        vec![Some(dx)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gpu;

    /// Every form of a row kernel gives what the specification says, whichever the adapter would choose.
    #[test]
    fn all_forms_agree() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for (rows, c) in [(1, 1), (9, 5), (17, 64), (3, 257), (65, 300)] {
            let x: Vec<f32> = (0..rows * c).map(|i| (i * 31 % 101) as f32 * 0.1 - 5.0).collect();
            let x64: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            let want = crate::reference::softmax::log_softmax(&x64, c, 0.5);
            let x = gpu.tensor(&x, [rows, c]).unwrap();
            let uniforms = Uniforms { rows: rows as u32, c: c as u32, inv_tau: 2.0 };
            LOG_SOFTMAX.each_form(&gpu, &uniforms, (rows, c), |form, _, launch| {
                let y = x.full_like(f32::NAN);
                launch(&[&y, &x]);
                for (got, want) in y.to_vec().unwrap().iter().zip(&want) {
                    assert!((f64::from(*got) - want).abs() <= 1e-5, "{form}: {got} is not {want}");
                }
            });
        }
    }
}
