//! Sums, means and maxima over axes.

use crate::gpu::{Facts, Grid, Source, Work, source, uniforms};
use crate::ops::binary::{equal, expand_scaled};
use crate::ops::elementwise::{assert_f32, assert_float};
use crate::ops::strips::{Lanes, Strips, lanes, lanes_of};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("reduce.wgsl");
static SUM: Lanes = lanes(&SOURCE, "sum", &[]);
static MAX: Lanes = lanes(&SOURCE, "max_value", &[]);

uniforms! {
    struct Uniforms { n: u32, m: u32, c: u32, strips: u32, interleaved: u32, scale: f32 }
}

/// Elements one invocation adds up at most, so that rounding errors stay small however large the tensor.
const LONGEST: usize = 512;

/// Elements of a tensor from which on its last axis is reduced as four columns of vec4s, at the cost of one more launch that
/// adds up the four.
const FOURS: usize = 1 << 16;

/// Returns the number of parts that a pass splits `reduced` elements into, for each of the results that `lanes` invocations would make
/// whole. With one part it is the last pass.
///
/// A part spans a page at most. Where parts are interleaved there are as many as column sums have strips, and 8 at least in a
/// row, so that neighbours read neighbours along the last axis.
fn chunks(facts: &Facts, lanes: usize, inner: usize, reduced: usize) -> usize {
    let longest = facts.page.map_or(LONGEST, |page| (page / inner.max(1)).clamp(16, LONGEST));
    let needed = reduced.div_ceil(longest).max(1);
    if !facts.interleaved || reduced <= 32 {
        return needed;
    }
    needed.max(facts.column_sums.strips(reduced, lanes)).max(8 / inner.max(1))
}

/// `scale` times the reduction of `axes`, which stay with length 1; no graph.
///
/// A run of neighbouring axes is reduced as one axis; axes of length 1 between them belong to the run. The last run goes first.
#[track_caller]
fn reduce(op: &str, kernel: &Lanes, x: &Tensor, axes: &[usize], scale: f32) -> Tensor {
    assert_float(op, &[x]);
    let mut dims = x.shape().to_vec();
    let mut x = x.stop_gradient();
    let mut end = dims.len();
    while end > 0 {
        let reduces = |axis: usize| axes.contains(&axis) || dims[axis] == 1;
        let start = (0..end).rev().find(|&axis| !reduces(axis)).map_or(0, |axis| axis + 1);
        let reduced: usize = dims[start..end].iter().product();
        if reduced != 1 {
            let outer: usize = dims[..start].iter().product();
            let inner: usize = dims[end..].iter().product();
            dims[start..end].fill(1);
            let last = !(0..start).any(|axis| axes.contains(&axis) && dims[axis] != 1);
            x = reduce_run(op, kernel, &x, [outer, reduced, inner], if last { scale } else { 1.0 });
        }
        end = start.saturating_sub(1);
    }
    x.to_dtype(DType::F32).reshape(dims)
}

/// Reduces the middle one of three axes, in as many passes as [`chunks`] says.
fn reduce_run(
    op: &str,
    kernel: &Lanes,
    x: &Tensor,
    [outer, reduced, inner]: [usize; 3],
    scale: f32,
) -> Tensor {
    if inner == 1 && reduced >= 64 && reduced.is_multiple_of(4) && x.len() >= FOURS {
        let fours = reduce_run(op, kernel, x, [outer, reduced / 4, 4], 1.0);
        return reduce_run(op, kernel, &fours, [outer, 4, 1], scale);
    }
    let gpu = x.gpu();
    let (wide, c) = (inner.is_multiple_of(4), lanes_of(inner));
    let cut = Strips::new(gpu, reduced, inner, chunks(gpu.facts(), outer * c, inner, reduced));
    let strips = cut.strips as usize;
    let y = Tensor::alloc(gpu, op, &Shape::from([outer * strips * inner]), DType::F32);
    let uniforms = Uniforms {
        n: (outer * strips * c) as u32,
        m: cut.m,
        c: c as u32,
        strips: cut.strips,
        interleaved: cut.interleaved,
        scale: if strips == 1 { scale } else { 1.0 },
    };
    let work = Work::new(x.bytes() + y.bytes(), x.len());
    gpu.run(&kernel[usize::from(wide)], &[&y, x], &uniforms, Grid::items(uniforms.n), work);
    if strips == 1 { y } else { reduce_run(op, kernel, &y, [outer, strips, inner], scale) }
}

