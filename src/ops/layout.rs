//! The same elements elsewhere: transposed, copied, converted.

use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::ops::unary::assert_f32;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static TRANSPOSE_SOURCE: Source = Source::new("transpose.wgsl", include_str!("../../shaders/transpose.wgsl"));
static TRANSPOSE_TILE: Kernel = TRANSPOSE_SOURCE.kernel("transpose_tile");
static TRANSPOSE_BLOCK: Kernel = TRANSPOSE_SOURCE.kernel("transpose_block");
static CAST_SOURCE: Source = Source::new("cast.wgsl", include_str!("../../shaders/cast.wgsl"));
static TO_U32: Kernel = CAST_SOURCE.kernel("to_u32");
static TO_F32: Kernel = CAST_SOURCE.kernel("to_f32");

/// Edge of the tile of `transpose_tile`, and of the block of `transpose_block`.
const TILE: usize = 32;
const BLOCK: usize = 4;

params! {
    struct TransposeParams { batch: u32, rows: u32, cols: u32 }
}
params! {
    struct CastParams { n: u32 }
}

/// `(batch, rows, cols)` to `(batch, cols, rows)`, by registers or by workgroup memory.
fn transpose(x: &Tensor, [batch, rows, cols]: [usize; 3], shape: &Shape, in_registers: bool) -> Tensor {
    let y = Tensor::alloc(x.gpu(), "transpose", shape, DType::F32);
    let params = TransposeParams { batch: batch as u32, rows: rows as u32, cols: cols as u32 };
    let pieces = |edge: usize| batch * rows.div_ceil(edge) * cols.div_ceil(edge);
    let (kernel, grid) = if in_registers {
        (&TRANSPOSE_BLOCK, Grid::items(pieces(BLOCK)))
    } else {
        (&TRANSPOSE_TILE, Grid::groups(pieces(TILE)))
    };
    x.gpu().run(kernel, &[&y, x], &params, grid, Work::new(8 * x.len(), 0_u32));
    y
}

/// Layout and type.
impl Tensor {
    /// The last two axes swapped, as a copy: `(m, n)` to `(n, m)`, or `(b, m, n)` to `(b, n, m)`. Gradient: `dy`
    /// transposed.
    ///
    /// # Panics
    /// If the rank is not 2 or 3, or the elements are not `f32`.
    #[track_caller]
    #[must_use]
    pub fn transpose(&self) -> Tensor {
        assert_f32("transpose", &[self]);
        let (dims, shape) = match **self.shape() {
            [rows, cols] => ([1, rows, cols], Shape::from([cols, rows])),
            [batch, rows, cols] => ([batch, rows, cols], Shape::from([batch, cols, rows])),
            _ => panic!("transpose: rank 2 or 3, got shape {}", self.shape()),
        };
        transpose(self, dims, &shape, self.gpu().is_cpu())
            .with_backward("transpose", &[self], &[], |rule| vec![Some(rule.dy.transpose())])
    }

    /// A deep copy: later writes in place to one do not show in the other. Gradient: `dy`.
    #[must_use]
    pub fn copy(&self) -> Tensor {
        let y = Tensor::alloc(self.gpu(), "copy", self.shape(), self.dtype());
        self.gpu().copy(self, 0, &y, 0, self.len());
        y.with_backward("copy", &[self], &[], |rule| vec![Some(rule.dy.clone())])
    }

    /// The elements as another type; no gradient flows.
    ///
    /// `f32` to `u32` truncates towards zero and saturates (above 2^32 - 256 at that, the largest `f32` below 2^32; NaN is
    /// undefined). `u32` to `f32` rounds to nearest.
    #[must_use]
    pub fn cast(&self, dtype: DType) -> Tensor {
        let kernel = match (self.dtype(), dtype) {
            (DType::F32, DType::U32) => &TO_U32,
            (DType::U32, DType::F32) => &TO_F32,
            _ => return self.stop_gradient().copy(),
        };
        let y = Tensor::alloc(self.gpu(), "cast", self.shape(), dtype);
        let n = self.len();
        let work = Work::new(8 * n, 0_u32);
        self.gpu().run(
            kernel,
            &[&y, self],
            &CastParams { n: n.div_ceil(4) as u32 },
            Grid::items(n.div_ceil(4)),
            work,
        );
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_transposes_agree() {
        let gpu = crate::Gpu::builder().quiet().build().unwrap();
        for [b, m, n] in [[1, 1, 1], [2, 31, 33], [1, 32, 64], [3, 65, 7]] {
            let x: Vec<f32> = (0..b * m * n).map(|i| i as f32).collect();
            let x = gpu.tensor(&x, [b, m, n]).unwrap();
            let turned = |in_registers| transpose(&x, [b, m, n], &Shape::from([b, n, m]), in_registers);
            assert_eq!(turned(true).to_vec().unwrap(), turned(false).to_vec().unwrap(), "{b} {m} {n}");
        }
    }
}
