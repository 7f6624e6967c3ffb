//! Choosing elements: by a mask, the largest, the index of the largest.

use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::elementwise::assert_f32;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static WHERE_SOURCE: Source = source!("where_mask.wgsl");
static WHERE: Kernel = WHERE_SOURCE.kernel("where_mask");
static WHERE_BACKWARD: Kernel = WHERE_SOURCE.kernel("where_mask_backward");
static TOPK_SOURCE: Source = source!("topk.wgsl");
static TOPK_FIND: Kernel = TOPK_SOURCE.kernel("topk_find");
static TOPK_COLLECT: Kernel = TOPK_SOURCE.kernel("topk_collect");
static TOPK_BACKWARD: Kernel = TOPK_SOURCE.kernel("topk_backward");

uniforms! {
    struct WhereUniforms { n: u32, of_a: u32 }
}
uniforms! {
    struct TopkUniforms { rows: u32, cols: u32, k: u32, chunks: u32, chunk: u32, step: u32, steps: u32 }
}

/// Elements of a row that one invocation of `topk_find` searches.
const CHUNK: usize = 4096;
/// Elements one invocation visits in a launch at most: bounds the time of a launch, and CPU drivers end loops after
/// 65,535 turns.
const VISITS: usize = 32_768;

/// Finds step after step into a scratch tensor, then writes values and indices.
fn topk(x: &Tensor, values: &Tensor, indices: &Tensor, [rows, cols, k]: [usize; 3]) {
    let gpu = x.gpu();
    let chunks = cols.div_ceil(CHUNK);
    let steps_at_once = if chunks == 1 { VISITS / cols } else { 1 };
    let found = Tensor::alloc(gpu, "topk", &Shape::from([k, rows, chunks, 2]), DType::U32);
    let uniforms = TopkUniforms {
        rows: rows as u32,
        cols: cols as u32,
        k: k as u32,
        chunks: chunks as u32,
        chunk: CHUNK as u32,
        step: 0,
        steps: 0,
    };
    for step in (0..k).step_by(steps_at_once) {
        let steps = steps_at_once.min(k - step);
        let uniforms = TopkUniforms { step: step as u32, steps: steps as u32, ..uniforms };
        let work = Work::new(4 * x.len() + 8 * rows * chunks * steps, steps * x.len());
        gpu.run(&TOPK_FIND, &[&found, x], &uniforms, Grid::items(rows * chunks), work);
    }
    let work = Work::new(4 * found.len() + 12 * values.len(), 0_u32);
    gpu.run(&TOPK_COLLECT, &[values, indices, &found, x], &uniforms, Grid::items(values.len()), work);
}

fn topk_backward(dy: &Tensor, indices: &Tensor, shape: Shape, [rows, cols, k]: [usize; 3]) -> Tensor {
    let dx = Tensor::scalar(dy.gpu(), 0.0).expand(shape);
    let [rows, cols, k] = [rows, cols, k].map(|n| n as u32);
    let uniforms = TopkUniforms { rows, cols, k, chunks: 0, chunk: 0, step: 0, steps: 0 };
    dy.gpu().run(
        &TOPK_BACKWARD,
        &[&dx, indices, dy],
        &uniforms,
        Grid::items(dy.len()),
        Work::new(12 * dy.len(), 0_u32),
    );
    dx
}

fn where_mask_backward(mask: &Tensor, dy: &Tensor, of_a: bool) -> Tensor {
    let n = dy.len();
    let dx = Tensor::alloc(dy.gpu(), "where_mask", dy.shape(), DType::F32);
    let uniforms = WhereUniforms { n: n.div_ceil(4) as u32, of_a: u32::from(of_a) };
    dy.gpu().run(
        &WHERE_BACKWARD,
        &[&dx, mask, dy],
        &uniforms,
        Grid::items(n.div_ceil(4)),
        Work::new(12 * n, 0_u32),
    );
    dx
}

/// `(leading axes, length of the last)`, the latter not 0.
#[track_caller]
fn split_last<'a>(op: &str, x: &'a Tensor) -> (&'a [usize], usize) {
    assert_f32(op, &[x]);
    match x.shape().split_last() {
        Some((&cols, leading)) if cols > 0 => (leading, cols),
        _ => panic!("{op}: shape {} has no elements along a last axis", x.shape()),
    }
}

/// Selection.
impl Tensor {
    /// `a` where the `u32` mask is not 0, else `b`; both broadcast to the mask's shape. Gradients: `dy` where each was
    /// taken, else 0.
    ///
    /// # Panics
    /// If the mask is not `u32`, or `a` or `b` is not `f32` or does not broadcast to its shape.
    #[track_caller]
    #[must_use]
    pub fn where_mask(mask: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
        assert_f32("where_mask", &[a, b]);
        assert_eq!(mask.dtype(), DType::U32, "where_mask: the mask is u32");
        let shape = mask.shape();
        let fit = |t: &Tensor| {
            let t = t.stop_gradient();
            if t.shape() == shape { t } else { t.expand(shape) }
        };
        let n = mask.len();
        let y = Tensor::alloc(mask.gpu(), "where_mask", shape, DType::F32);
        let uniforms = WhereUniforms { n: n.div_ceil(4) as u32, of_a: 1 };
        mask.gpu().run(
            &WHERE,
            &[&y, mask, &fit(a), &fit(b)],
            &uniforms,
            Grid::items(n.div_ceil(4)),
            Work::new(16 * n, 0_u32),
        );
        y.with_backward("where_mask", &[a, b], &[mask], |rule| {
            let [mask] = rule.saved();
            let gradient = |i: usize| rule.needs(i).then(|| where_mask_backward(mask, rule.dy, i == 0));
            vec![gradient(0), gradient(1)]
        })
    }

    /// The `k` largest along the last axis in falling order, and their indices as `u32`: `(..., n)` gives two `(..., k)`.
    ///
    /// Of equal elements the one with the lower index comes first. NaN counts as larger than every number, as in PyTorch.
    /// Gradient of the values: `dy` where they came from, else 0. Takes `k` passes over each row:
    /// meant for small `k`.
    ///
    /// # Panics
    /// If `k` is 0 or more than the last axis holds, or the elements are not `f32`.
    #[track_caller]
    #[must_use]
    pub fn topk(&self, k: usize) -> (Tensor, Tensor) {
        let (leading, cols) = split_last("topk", self);
        assert!((1..=cols).contains(&k), "topk: k = {k} of shape {}", self.shape());
        let rows: usize = leading.iter().product();
        let shape = Shape::from([leading, &[k]].concat());
        let values = Tensor::alloc(self.gpu(), "topk", &shape, DType::F32);
        let indices = Tensor::alloc(self.gpu(), "topk", &shape, DType::U32);
        topk(self, &values, &indices, [rows, cols, k]);
        let from = *self.shape();
        let values = values.with_backward("topk", &[self], &[&indices], move |rule| {
            let [indices] = rule.saved();
            vec![Some(topk_backward(rule.dy, indices, from, [rows, cols, k]))]
        });
        (values, indices)
    }

    /// Index of the first largest element along the last axis, as `u32`: `(..., n)` to `(...)`. NaN counts as larger than
    /// every number.
    ///
    /// # Panics
    /// If the last axis is empty or absent, or the elements are not `f32`.
    #[track_caller]
    #[must_use]
    pub fn argmax(&self) -> Tensor {
        let (leading, _) = split_last("argmax", self);
        self.stop_gradient().topk(1).1.reshape(leading)
    }
}