/// The shape without `axes`, and the number of elements each result is made of.
#[track_caller]
fn without(op: &str, shape: &Shape, axes: &[usize]) -> (Shape, usize) {
    for (i, axis) in axes.iter().enumerate() {
        assert!(*axis < shape.rank(), "{op}: axis {axis} of shape {shape}");
        assert!(!axes[..i].contains(axis), "{op}: axis {axis} is named twice in {axes:?}");
    }
    let kept: Vec<usize> =
        (0..shape.rank()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
    (Shape::from(kept), axes.iter().map(|&axis| shape[axis]).product())
}

/// Reductions. Order of additions is fixed by the sizes: the same bits every time.
///
/// `axes` in any order; each is dropped from the shape (the `_keepdim` forms keep it with length 1). An empty list
/// reduces nothing. The result is `f32`, also of `f16` elements. All panic if an axis is out of range or named twice, or the
/// elements are not floats (`max`: not `f32`).
impl Tensor {
    /// The sum over `axes`. Gradient: `dy` to every summand.
    #[track_caller]
    #[must_use]
    pub fn sum(&self, axes: &[usize]) -> Tensor {
        let (kept, _) = without("sum", self.shape(), axes);
        self.sum_keepdim(axes).reshape(kept)
    }

    /// [`Tensor::sum`] that keeps the axes with length 1.
    #[track_caller]
    #[must_use]
    pub fn sum_keepdim(&self, axes: &[usize]) -> Tensor {
        without("sum", self.shape(), axes);
        self.scaled_sum("sum", axes, 1.0)
    }

    /// The mean over `axes`; NaN of no elements. Gradient: `dy / count` to every summand.
    #[track_caller]
    #[must_use]
    pub fn mean(&self, axes: &[usize]) -> Tensor {
        let (kept, _) = without("mean", self.shape(), axes);
        self.mean_keepdim(axes).reshape(kept)
    }

    /// [`Tensor::mean`] that keeps the axes with length 1.
    #[track_caller]
    #[must_use]
    pub fn mean_keepdim(&self, axes: &[usize]) -> Tensor {
        let (_, count) = without("mean", self.shape(), axes);
        self.scaled_sum("mean", axes, 1.0 / count as f32)
    }

    fn scaled_sum(&self, op: &'static str, axes: &[usize], scale: f32) -> Tensor {
        let from = *self.shape();
        reduce(op, &SUM, self, axes, scale)
            .with_backward(op, &[self], &[], move |rule| vec![Some(expand_scaled(rule.dy, &from, scale))])
    }

    /// The maximum over `axes`; NaN if one element is. Gradient: shared equally among equal maxima, as PyTorch's `amax`.
    ///
    /// # Panics
    /// If there are no elements to choose from.
    #[track_caller]
    #[must_use]
    pub fn max(&self, axes: &[usize]) -> Tensor {
        let (kept, _) = without("max", self.shape(), axes);
        self.max_keepdim(axes).reshape(kept)
    }

    /// [`Tensor::max`] that keeps the axes with length 1.
    ///
    /// # Panics
    /// If there are no elements to choose from.
    #[track_caller]
    #[must_use]
    pub fn max_keepdim(&self, axes: &[usize]) -> Tensor {
        let (_, count) = without("max", self.shape(), axes);
        assert!(count > 0, "max: no elements along {axes:?} of shape {}", self.shape());
        assert_f32("max", &[self]);
        let y = reduce("max", &MAX, self, axes, 1.0);
        let saved = y.clone();
        let axes = axes.to_vec();
        y.with_backward("max", &[self], &[self, &saved], move |rule| {
            let [x, y] = rule.saved();
            let is_max = equal(x, y);
            let share = rule.dy.div(&is_max.sum_keepdim(&axes));
            vec![Some(is_max.mul(&share))]
        })
    }

    /// The sum of all elements, shape `[]`.
    #[track_caller]
    #[must_use]
    pub fn sum_all(&self) -> Tensor {
        self.sum(&all_axes(self))
    }

    /// The mean of all elements, shape `[]`.
    #[track_caller]
    #[must_use]
    pub fn mean_all(&self) -> Tensor {
        self.mean(&all_axes(self))
    }

    /// The maximum of all elements, shape `[]`.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    #[must_use]
    pub fn max_all(&self) -> Tensor {
        self.max(&all_axes(self))
    }

    /// The sum over the axes along which `shape` broadcasts to this tensor's: the gradient of broadcasting.
    #[track_caller]
    #[must_use]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        let fits = shape.broadcast(self.shape()).as_ref() == Some(self.shape());
        assert!(fits, "sum_to: {shape} does not broadcast to {}", self.shape());
        let added = self.shape().rank() - shape.rank();
        let stretched = |&axis: &usize| axis < added || (shape[axis - added] == 1 && self.shape()[axis] != 1);
        let axes: Vec<usize> = (0..self.shape().rank()).filter(stretched).collect();
        self.sum_keepdim(&axes).reshape(shape)
    }
}

fn all_axes(x: &Tensor) -> Vec<usize> {
    (0..x.shape().rank()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Class;

    /// Classes of adapters cut differently; a test runs on one of them, so the plan itself is checked here.
    #[test]
    fn passes_are_short_and_few() {
        for facts in Class::ALL.map(Facts::of) {
            for lanes in [0, 1, 7, 1000, 100_000] {
                for inner in [0, 1, 3, 64] {
                    for reduced in [0, 1, 2, 31, 32, 33, 127, 512, 513, 4096, 5_000_011, 400_000_000] {
                        let (mut left, mut passes) = (reduced, 0);
                        while left != 1 && passes < 9 {
                            let next = chunks(&facts, lanes, inner, left);
                            assert!(next >= 1 && left.div_ceil(next) <= LONGEST);
                            (left, passes) = (next, passes + 1);
                        }
                        assert!(passes <= 6, "{passes} passes for {reduced}");
                    }
                }
            }
        }
    }
}
