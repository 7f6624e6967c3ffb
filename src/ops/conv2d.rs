//! 2-D convolution as implicit GEMMs on NHWC images and `[KH, KW, Cin, Cout]` weights: nothing is unfolded in memory.

mod matrix;

use super::matmul::{split_output, splits, sum_splits};
use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static NAIVE_SOURCE: Source =
    Source::new("conv/1_naive.wgsl", include_str!("../../shaders/conv/1_naive.wgsl"));
static NAIVE: [Kernel; 3] = [
    NAIVE_SOURCE.kernel("forward"),
    NAIVE_SOURCE.kernel("input_gradient"),
    NAIVE_SOURCE.kernel("weight_gradient"),
];
static FORWARD_SOURCE: Source =
    Source::new("conv/2_register_forward.wgsl", include_str!("../../shaders/conv/2_register_forward.wgsl"));
static INPUT_SOURCE: Source = Source::new(
    "conv/2_register_input_gradient.wgsl",
    include_str!("../../shaders/conv/2_register_input_gradient.wgsl"),
);
static WEIGHT_SOURCE: Source = Source::new(
    "conv/2_register_weight_gradient.wgsl",
    include_str!("../../shaders/conv/2_register_weight_gradient.wgsl"),
);
static REGISTER: [Kernel; 3] = [
    FORWARD_SOURCE.kernel("forward"),
    INPUT_SOURCE.kernel("input_gradient"),
    WEIGHT_SOURCE.kernel("weight_gradient"),
];
static RAGGED: [Kernel; 3] = [
    FORWARD_SOURCE.kernel("forward_ragged"),
    INPUT_SOURCE.kernel("input_gradient_ragged"),
    WEIGHT_SOURCE.kernel("weight_gradient_ragged"),
];
static WORKGROUP_SOURCE: Source =
    Source::new("conv/3_workgroup.wgsl", include_str!("../../shaders/conv/3_workgroup.wgsl"));
static WORKGROUP: [Kernel; 3] = [
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 0.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 1.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 2.0)]),
];

params! {
    struct Params {
        n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
        kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32,
    }
}
params! {
    struct SplitParams {
        n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
        kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32,
    }
}

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

/// Which of the three products of a convolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
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
        if (self.dtype(), weight.dtype()) == (DType::F16, DType::F32) {
            return self.conv2d(&weight.cast(DType::F16), options);
        }
        let p = check(self, weight, options);
        if [p.kh, p.kw, p.sh, p.sw, p.ph, p.pw] == [1, 1, 1, 1, 0, 0] {
            let [pixels, cin, cout] = [p.n * p.h * p.w, p.cin, p.cout].map(|d| d as usize);
            let y = self.reshape([pixels, cin]).matmul(&weight.reshape([cin, cout]));
            return y.reshape([p.n, p.h, p.w, p.cout].map(|d| d as usize));
        }
        let y = [p.n, p.oh, p.ow, p.cout].map(|d| d as usize);
        launch(Pass::Forward, p, y.into(), self, weight, self.dtype()).with_backward(
            "conv2d",
            &[self, weight],
            &[self, weight],
            move |g| {
                let [x, w] = g.saved();
                let dx = g.needs(0).then(|| launch(Pass::InputGradient, p, *x.shape(), g.dy, w, g.dtype(0)));
                let dw = g.needs(1).then(|| launch(Pass::WeightGradient, p, *w.shape(), x, g.dy, g.dtype(1)));
                vec![dx, dw]
            },
        )
    }
}

#[track_caller]
fn check(x: &Tensor, weight: &Tensor, options: Conv2dOptions) -> Params {
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
    let [n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw] = [
        n,
        h,
        w,
        cin,
        output(h, kh, 0),
        output(w, kw, 1),
        cout,
        kh,
        kw,
        stride[0],
        stride[1],
        padding[0],
        padding[1],
    ]
    .map(|d| d as u32);
    Params { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw }
}

