//! Rows of a tensor, that is slices along its first axis: by index, by range, and written in place.

use super::strips::{Lanes, lanes};
use crate::gpu::{Bind, Grid, Kernel, Source, Work, source, uniforms};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("rows.wgsl");
static GATHER: Lanes = lanes(&SOURCE, "gather", &[]);
static LINK: Kernel = SOURCE.kernel("link");
static GATHER_BACKWARD: Lanes = lanes(&SOURCE, "gather_backward", &[]);
static PUT: Lanes = lanes(&SOURCE, "put", &[]);
static COPY_RUN: Kernel = SOURCE.kernel("copy_run");

/// Pieces of a row that one invocation moves, about.
const PIECES: usize = 8;
/// Indices chained at once; see the kernel.
const BLOCK: usize = 1024;

uniforms! {
    struct RunUniforms { length: u32, to: u32, at: u32 }
}
uniforms! {
    struct Uniforms { count: u32, rows: u32, width: u32, takers: u32, block: u32, first: u32 }
}

impl Uniforms {
    /// For rows of `width` elements, and whether a piece of a row is four of them.
    fn new(count: usize, rows: usize, width: usize) -> (Self, bool) {
        let wide = width.is_multiple_of(4);
        let width = if wide { width / 4 } else { width };
        let takers = width.div_ceil(PIECES).max(1);
        let [count, rows, width, takers] = [count, rows, width, takers].map(|n| n as u32);
        (Self { count, rows, width, takers, block: BLOCK as u32, first: 0 }, wide)
    }

    /// Invocations that move `count` rows.
    fn grid(&self, count: usize) -> Grid {
        Grid::items(count as u64 * u64::from(self.takers))
    }
}

/// Elements of one row.
fn width(shape: &Shape) -> usize {
    shape[1..].iter().product()
}

/// `shape` with another number of rows.
fn with_rows(shape: &Shape, rows: usize) -> Shape {
    let mut dims = shape.to_vec();
    dims[0] = rows;
    Shape::from(dims)
}

/// Elements `at..at + count` of `from` to `to` and on. A copy between buffers wants whole 4-byte words; a run of f16 elements
/// that does not begin and end with one takes a kernel.
fn copy_elements(from: &Tensor, at: usize, to: &Tensor, start: usize, count: usize) {
    let gpu = to.gpu();
    if from.dtype().size() == 4 {
        gpu.copy(from, at, to, start, count);
    } else if at.is_multiple_of(2) && start.is_multiple_of(2) && count.is_multiple_of(2) {
        gpu.copy(from, at / 2, to, start / 2, count / 2);
    } else {
        let uniforms = RunUniforms { length: count as u32, to: start as u32, at: at as u32 };
        gpu.run(&COPY_RUN, &[to, from], &uniforms, Grid::items(count), Work::new(4 * count, 0_u32));
    }
}

/// Words of one row, for kernels that move rows as 4-byte words; `None` if a row ends within a word.
fn row_words(x: &Tensor) -> Option<usize> {
    let bytes = width(x.shape()) * x.dtype().size();
    bytes.is_multiple_of(4).then_some(bytes / 4)
}

#[track_caller]
fn assert_rows(op: &str, x: &Tensor) {
    assert!(x.shape().rank() > 0, "{op}: a scalar has no rows");
}

#[track_caller]
fn assert_indices(op: &str, indices: &Tensor) {
    let fits = indices.dtype() == DType::U32 && indices.shape().rank() == 1;
    assert!(fits, "{op}: indices are u32 of rank 1, got {indices}");
}

/// Links equal indices, then runs `kernel` from `from` to `to` block by block, `width` of its elements a row.
fn by_blocks(
    kernel: &Lanes,
    (to, rows, width): (&dyn Bind, usize, usize),
    from: &dyn Bind,
    indices: &Tensor,
) {
    let (gpu, count) = (indices.gpu(), indices.len());
    let (uniforms, wide) = Uniforms::new(count, rows, width);
    let links = Tensor::alloc(gpu, "link", &Shape::from([count, 2]), DType::U32);
    gpu.run(&LINK, &[&links, indices], &uniforms, Grid::items(count), Work::new(12 * count, 0_u32));
    for first in (0..count).step_by(BLOCK) {
        let block = BLOCK.min(count - first);
        let work = Work::new(12 * block * width, block * width);
        let uniforms = Uniforms { first: first as u32, ..uniforms };
        gpu.run(
            &kernel[usize::from(wide)],
            &[to, from, indices, &links],
            &uniforms,
            uniforms.grid(block),
            work,
        );
    }
}

