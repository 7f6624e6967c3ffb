//! 2-D convolution as implicit GEMMs on NHWC images and `[KH, KW, Cin, Cout]` weights: nothing is unfolded in memory.

mod block;
mod job;
pub(super) mod ladder;
mod matrix;
mod winograd;

use super::batch_norm::BatchNormOptions;
use super::channel_stats::Stats;
use super::ladder::rung;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use job::{Job, Pass, Sizes};
use ladder::Convolutions;

/// A value for height and one for width; a plain number stands for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both, both])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

/// Stride and zero padding of a convolution, along height and width. Default: stride 1, no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Zeros put on both sides.
    pub padding: [usize; 2],
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [0, 0] }
    }
}

impl Conv2dOptions {
    /// Stride 1, no padding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into().0, ..self }
    }

    /// Sets the padding.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into().0, ..self }
    }
}

impl Tensor {
    /// Convolution of images `[N, H, W, Cin]` with weights `[KH, KW, Cin, Cout]`: `[N, H', W', Cout]` with
    /// `H' = (H + 2 padding - KH) / stride + 1`, rounded down. A cross-correlation, as in PyTorch; no bias.
    /// Gradients: to the images and to the weights.
    ///
    /// Images of `f16` want weights of `f16`, or `f32` ones that are cast; sums are `f32`, and so is the gradient to the weights.
    ///
    /// # Panics
    /// If the shapes or types do not fit, a stride is 0, or the padded image is smaller than the kernel.
    #[track_caller]
    #[must_use]
    pub fn conv2d(&self, weight: &Tensor, options: Conv2dOptions) -> Tensor {
        conv2d(self, weight, options, false).0
    }

    /// [`Tensor::conv2d`] then [`Tensor::batch_norm`]. In training, a kernel that has the sums of many pixels in one
    /// workgroup takes the statistics from them, which saves reading the images once more: of the 3 times that
    /// `batch_norm` reads or writes them, 1.
    ///
    /// # Panics
    /// As the two do.
    #[track_caller]
    #[must_use]
    pub fn conv2d_batch_norm(
        &self,
        weight: &Tensor,
        options: Conv2dOptions,
        norm: BatchNormOptions<'_>,
    ) -> Tensor {
        let (y, stats) = conv2d(self, weight, options, norm.train);
        y.batch_norm(norm.strips(stats.as_ref()))
    }
}

/// [`Tensor::conv2d`], and the statistics of its channels where the kernel has them at hand and `wants_stats`.
#[track_caller]
pub(super) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    options: Conv2dOptions,
    wants_stats: bool,
) -> (Tensor, Option<Stats>) {
    if (x.dtype(), weight.dtype()) == (DType::F16, DType::F32) {
        return conv2d(x, &weight.cast(DType::F16), options, wants_stats);
    }
    let sizes = check(x, weight, options);
    let Sizes { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw } = sizes;
    let shape = [n, oh, ow, cout].map(|d| d as usize);
    if [kh, kw, sh, sw, ph, pw] == [1, 1, 1, 1, 0, 0] {
        let [pixels, cin, cout] = [n * h * w, cin, cout].map(|d| d as usize);
        return (x.reshape([pixels, cin]).matmul(&weight.reshape([cin, cout])).reshape(shape), None);
    }
    let (y, stats) = launch(Pass::Forward, sizes, (shape.into(), x.dtype()), [x, weight], wants_stats, None);
    let y = y.with_backward("conv2d", &[x, weight], &[x, weight], move |g| {
        let [x, w] = g.saved();
        let dx = g.needs(0).then(|| {
            let plus = g.take_sum(0, x.dtype());
            launch(Pass::InputGradient, sizes, (*x.shape(), x.dtype()), [g.dy, w], false, plus.as_ref()).0
        });
        let dw = g
            .needs(1)
            .then(|| launch(Pass::WeightGradient, sizes, (*w.shape(), DType::F32), [x, g.dy], false, None).0);
        vec![dx, dw]
    });
    (y, stats)
}

#[track_caller]
fn check(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> Sizes {
    let Conv2dOptions { stride, padding } = options;
    let misfit = |why: &str| -> ! {
        panic!("conv2d: images {} and weights {}, {options:?}: {why}", x.shape(), weight.shape())
    };
    let (&[n, h, w, cin], &[kh, kw, wcin, cout]) = (&**x.shape(), &**weight.shape()) else {
        misfit("want [N, H, W, Cin] and [KH, KW, Cin, Cout]")
    };
    if !x.dtype().is_float() || weight.dtype() != x.dtype() {
        misfit(&format!("want floats of one type, not {:?} and {:?}", x.dtype(), weight.dtype()));
    }
    if wcin != cin {
        misfit("the number of input channels differs");
    }
    let output = |size: usize, kernel: usize, axis: usize| {
        let padded = size + 2 * padding[axis];
        if stride[axis] == 0 || kernel == 0 || padded < kernel {
            misfit("want a stride and a kernel of at least 1, and a padded image no smaller than the kernel");
        }
        (padded - kernel) / stride[axis] + 1
    };
    let (oh, ow) = (output(h, kh, 0), output(w, kw, 1));
    let [n, h, w, cin, oh, ow, cout] = [n, h, w, cin, oh, ow, cout].map(|d| d as u32);
    let [[sh, sw], [ph, pw], [kh, kw]] = [stride, padding, [kh, kw]].map(|pair| pair.map(|d| d as u32));
    Sizes { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw }
}

/// Runs one pass: the result gets `shape` and `dtype`; `lhs` and `rhs` are x and w, dy and w, or x and dy. It is the product and `plus`.
fn launch(
    pass: Pass,
    sizes: Sizes,
    (shape, dtype): (Shape, DType),
    [lhs, rhs]: [&Tensor; 2],
    wants_stats: bool,
    plus: Option<&Tensor>,
) -> (Tensor, Option<Stats>) {
    let result = Tensor::alloc(lhs.gpu(), "conv2d", &shape, dtype);
    if result.is_empty() {
        return (result, None);
    }
    if lhs.is_empty() || rhs.is_empty() {
        return (plus.map_or_else(|| result.full_like(0.0), Tensor::clone), None);
    }
    let job = Job { pass, sizes, result: &result, lhs, rhs, wants_stats, plus };
    let done = (rung::<Convolutions>(&job).launch)(&job);
    match plus {
        Some(plus) if !done.has_plus => (plus.add(&result), done.stats),
        _ => (result, done.stats),
    }
}
