//! The same elements elsewhere: transposed, copied, converted.

use crate::autograd::Backward;
use crate::gpu::{Grid, Kernel, Means, Source, Work, source, uniforms};
use crate::ops::elementwise::assert_float;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static TRANSPOSE_SOURCE: Source = source!("transpose.wgsl");
static TRANSPOSE_TILE: Kernel = TRANSPOSE_SOURCE.kernel("transpose_tile");
static TRANSPOSE_BLOCK: Kernel = TRANSPOSE_SOURCE.kernel("transpose_block");
static PAD_COLUMNS_SOURCE: Source = source!("pad_columns.wgsl");
static PAD_COLUMNS: Kernel = PAD_COLUMNS_SOURCE.kernel("pad_columns");
static CAST_SOURCE: Source = source!("cast.wgsl");
static TO_U32: Kernel = CAST_SOURCE.kernel("to_u32");
static TO_FLOAT: Kernel = CAST_SOURCE.kernel("to_float");
static NARROW: Kernel = CAST_SOURCE.kernel("narrow");
static WIDEN: Kernel = CAST_SOURCE.kernel("widen");

/// Edge of the tile of `transpose_tile`, and of the block of `transpose_block`.
const TILE: usize = 32;
const BLOCK: usize = 4;

uniforms! {
    struct TransposeUniforms { batch: u32, rows: u32, cols: u32 }
}
uniforms! {
    struct CastUniforms { n: u32 }
}
uniforms! {
    struct PadColumnsUniforms { n: u32, before: u32, after: u32 }
}

/// Rows `[rows, before]` of another width, cut or filled up with zeros; free where the width is the same.
pub(super) fn pad_columns(x: &Tensor, after: u32) -> Tensor {
    let (rows, before) = (x.shape()[0], x.shape()[1] as u32);
    if before == after {
        return x.stop_gradient();
    }
    let y = Tensor::alloc(x.gpu(), "pad_columns", &[rows, after as usize].into(), x.dtype());
    pad_columns_into(&y, x, [before, after]);
    y
}

/// Writes rows of `before` elements as rows of `after`, whatever the shapes say.
pub(super) fn pad_columns_into(y: &Tensor, x: &Tensor, [before, after]: [u32; 2]) {
    let uniforms = PadColumnsUniforms { n: y.len() as u32, before, after };
    y.gpu().run(
        &PAD_COLUMNS,
        &[y, x],
        &uniforms,
        Grid::items(y.len()),
        Work::new(x.bytes() + y.bytes(), 0_u32),
    );
}

/// `(batch, rows, cols)` to `(batch, cols, rows)`, by registers or by workgroup memory.
fn transpose(x: &Tensor, [batch, rows, cols]: [usize; 3], shape: &Shape, in_registers: bool) -> Tensor {
    let y = Tensor::alloc(x.gpu(), "transpose", shape, x.dtype());
    let uniforms = TransposeUniforms { batch: batch as u32, rows: rows as u32, cols: cols as u32 };
    let pieces = |edge: usize| batch * rows.div_ceil(edge) * cols.div_ceil(edge);
    let (kernel, grid) = if in_registers {
        (&TRANSPOSE_BLOCK, Grid::items(pieces(BLOCK)))
    } else {
        (&TRANSPOSE_TILE, Grid::groups(pieces(TILE)))
    };
    x.gpu().run(kernel, &[&y, x], &uniforms, grid, Work::new(2 * x.bytes(), 0_u32));
    y
}

/// Layout and type.
impl Tensor {
    /// The last two axes swapped, as a copy: `(m, n)` to `(n, m)`, or `(b, m, n)` to `(b, n, m)`. Gradient: `dy`
    /// transposed.
    ///
    /// # Panics
    /// If the rank is not 2 or 3, or the elements are not floats.
    #[track_caller]
    #[must_use]
    pub fn transpose(&self) -> Tensor {
        assert_float("transpose", &[self]);
        let (dims, shape) = match **self.shape() {
            [rows, cols] => ([1, rows, cols], Shape::from([cols, rows])),
            [batch, rows, cols] => ([batch, rows, cols], Shape::from([batch, cols, rows])),
            _ => panic!("transpose: rank 2 or 3, got shape {}", self.shape()),
        };
        transpose(self, dims, &shape, self.gpu().facts().prefers(Means::Registers)).with_backward(
            "transpose",
            &[self],
            &[],
            |rule| vec![Some(rule.dy.transpose())],
        )
    }

    /// A deep copy: later writes in place to one do not show in the other. Gradient: `dy`.
    #[must_use]
    pub fn copy(&self) -> Tensor {
        let y = Tensor::alloc(self.gpu(), "copy", self.shape(), self.dtype());
        self.gpu().copy(self, 0, &y, 0, self.words());
        y.with_backward("copy", &[self], &[], |rule| vec![Some(rule.dy.clone())])
    }

    /// The elements as another type; the same type gives the tensor itself. Gradient between floats: `dy`, cast back.
    ///
    /// `f32` to `f16` rounds; beyond 65,504 it gives infinity, below 6e-8 zero. A float to `u32` truncates towards zero and
    /// saturates (above 2^32 - 256 at that, the largest `f32` below 2^32; NaN is undefined). `u32` to a float rounds.
    ///
    /// The gradient of an `f16` copy of an `f32` tensor is added up in `f32`, and ops whose sums are `f32` write it unrounded:
    /// so weights used in `f16` get `f32` gradients.
    #[must_use]
    pub fn cast(&self, dtype: DType) -> Tensor {
        let both_float = self.dtype().is_float() && dtype.is_float();
        if self.dtype() == dtype {
            return self.clone();
        }
        let y = self.stop_gradient().to_dtype(dtype);
        if !both_float {
            return y;
        }
        let rule = |rule: &Backward<'_>| vec![Some(rule.dy.clone())];
        y.with_backward_of(DType::F32, "cast", &[self], &[], rule)
    }

    /// [`Tensor::cast`] without a graph.
    pub(crate) fn to_dtype(&self, dtype: DType) -> Tensor {
        let kernel = match (self.dtype(), dtype) {
            (from, to) if from == to => return self.clone(),
            (_, DType::U32) => &TO_U32,
            (DType::U32, _) => &TO_FLOAT,
            (_, DType::F16) => &NARROW,
            (_, DType::F32) => &WIDEN,
        };
        let y = Tensor::alloc(self.gpu(), "cast", self.shape(), dtype);
        let fours = self.len().div_ceil(4);
        let work = Work::new(self.bytes() + y.bytes(), 0_u32);
        self.gpu().run(kernel, &[&y, self], &CastUniforms { n: fours as u32 }, Grid::items(fours), work);
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