/// Rows: slices along the first axis. Elements of any type alike.
impl Tensor {
    /// Row `indices[i]` as row `i`: `(rows, ...)` and `u32` indices `(count)` give `(count, ...)`.
    ///
    /// An index out of range gives a row of NaN and no gradient. Gradient: each row of `dy` added to the row it came
    /// from, in the order of the indices, so that sums repeat bit for bit.
    ///
    /// # Panics
    /// If this is a scalar, or `indices` is not a `u32` tensor of rank 1.
    #[track_caller]
    #[must_use]
    pub fn gather_rows(&self, indices: &Tensor) -> Tensor {
        assert_rows("gather_rows", self);
        assert_indices("gather_rows", indices);
        let from = *self.shape();
        let Some(words) = row_words(self) else {
            // f16 rows of odd width, by way of f32, which holds every f16.
            return self.cast(DType::F32).gather_rows(indices).cast(DType::F16);
        };
        let y = Tensor::alloc(self.gpu(), "gather_rows", &with_rows(&from, indices.len()), self.dtype());
        let work = Work::new(2 * y.bytes() + 4 * indices.len(), 0_u32);
        let (uniforms, wide) = Uniforms::new(indices.len(), from[0], words);
        let inputs: [&dyn Bind; 3] = [y.storage(), self.storage(), indices];
        self.gpu().run(&GATHER[usize::from(wide)], &inputs, &uniforms, uniforms.grid(indices.len()), work);
        y.with_backward("gather_rows", &[self], &[indices], move |rule| {
            let [indices] = rule.saved();
            let dx = Tensor::filled(rule.dy.gpu(), "gather_rows", &from, DType::F32, 0.0);
            by_blocks(&GATHER_BACKWARD, (&dx, from[0], width(&from)), rule.dy, indices);
            vec![Some(dx.cast(rule.dy.dtype()))]
        })
    }

    /// Overwrites rows `start..start + rows.len` with `rows`, in place, by one copy. No gradient flows.
    ///
    /// # Panics
    /// If the rows do not fit in shape, type or range.
    #[track_caller]
    pub fn write_rows(&self, start: usize, rows: &Tensor) {
        self.assert_same_rows("write_rows", rows);
        let (count, end) = (rows.shape()[0], self.shape()[0]);
        assert!(start + count <= end, "write_rows: rows {start}..{} of {}", start + count, self.shape());
        copy_elements(rows, 0, self, start * width(self.shape()), rows.len());
    }

    /// Overwrites row `indices[i]` with row `i` of `rows`, in place. Of equal indices the last one counts; one out of
    /// range writes nothing. No gradient flows.
    ///
    /// # Panics
    /// If the rows do not fit in shape or type, `indices` is not a `u32` tensor with one index a row, or the rows are `f16` of
    /// odd width.
    #[track_caller]
    pub fn write_rows_at(&self, indices: &Tensor, rows: &Tensor) {
        self.assert_same_rows("write_rows_at", rows);
        assert_indices("write_rows_at", indices);
        let count = rows.shape()[0];
        assert_eq!(
            indices.len(),
            count,
            "write_rows_at: {} indices for rows {}",
            indices.len(),
            rows.shape()
        );
        let words = row_words(self).unwrap_or_else(|| panic!("write_rows_at: f16 rows of odd width: {self}"));
        by_blocks(&PUT, (self.storage(), self.shape()[0], words), rows.storage(), indices);
    }

    #[track_caller]
    fn assert_same_rows(&self, op: &str, rows: &Tensor) {
        assert_rows(op, self);
        assert_rows(op, rows);
        let fits = rows.shape()[1..] == self.shape()[1..] && rows.dtype() == self.dtype();
        assert!(fits, "{op}: rows {rows} into {self}");
    }

    /// All rows of `parts`, one after another. Gradient: each part its rows of `dy`.
    ///
    /// # Panics
    /// If there are no parts, or they differ in type or in any but the first axis.
    #[track_caller]
    #[must_use]
    pub fn concat_rows(parts: &[&Tensor]) -> Tensor {
        let first = parts.first().expect("concat_rows: nothing to concatenate");
        for part in parts {
            first.assert_same_rows("concat_rows", part);
        }
        let counts: Vec<usize> = parts.iter().map(|part| part.shape()[0]).collect();
        let shape = with_rows(first.shape(), counts.iter().sum());
        let y = Tensor::alloc(first.gpu(), "concat_rows", &shape, first.dtype());
        let mut at = 0;
        for part in parts {
            copy_elements(part, 0, &y, at, part.len());
            at += part.len();
        }
        y.with_backward("concat_rows", parts, &[], move |rule| {
            let mut start = 0;
            let slice = |(i, &count): (usize, &usize)| {
                start += count;
                rule.needs(i).then(|| rule.dy.slice_rows(start - count, count))
            };
            counts.iter().enumerate().map(slice).collect()
        })
    }

    /// Rows `start..start + count`, as a copy. Gradient: `dy` in those rows, 0 in the others.
    ///
    /// # Panics
    /// If there are not that many rows.
    #[track_caller]
    #[must_use]
    pub fn slice_rows(&self, start: usize, count: usize) -> Tensor {
        assert_rows("slice_rows", self);
        let from = *self.shape();
        assert!(start + count <= from[0], "slice_rows: rows {start}..{} of {from}", start + count);
        let y = Tensor::alloc(self.gpu(), "slice_rows", &with_rows(&from, count), self.dtype());
        copy_elements(self, start * width(&from), &y, 0, y.len());
        y.with_backward("slice_rows", &[self], &[], move |rule| {
            let dx = Tensor::filled(rule.dy.gpu(), "slice_rows", &from, rule.dy.dtype(), 0.0);
            dx.write_rows(start, rule.dy);
            vec![Some(dx)]
        })
    }
}
