//! Moving averages in place.

use super::l2_normalize::EPS;
use super::row_kernel::RowKernel;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::elementwise::assert_f32;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("lerp.wgsl");
static LERP: Kernel = SOURCE.kernel("lerp");
static LERP_MEAN: Kernel = SOURCE.kernel("lerp_mean");
static UNIT_ROWS_SOURCE: Source = source!("lerp_unit_rows.wgsl");
static LERP_UNIT_ROWS: RowKernel = RowKernel::new(&UNIT_ROWS_SOURCE, "lerp_unit_rows");

/// Rows that one invocation adds up at most: CPU drivers end its loops after 65,535 turns.
const MEAN_ROWS: usize = 1 << 15;

uniforms! {
    struct Uniforms { n: u32, weight: f32 }
}
uniforms! {
    struct MeanUniforms { rows: u32, c: u32, weight: f32 }
}
uniforms! {
    struct UnitRowsUniforms { rows: u32, c: u32, m: u32, weight: f32, eps: f32 }
}

impl Tensor {
    /// `self += weight * (other - self)`, in place, in one launch: the update of a teacher with momentum `1 - weight`.
    ///
    /// Weight 0 changes nothing, weight 1 copies exactly. No gradient flows.
    ///
    /// # Panics
    /// If the shapes differ or the elements are not `f32`.
    #[track_caller]
    pub fn lerp_(&self, other: &Tensor, weight: f32) {
        assert_f32("lerp_", &[self, other]);
        assert_eq!(self.shape(), other.shape(), "lerp_: {} towards {}", self.shape(), other.shape());
        let n = self.len();
        let uniforms = Uniforms { n: n.div_ceil(4) as u32, weight };
        self.gpu().run(
            &LERP,
            &[self, other],
            &uniforms,
            Grid::items(n.div_ceil(4)),
            Work::new(12 * n, 3 * n),
        );
    }

    /// `self += weight * (mean of the rows - self)`, in place, for this `[c]` and `rows` `[n, c]`; one launch up to 32,768
    /// rows. No gradient flows.
    ///
    /// # Panics
    /// If the shapes are not those, there are no rows, or the elements are not `f32`.
    #[track_caller]
    pub fn lerp_mean_(&self, rows: &Tensor, weight: f32) {
        assert_f32("lerp_mean_", &[self, rows]);
        let shape = rows.shape();
        let fits = shape.rank() == 2 && shape[0] > 0 && **self.shape() == shape[1..];
        assert!(fits, "lerp_mean_: {} towards the mean row of {shape}", self.shape());
        if shape[0] > MEAN_ROWS {
            return self.lerp_(&rows.stop_gradient().mean(&[0]), weight);
        }
        let (n, c) = (shape[0], shape[1]);
        let uniforms = MeanUniforms { rows: n as u32, c: c as u32, weight };
        let work = Work::new(rows.bytes() + 8 * c, rows.len());
        self.gpu().run(&LERP_MEAN, &[self, rows], &uniforms, Grid::items(c), work);
    }

    /// Row `indices[i]` moved by `weight` towards row `i` of `rows` and scaled to unit length, in place, in one launch.
    ///
    /// The indices must differ: of two rows that go to one place, either may win, or parts of both. An index out of range
    /// writes nothing. Norms below 1e-12 divide as if they were that, as in [`Tensor::l2_normalize`]. No gradient flows.
    ///
    /// # Panics
    /// If this is not `[m, c]` with `rows` `[n, c]`, both `f32`, and `indices` `u32` `[n]`.
    #[track_caller]
    pub fn lerp_unit_rows_(&self, indices: &Tensor, rows: &Tensor, weight: f32) {
        assert_f32("lerp_unit_rows_", &[self, rows]);
        let (to, from) = (self.shape(), rows.shape());
        let fits = to.rank() == 2 && from.rank() == 2 && to[1] == from[1];
        let indexed = indices.dtype() == DType::U32 && **indices.shape() == from[..1];
        assert!(fits && indexed, "lerp_unit_rows_: rows {from} at {indices} of {to}");
        let (n, c) = (from[0], from[1]);
        let uniforms = UnitRowsUniforms { rows: n as u32, c: c as u32, m: to[0] as u32, weight, eps: EPS };
        let work = Work::new(3 * rows.bytes() + indices.bytes(), 6 * rows.len());
        LERP_UNIT_ROWS.run(self.gpu(), &[self, rows, indices], &uniforms, (n, c), work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gpu;

    /// Every width of a row kernel gives what the specification says, whichever the adapter would choose.
    #[test]
    fn all_widths_agree() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for (m, n, c) in [(1, 1, 1), (13, 9, 5), (70, 67, 64), (5, 3, 257)] {
            let values = |n: usize, step: usize| {
                (0..n).map(|i| (i * step % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>()
            };
            let f64s = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let (y, x) = (values(m * c, 31), values(n * c, 17));
            let at: Vec<usize> = (0..n).map(|i| m - 1 - i).collect();
            let want = crate::reference::lerp::lerp_unit_rows(&f64s(&y), &f64s(&x), &at, c, 0.25);
            let at: Vec<u32> = at.iter().map(|&i| i as u32).collect();
            let (rows, indices) = (gpu.tensor(&x, [n, c]).unwrap(), gpu.tensor_u32(&at, [n]).unwrap());
            let uniforms =
                UnitRowsUniforms { rows: n as u32, c: c as u32, m: m as u32, weight: 0.25, eps: EPS };
            LERP_UNIT_ROWS.each_form(&gpu, &uniforms, (n, c), |form, _, run| {
                let bank = gpu.tensor(&y, [m, c]).unwrap();
                run(&[&bank, &rows, &indices]);
                for (got, want) in bank.to_vec().unwrap().iter().zip(&want) {
                    let close = (f64::from(*got) - want).abs() <= 1e-6;
                    assert!(close, "{form}: {got} is not {want}");
                }
            });
        }
    }
}
