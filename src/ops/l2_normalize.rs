//! Rows scaled to unit length.

use super::row_kernel::{RowKernel, rows_of};
use crate::gpu::{Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("l2_normalize.wgsl");
static FORWARD: RowKernel = RowKernel::lanes(&SOURCE, "l2_normalize");
static BACKWARD: RowKernel = RowKernel::lanes(&SOURCE, "l2_normalize_backward");

/// Norms below this divide as if they were this.
pub(super) const EPS: f32 = 1e-12;

uniforms! { struct Uniforms { rows: u32, c: u32, eps: f32 } }

impl Tensor {
    /// `x / max(norm, 1e-12)` over the last axis, with the Euclidean norm.
    ///
    /// Gradient: `(dy - y sum y dy) / norm`; where `norm < 1e-12`, `dy / 1e-12`. A norm above 1.8e19 overflows.
    ///
    /// # Panics
    /// If the shape is `[]`.
    #[track_caller]
    #[must_use]
    pub fn l2_normalize(&self) -> Tensor {
        let (rows, c) = rows_of("l2_normalize", self);
        let uniforms = Uniforms { rows: rows as u32, c: c as u32, eps: EPS };
        let n = self.len() as u64;

        let y = Tensor::alloc(self.gpu(), "l2_normalize", self.shape(), self.dtype());
        let norms = Tensor::alloc(self.gpu(), "l2_normalize", &[rows].into(), DType::F32);
        FORWARD.run(
            self.gpu(),
            &[&y, &norms, self],
            &uniforms,
            (rows, c),
            Work::new(2 * self.bytes() as u64, 3 * n),
        );

        y.clone().with_backward("l2_normalize", &[self], &[&y, &norms], move |b| {
            let [y, norms] = b.saved();
            let dx = Tensor::alloc(y.gpu(), "l2_normalize", y.shape(), y.dtype());
            BACKWARD.run(
                y.gpu(),
                &[&dx, b.dy, y, norms],
                &uniforms,
                (rows, c),
                Work::new(3 * y.bytes() as u64, 5 * n),
            );
            vec![Some(dx)]
        })
    }
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
            let x: Vec<f32> = (0..rows * c).map(|i| (i * 31 % 101) as f32 - 50.0).collect();
            let x64: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            let want = crate::reference::l2_normalize::forward(&x64, c, 1e-12);
            let x = gpu.tensor(&x, [rows, c]).unwrap();
            let uniforms = Uniforms { rows: rows as u32, c: c as u32, eps: EPS };
            FORWARD.each_form(&gpu, &uniforms, (rows, c), |form, _, launch| {
                let (y, norms) = (x.full_like(f32::NAN), gpu.zeros([rows]).unwrap());
                launch(&[&y, &norms, &x]);
                for (got, want) in y.to_vec().unwrap().iter().zip(&want) {
                    let close = (f64::from(*got) - want).abs() <= 1e-6;
                    assert!(close, "{form}: {got} is not {want}");
                }
            });
        }
    }
}
