//! Ops on images: batch normalisation, pooling, convolution.

use wgrad::ops::{BatchNormOptions, Conv2dOptions};
use wgrad::reference::{batch_norm as norm, conv2d as conv, pool2d as pool, unary};
use wgrad::{DType, Tensor};

use super::super::check::{F32, Tol};
use super::Sizes;
use super::op::{Array, HALF, HALF_GRAD, Input, Op, float, op};
use super::rows::EXACT;
use conv::Conv;
use pool::Pool;

macro_rules! entries {
    ($make:ident) => {
        $make! { images: batch_norm max_pool2d avg_pool2d global_avg_pool conv2d conv2d_batch_norm }
    };
}
pub(crate) use entries;
entries!(all);

/// Rows around the strips' four and their ends; one column, primes, many columns; images.
const MAPS: [&[usize]; 18] = [
    &[7, 4],
    &[67, 12],
    &[4097, 8],
    &[3, 1],
    &[5, 3],
    &[8, 27],
    &[17, 7],
    &[130, 27],
    &[9, 127],
    &[64, 64],
    &[65, 5],
    &[33, 512],
    &[4099, 3],
    &[700, 12],
    &[70, 300],
    &[20_011, 1],
    &[2, 3, 5, 7],
    &[2, 9, 7, 5],
];

const EPS: f64 = 1e-5;

/// Which batch norm: by fixed statistics, with gamma and beta, plus a residual, with a ReLU.
#[derive(Clone, Copy, Default)]
struct Norm {
    eval: bool,
    affine: bool,
    residual: bool,
    relu: bool,
}

impl Norm {
    /// x, then what there is of mean and variance, gamma and beta, residual.
    fn inputs(self, shape: &[usize]) -> Vec<Input> {
        let column = || float(&[shape[shape.len() - 1]]).single();
        let mut inputs = vec![float(shape).between(-1.5, 2.5)];
        if self.eval {
            inputs.extend([column().fixed(), column().between(0.5, 2.5).fixed()]);
        }
        if self.affine {
            inputs.extend([column(), column()]);
        }
        if self.residual {
            inputs.push(float(shape));
        }
        inputs
    }

    fn run(self, x: &[Tensor]) -> Tensor {
        let (mut options, mut rest) = (BatchNormOptions::train(), &x[1..]);
        if self.eval {
            (options, rest) = (BatchNormOptions::eval(&rest[0], &rest[1]), &rest[2..]);
        }
        if self.affine {
            (options, rest) = (options.affine(&rest[0], &rest[1]), &rest[2..]);
        }
        if self.residual {
            options = options.residual(&rest[0]);
        }
        x[0].batch_norm(if self.relu { options.relu() } else { options })
    }

    /// Mean, variance, gamma and beta.
    fn columns(self, x: &[Array]) -> [Vec<f64>; 4] {
        let c = x[0].cols();
        let (mean, var) = if self.eval { (x[1].to_vec(), x[2].to_vec()) } else { norm::moments(&x[0], c) };
        let at = if self.eval { 3 } else { 1 };
        let (gamma, beta) =
            if self.affine { (x[at].to_vec(), x[at + 1].to_vec()) } else { (vec![1.0; c], vec![0.0; c]) };
        [mean, var, gamma, beta]
    }

    /// Before the ReLU.
    fn sum(self, x: &[Array]) -> Vec<f64> {
        let [mean, var, gamma, beta] = self.columns(x);
        let mut y = norm::forward(&x[0], &mean, &var, &gamma, &beta, EPS);
        if self.residual {
            y.iter_mut().zip(x[x.len() - 1].iter()).for_each(|(y, r)| *y += r);
        }
        y
    }

    fn value(self, x: &[Array]) -> Vec<f64> {
        let y = self.sum(x);
        if self.relu { unary::relu(&y) } else { y }
    }

