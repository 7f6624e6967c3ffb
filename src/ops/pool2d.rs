//! Max and average pooling over NHWC images.

use super::binary::expand_scaled;
use super::conv2d::Pair;
use super::elementwise::assert_float;
use super::strips::{Lanes, lanes};
use crate::gpu::{Bind, Gpu, Grid, Source, Work, source, uniforms};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("pool2d.wgsl");
static MAX: Lanes = lanes(&SOURCE, "max_pool2d", &[]);
static MAX_BACKWARD: Lanes = lanes(&SOURCE, "max_pool2d_backward", &[]);
static AVG: Lanes = lanes(&SOURCE, "avg_pool2d", &[]);
static AVG_BACKWARD: Lanes = lanes(&SOURCE, "avg_pool2d_backward", &[]);

uniforms! {
    struct Uniforms {
        n: u32, h: u32, w: u32, c: u32, oh: u32, ow: u32, kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32,
        run: u32, runs: u32,
    }
}

impl Uniforms {
    /// Work of a launch over these tensors: an addition or comparison for each element of each window.
    fn work(&self, tensors: &[&Tensor]) -> Work {
        let bytes: usize = tensors.iter().map(|t| t.bytes()).sum();
        let windows = u64::from(self.n * self.oh * self.ow) * u64::from(self.c);
        Work::new(bytes as u64, windows * u64::from(self.kh * self.kw))
    }

    /// Launches `kernel`: each of `lines` rows of the result, `width` long, is cut into runs, and an invocation makes a run of one
    /// channel, or of four where `c` is a multiple of four.
    #[track_caller]
    fn run(&self, gpu: &Gpu, kernel: &Lanes, tensors: &[&dyn Bind], [lines, width]: [u32; 2], work: Work) {
        // Longer runs divide less and leave fewer invocations. lavapipe ends an invocation's loops at 65,535 iterations.
        let longest = gpu.facts().pool_run.min(8192 / (self.kh * self.kw)).max(1);
        let runs = width.div_ceil(longest).max(1);
        let wide = self.c.is_multiple_of(4);
        let c = if wide { self.c / 4 } else { self.c };
        let uniforms = Uniforms { c, run: width.div_ceil(runs), runs, ..*self };
        let items = u64::from(self.n) * u64::from(lines) * u64::from(runs) * u64::from(c);
        gpu.run(&kernel[usize::from(wide)], tensors, &uniforms, Grid::items(items), work);
    }

    fn output(&self) -> Shape {
        Shape::from([self.n, self.oh, self.ow, self.c].map(|d| d as usize))
    }
}

impl Tensor {
    /// Maximum over windows of images `[N, H, W, C]`: `[N, H', W', C]`, `H' = (H + 2 padding - kernel) / stride + 1`,
    /// rounded down. Padding never wins. Gradient: to the first maximum of each window, row by row, as in PyTorch.
    ///
    /// # Panics
    /// If the rank is not 4, a kernel or stride is 0, padding exceeds half the kernel, or a window exceeds the image.
    #[track_caller]
    #[must_use]
    pub fn max_pool2d(
        &self,
        kernel: impl Into<Pair>,
        stride: impl Into<Pair>,
        padding: impl Into<Pair>,
    ) -> Tensor {
        let p = check("max_pool2d", self, kernel.into(), stride.into(), padding.into());
        let y = Tensor::alloc(self.gpu(), "max_pool2d", &p.output(), self.dtype());
        let tap = Tensor::alloc(self.gpu(), "max_pool2d", &p.output(), DType::U32);
        let work = p.work(&[&y, &tap, self]);
        p.run(self.gpu(), &MAX, &[&y, &tap, self], [p.oh, p.ow], work);
        let shape = *self.shape();
        y.with_backward("max_pool2d", &[self], &[&tap], move |g| {
            let [tap] = g.saved();
            let dx = Tensor::alloc(tap.gpu(), "max_pool2d", &shape, g.dy.dtype());
            let work = p.work(&[&dx, g.dy, tap]);
            p.run(tap.gpu(), &MAX_BACKWARD, &[&dx, g.dy, tap], [p.h, p.w], work);
            vec![Some(dx)]
        })
    }