/// Runs one pass: the result gets `shape` and `dtype`; `lhs` and `rhs` are x and w, dy and w, or x and dy.
fn launch(pass: Pass, p: Params, shape: Shape, lhs: &Tensor, rhs: &Tensor, dtype: DType) -> Tensor {
    let gpu = lhs.gpu();
    let result = Tensor::alloc(gpu, "conv2d", &shape, dtype);
    if result.is_empty() {
        return result;
    }
    if lhs.is_empty() || rhs.is_empty() {
        return result.full_like(0.0);
    }
    let file = match gpu.kernel_choice("conv") {
        None if super::matmul::matrix::fits(lhs, rhs) => "9_matrix",
        _ => super::rung(gpu, "conv"),
    };

    // The product as (rows, columns, length of the sums).
    let Params { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw } = p;
    let product = |dims: &[u32]| dims.iter().map(|&d| u64::from(d)).product::<u64>();
    let (rows, columns, k) = match pass {
        Pass::Forward => (product(&[n, oh, ow]), cout, product(&[kh, kw, cin])),
        Pass::InputGradient => (product(&[n, h, w]), cin, product(&[kh, kw, cout])),
        Pass::WeightGradient => (product(&[kh, kw, cin]), cout, product(&[n, oh, ow])),
    };
    let tiles = |size: u32| rows.div_ceil(u64::from(size)) * u64::from(columns.div_ceil(size));
    let split =
        |chunk, splits| SplitParams { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw, chunk, splits };
    let work = Work {
        bytes: (result.bytes() + lhs.bytes() + rhs.bytes()) as u64,
        flops: 2 * product(&[n, oh, ow, cout, kh, kw, cin]),
    };

    match file {
        "1_naive" => {
            let grid = Grid::items(result.len());
            gpu.run(&NAIVE[pass as usize], &[&result, lhs, rhs], &p, grid, work);
        }
        "2_register" => {
            let vectors = cin % 4 == 0 && cout % 4 == 0;
            let kernel = if vectors { &REGISTER[pass as usize] } else { &RAGGED[pass as usize] };
            // A workgroup takes 8 x 8 pixels and 8 channels.
            let groups = match pass {
                Pass::Forward => rows.div_ceil(64),
                // Pixels come class by class of the stride.
                Pass::InputGradient => {
                    product(&[n, h.div_ceil(sh), w.div_ceil(sw)]).div_ceil(64) * product(&[sh, sw])
                }
                // 8 tiles a workgroup; the sum is cut between lines of the output.
                Pass::WeightGradient => {
                    let wanted = splits(gpu.is_cpu(), tiles(8).div_ceil(8), k);
                    let chunk = (n * oh).div_ceil(wanted);
                    let splits = (n * oh).div_ceil(chunk);
                    let part = split_output("conv2d", &result, splits);
                    let grid = Grid::items(tiles(8) * u64::from(splits));
                    gpu.run(kernel, &[&part, lhs, rhs], &split(chunk, splits), grid, work);
                    sum_splits(&result, &part, splits);
                    return result;
                }
            };
            let grid = Grid::groups(groups * u64::from(columns.div_ceil(8)));
            gpu.run(kernel, &[&result, lhs, rhs], &p, grid, work);
        }
        "3_workgroup" => {
            let chunk = k.div_ceil(u64::from(splits(gpu.is_cpu(), tiles(64), k)));
            let splits = k.div_ceil(chunk) as u32;
            let part = split_output("conv2d", &result, splits);
            let grid = Grid::groups(tiles(64) * u64::from(splits));
            let params = split(chunk as u32, splits);
            gpu.run(&WORKGROUP[pass as usize], &[&part, lhs, rhs], &params, grid, work);
            sum_splits(&result, &part, splits);
        }
        "9_matrix" => matrix::launch(pass, &p, &result, lhs, rhs),
        other => panic!("conv2d: there is no shaders/conv/{other}.wgsl"),
    }
    result
}