    fn gradients(self, x: &[Array], dy: &[f64]) -> Vec<Vec<f64>> {
        let g = if self.relu { unary::relu_backward(&self.sum(x), dy) } else { dy.to_vec() };
        let [mean, var, gamma, _] = self.columns(x);
        let (dx, dgamma, dbeta) = if self.eval {
            norm::backward_fixed(&x[0], &mean, &var, &gamma, EPS, &g)
        } else {
            norm::backward(&x[0], &gamma, EPS, &g)
        };
        let mut all = vec![dx];
        if self.eval {
            all.extend([vec![], vec![]]);
        }
        if self.affine {
            all.extend([dgamma, dbeta]);
        }
        if self.residual {
            all.push(g);
        }
        all
    }

    fn op(self, name: &str, shapes: &[&[usize]]) -> Op {
        let op = op("batch_norm", move |x| self.run(x), move |x| self.value(x))
            .gradients(move |x, dy| self.gradients(x, dy))
            .named(name)
            .shapes(shapes.iter().map(|shape| self.inputs(shape)))
            // Sums over the rows, then a division by a standard deviation. A column of two or three rows has a slope of up to
            // `1 / std`, which multiplies every rounding.
            .tolerance(Tol::new(5e-6, 1e-5), Tol::new(5e-5, 5e-5))
            .half(Tol::new(4e-3, 2e-3), Tol::new(4e-3, 2e-3));
        if self.relu { op.kinks() } else { op }
    }
}

pub(crate) fn batch_norm(sizes: &Sizes) -> Vec<Op> {
    let [n, size, c] = sizes.maps;
    let maps = [n, size, size, c];
    let plain = Norm::default();
    let train = Norm { affine: true, ..plain };
    let tail = Norm { residual: true, relu: true, ..train };
    let eval = Norm { eval: true, ..train };
    vec![
        train.op("batch_norm", &MAPS).timed(train.inputs(&maps)),
        tail.op("batch_norm + residual + ReLU", &MAPS).timed(tail.inputs(&maps)),
        Norm { relu: false, ..tail }.op("batch_norm + residual", &MAPS),
        Norm { residual: false, ..tail }.op("batch_norm + ReLU", &MAPS),
        plain.op("batch_norm without affine", &[&[2, 3, 5, 7]]),
        eval.op("batch_norm, eval", &[&[1, 1], &[5, 3], &[33, 512], &[20_011, 1]]),
        Norm { affine: false, ..eval }.op("batch_norm, eval, without affine", &[&[9, 2]]),
        Norm { relu: true, ..eval }.op("batch_norm, eval + ReLU", &[&[1, 1], &[5, 3], &[9, 8]]),
        Norm { eval: true, affine: false, ..tail }
            .op("batch_norm, eval + residual + ReLU", &[&[1, 1], &[5, 3], &[9, 8]]),
    ]
}