    /// Mean over windows of images `[N, H, W, C]`, padding counted as zeros (PyTorch's `count_include_pad`).
    /// Gradient: `dy / (KH KW)` to every element of the window.
    ///
    /// # Panics
    /// As [`Tensor::max_pool2d`].
    #[track_caller]
    #[must_use]
    pub fn avg_pool2d(
        &self,
        kernel: impl Into<Pair>,
        stride: impl Into<Pair>,
        padding: impl Into<Pair>,
    ) -> Tensor {
        avg("avg_pool2d", self, kernel.into(), stride.into(), padding.into(), self.dtype())
    }

    /// Mean over height and width: `[N, H, W, C]` to `[N, C]`, in `f32` also of `f16` images. Large images take two passes, one axis each.
    ///
    /// # Panics
    /// If the rank is not 4 or the images have no pixels.
    #[track_caller]
    #[must_use]
    pub fn global_avg_pool(&self) -> Tensor {
        let &[n, h, w, c] = &**self.shape() else {
            panic!("global_avg_pool: want [N, H, W, C], not {}", self.shape())
        };
        let mean = |x: &Tensor, window| {
            avg("global_avg_pool", x, Pair(window), Pair([1, 1]), Pair([0, 0]), DType::F32)
        };
        // A window is one invocation's loop, and lavapipe ends loops at 65,535 iterations.
        let y = if h * w > 4096 { mean(&mean(self, [1, w]), [h, 1]) } else { mean(self, [h, w]) };
        y.reshape([n, c])
    }
}

#[track_caller]
fn avg(op: &'static str, x: &Tensor, kernel: Pair, stride: Pair, padding: Pair, dtype: DType) -> Tensor {
    let p = check(op, x, kernel, stride, padding);
    let y = Tensor::alloc(x.gpu(), op, &p.output(), dtype);
    p.run(x.gpu(), &AVG, &[&y, x], [p.oh, p.ow], p.work(&[&y, x]));
    let shape = *x.shape();
    let from = x.dtype();
    y.with_backward(op, &[x], &[], move |g| {
        // Windows that span an axis or one element of it, as those of the global pool: dy is only repeated.
        let repeats = |kernel, size, out| kernel == size || (kernel == 1 && out == size);
        if [p.ph, p.pw] == [0, 0] && repeats(p.kh, p.h, p.oh) && repeats(p.kw, p.w, p.ow) {
            let dy = g.dy.div_scalar((p.kh * p.kw) as f32).to_dtype(from); // scaled before it is rounded
            return vec![Some(expand_scaled(&dy, &shape, 1.0))];
        }
        let dx = Tensor::alloc(g.dy.gpu(), op, &shape, from);
        let work = p.work(&[&dx, g.dy]);
        p.run(g.dy.gpu(), &AVG_BACKWARD, &[&dx, g.dy], [p.h, p.w], work);
        vec![Some(dx)]
    })
}

#[track_caller]
fn check(op: &str, x: &Tensor, Pair(kernel): Pair, Pair(stride): Pair, Pair(padding): Pair) -> Uniforms {
    assert_float(op, &[x]);
    let &[n, h, w, c] = &**x.shape() else { panic!("{op}: want [N, H, W, C], not {}", x.shape()) };
    let output = |size: usize, axis: usize| {
        let (kernel, stride, padding) = (kernel[axis], stride[axis], padding[axis]);
        assert!(
            kernel > 0 && stride > 0 && 2 * padding <= kernel && kernel <= size + 2 * padding,
            "{op}: windows of {kernel} by steps of {stride}, padding {padding}, do not fit images {}",
            x.shape()
        );
        (size + 2 * padding - kernel) / stride + 1
    };
    let (oh, ow) = (output(h, 0), output(w, 1));
    let [n, h, w, c, oh, ow] = [n, h, w, c, oh, ow].map(|d| d as u32);
    let [kh, kw, sh, sw, ph, pw] =
        [kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1]].map(|d| d as u32);
    Uniforms { n, h, w, c, oh, ow, kh, kw, sh, sw, ph, pw, run: 0, runs: 0 }
}