/// Kernel, stride and padding, with the images they are tried on: windows that overlap, leave gaps and hang over the edge.
type Window = ([usize; 2], [usize; 2], [usize; 2], &'static [[usize; 4]]);

const WINDOWS: [Window; 9] = [
    ([1, 1], [1, 1], [0, 0], &[[1, 1, 1, 1]]),
    ([2, 2], [2, 2], [0, 0], &[[1, 8, 6, 4]]),
    ([2, 3], [3, 1], [1, 0], &[[3, 11, 5, 3]]), // gaps between rows, overlap along columns
    ([4, 5], [1, 3], [2, 2], &[[1, 5, 13, 67]]),
    ([2, 2], [5, 5], [1, 1], &[[2, 4, 4, 2]]),
    ([3, 3], [1, 1], [0, 0], &[[1, 3, 3, 7]]),
    ([3, 3], [2, 1], [1, 1], &[[2, 5, 37, 8]]), // more than one run a row
    ([1, 7], [1, 3], [0, 2], &[[1, 4, 50, 12]]),
    ([3, 3], [2, 2], [1, 1], &[[2, 7, 9, 5], [2, 7, 9, 8], [2, 9, 7, 5]]), // the ImageNet stem
];

/// A mean of up to some hundred values in [-1, 1).
const MEAN: Tol = Tol::new(2e-6, 2e-6);

fn pool_of(x: &Array, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Pool {
    let [n, h, w, c] = [0, 1, 2, 3].map(|axis| x.shape[axis]);
    Pool { n, input: [h, w], c, kernel, stride, padding }
}

/// An op for every window; the last is timed.
fn pools(sizes: &Sizes, input: fn(&[usize]) -> Input, make: fn([[usize; 2]; 3]) -> Op) -> Vec<Op> {
    let [n, size, c] = sizes.maps;
    let op = |(kernel, stride, padding, shapes): Window| {
        make([kernel, stride, padding]).shapes(shapes.iter().map(|shape| [input(shape)]))
    };
    let mut ops: Vec<Op> = WINDOWS.into_iter().map(op).collect();
    let last = ops.pop().map(|op| op.timed([float(&[n, size, size, c])]));
    ops.extend(last.map(|op| op.output(n * size.div_ceil(2).pow(2) * c)));
    ops
}

pub(crate) fn max_pool2d(sizes: &Sizes) -> Vec<Op> {
    // Distinct values, far enough apart that a finite difference changes no maximum.
    fn distinct(shape: &[usize]) -> Vec<f32> {
        let n: usize = shape.iter().product();
        (0..n).map(|i| (i * 7919 % n) as f32 / n as f32).collect()
    }
    pools(
        sizes,
        |shape| float(shape).made(distinct),
        |[kernel, stride, padding]| {
            let pool_of = move |x: &[Array]| pool_of(&x[0], kernel, stride, padding);
            op(
                "max_pool2d",
                move |x| x[0].max_pool2d(kernel, stride, padding),
                move |x| pool::max_pool2d(&x[0], &pool_of(x)),
            )
            .gradients(move |x, dy| vec![pool::max_pool2d_backward(&x[0], dy, &pool_of(x))])
            .tolerance(EXACT, F32)
            .half(EXACT, HALF_GRAD)
        },
    )
}

pub(crate) fn avg_pool2d(sizes: &Sizes) -> Vec<Op> {
    pools(sizes, float, |[kernel, stride, padding]| {
        let pool_of = move |x: &[Array]| pool_of(&x[0], kernel, stride, padding);
        op(
            "avg_pool2d",
            move |x| x[0].avg_pool2d(kernel, stride, padding),
            move |x| pool::avg_pool2d(&x[0], &pool_of(x)),
        )
        .gradients(move |x, dy| vec![pool::avg_pool2d_backward(dy, &pool_of(x))])
        .tolerance(MEAN, MEAN)
        .half(HALF, HALF_GRAD)
    })
}

pub(crate) fn global_avg_pool(sizes: &Sizes) -> Op {
    let [n, size, c] = sizes.maps;
    let shapes = [
        [1, 1, 1, 1],
        [3, 4, 5, 7],
        [2, 17, 13, 65],
        [1, 65, 64, 2],
        [2, 8, 8, 64],
        [2, 7, 9, 5],
        [2, 9, 7, 5],
    ];
    let whole = |x: &[Array]| (x[0].shape[0], [x[0].shape[1], x[0].shape[2]], x[0].shape[3]);
    op(
        "global_avg_pool",
        |x| x[0].global_avg_pool(),
        move |x| {
            let (n, input, c) = whole(x);
            pool::global_avg_pool(&x[0], n, input, c)
        },
    )
    .gradients(move |x, dy| {
        let (n, input, c) = whole(x);
        vec![pool::global_avg_pool_backward(dy, n, input, c)]
    })
    .shapes(shapes.map(|shape| [float(&shape)]))
    .timed([float(&[n, size, size, c])])
    .output(n * c)
    .tolerance(MEAN, MEAN)
    .half(MEAN, HALF_GRAD)
    .gives(DType::F32)
}

pub(crate) const fn conv(
    n: usize,
    input: [usize; 2],
    cin: usize,
    cout: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Conv {
    Conv { n, input, cin, cout, kernel, stride, padding }
}

pub(crate) const CONVOLUTIONS: [Conv; 25] = [
    conv(1, [1, 1], 1, 1, [1, 1], [1, 1], [0, 0]),
    conv(2, [5, 7], 3, 5, [1, 1], [1, 1], [0, 0]), // a matmul
    conv(2, [5, 7], 4, 8, [1, 1], [2, 2], [0, 0]), // a shortcut: most of dx is zero
    conv(3, [9, 8], 1, 8, [3, 3], [2, 2], [1, 1]), // a stem of one channel
    conv(2, [8, 9], 3, 6, [3, 3], [1, 1], [1, 1]), // K = 27
    conv(2, [11, 6], 4, 12, [3, 3], [1, 1], [1, 1]),
    conv(1, [13, 12], 8, 4, [3, 3], [2, 2], [1, 1]),
    conv(2, [7, 7], 8, 16, [3, 3], [2, 1], [0, 1]),
    conv(1, [10, 9], 12, 20, [2, 3], [3, 2], [1, 2]),
    conv(1, [15, 17], 3, 7, [7, 7], [2, 2], [3, 3]), // the ImageNet stem
    conv(2, [6, 5], 5, 9, [2, 2], [3, 4], [0, 0]),   // a stride beyond the kernel: pixels no output sees
    conv(1, [3, 4], 4, 4, [5, 2], [1, 1], [4, 1]),   // padding beyond the image
    conv(3, [8, 8], 16, 8, [3, 3], [1, 1], [1, 1]),  // whole tiles
    conv(1, [9, 7], 64, 68, [3, 1], [1, 1], [1, 0]),
    conv(2, [7, 9], 8, 4, [3, 3], [1, 1], [0, 2]),
    conv(2, [9, 7], 3, 5, [1, 1], [2, 2], [0, 0]),
    conv(2, [9, 9], 5, 12, [3, 3], [1, 1], [1, 1]),
    conv(2, [9, 8], 33, 12, [3, 3], [2, 2], [0, 0]),
    conv(2, [9, 9], 1, 8, [7, 7], [1, 1], [3, 3]),
    conv(2, [13, 10], 3, 8, [3, 3], [1, 1], [1, 1]),
    conv(2, [13, 10], 4, 68, [3, 3], [2, 2], [1, 1]),
    conv(2, [13, 10], 32, 64, [3, 3], [1, 1], [1, 1]),
    conv(2, [8, 9], 5, 9, [1, 1], [1, 1], [0, 0]),
    conv(3, [21, 20], 1, 3, [3, 3], [2, 1], [1, 1]), // as the next
    conv(3, [21, 20], 4, 8, [3, 3], [1, 1], [1, 1]), // long enough for the weight gradient to be split
];

/// Sums of up to some thousand products of values in [-1, 1).
const SUM: Tol = Tol::new(1e-4, 2e-5);

/// Images and weights.
fn of(conv: &Conv) -> [Input; 2] {
    let Conv { n, input: [h, w], cin, cout, kernel: [kh, kw], .. } = *conv;
    [float(&[n, h, w, cin]), float(&[kh, kw, cin, cout])]
}

/// A convolution with the stride and padding of `conv`, of any sizes.
fn convolution(like: &Conv) -> Op {
    let Conv { stride, padding, .. } = *like;
    let sizes = move |x: &[Array]| {
        let ([n, h, w, cin], [kh, kw, _, cout]) =
            ([0, 1, 2, 3].map(|i| x[0].shape[i]), [0, 1, 2, 3].map(|i| x[1].shape[i]));
        conv(n, [h, w], cin, cout, [kh, kw], stride, padding)
    };
    op(
        "conv2d",
        move |x| x[0].conv2d(&x[1], Conv2dOptions { stride, padding }),
        move |x| conv::conv2d(&x[0], &x[1], &sizes(x)),
    )
    .gradients(move |x, dy| {
        let (dx, dw) = conv::conv2d_backward(&x[0], &x[1], dy, &sizes(x));
        vec![dx, dw]
    })
    .named(format!("conv2d by {stride:?}, padding {padding:?}"))
    .shapes([of(like)])
    .tolerance(SUM, SUM)
    .spreads_nan("a weight is multiplied by the zeros of the padding")
    // The gradient to the images is rounded; that to the weights is the f32 sum.
    .half(Tol::new(1e-4, 1e-3), Tol::new(1e-4, 1e-3))
}

/// The cases of the ladder: 3x3 with padding 1.
pub(crate) fn convolutions(sizes: &Sizes) -> Vec<Op> {
    let [n, size, cin, cout] = sizes.convolution;
    let flops = 18 * n * size * size * cin * cout;
    let like = conv(2, [7, 11], 4, 12, [3, 3], [1, 1], [1, 1]);
    let large = conv(n, [size; 2], cin, cout, [3, 3], [1, 1], [1, 1]);
    let base = convolution(&like)
        .named("conv2d")
        .timed_forward(of(&large))
        .output(n * size * size * cout)
        .flops(flops, 0);
    let of_x = base.clone().only_gradient_of("conv2d, gradient of x", 0, flops);
    let of_w = base.clone().only_gradient_of("conv2d, gradient of w", 1, flops);
    vec![base, of_x, of_w]
}

/// What the rungs of the ladder compute.
pub(crate) fn laddered(sizes: &Sizes) -> Vec<Op> {
    conv2d(sizes).into_iter().chain([conv2d_batch_norm(sizes)]).collect()
}

pub(crate) fn conv2d(sizes: &Sizes) -> Vec<Op> {
    let mut ops = convolutions(sizes);
    // The first convolution of a ResNet for small images: 3 channels, so that K = 27.
    let n = sizes.maps[0];
    let stem = conv(n, [32; 2], 3, 16, [3, 3], [1, 1], [1, 1]);
    ops.push(
        convolution(&conv(2, [7, 11], 3, 16, [3, 3], [1, 1], [1, 1]))
            .named("conv2d, stem")
            .timed_forward(of(&stem))
            .output(n * 32 * 32 * 16)
            .flops(18 * n * 32 * 32 * 3 * 16, 0),
    );
    for like in &CONVOLUTIONS {
        let [x, w] = of(like);
        // Weights of f32 are cast to the images' type; their gradient is the f32 sum.
        let op = convolution(like);
        let of_w =
            op.clone().only_gradient_of("conv2d, gradient of f32 weights", 1, 0).shapes([[x, w.single()]]);
        ops.extend([op, of_w.half(Tol::new(1e-4, 1e-3), SUM)]);
    }
    ops
}

/// Images, weights, gamma and beta; the statistics are those of the batch.
pub(crate) fn conv2d_batch_norm(sizes: &Sizes) -> Op {
    let inputs = |conv: &Conv| {
        let column = || float(&[conv.cout]).single();
        let [x, w] = of(conv);
        [x, w, column(), column()]
    };
    let sizes_of = |x: &[Array]| {
        let ([n, h, w, cin], cout) = ([0, 1, 2, 3].map(|i| x[0].shape[i]), x[1].cols());
        conv(n, [h, w], cin, cout, [3, 3], [1, 1], [1, 1])
    };
    let [n, size, cin, cout] = sizes.convolution;
    op(
        "conv2d_batch_norm",
        |x| {
            let norm = BatchNormOptions::train().affine(&x[2], &x[3]);
            x[0].conv2d_batch_norm(&x[1], Conv2dOptions::new().padding(1), norm)
        },
        move |x| {
            let y = conv::conv2d(&x[0], &x[1], &sizes_of(x));
            let (mean, var) = norm::moments(&y, x[1].cols());
            norm::forward(&y, &mean, &var, &x[2], &x[3], EPS)
        },
    )
    .gradients(move |x, dy| {
        let y = conv::conv2d(&x[0], &x[1], &sizes_of(x));
        let (dy, dgamma, dbeta) = norm::backward(&y, &x[2], EPS, dy);
        let (dx, dw) = conv::conv2d_backward(&x[0], &x[1], &dy, &sizes_of(x));
        vec![dx, dw, dgamma, dbeta]
    })
    .shapes([
        inputs(&conv(1, [3, 1], 1, 1, [3, 3], [1, 1], [1, 1])),
        inputs(&conv(3, [33, 18], 4, 12, [3, 3], [1, 1], [1, 1])),
        inputs(&conv(2, [7, 11], 3, 5, [3, 3], [1, 1], [1, 1])),
    ])
    .timed_forward(inputs(&conv(n, [size; 2], cin, cout, [3, 3], [1, 1], [1, 1])))
    .output(n * size * size * cout)
    .flops(18 * n * size * size * cin * cout, 0)
    .tolerance(SUM, SUM)
    .spreads_nan("a weight is multiplied by the zeros of the padding")
    // The convolution's output is rounded before it is normalised.
    .half(Tol::new(6e-3, 2e-3), Tol::new(5e-2, 1e-2))
}
