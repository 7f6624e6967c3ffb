//! Every differentiable op and its neighbours, in sizes for a CPU adapter or for a GPU.

use wgrad::ops::{BatchNormOptions, Conv2dOptions};
use wgrad::reference as spec;
use wgrad::ssl::{info_nce, nt_xent};
use wgrad::{DType, Gpu, Tensor};

use super::op::{Op, Values, float, index, op};

/// Elementwise ops of one input, which share everything but two functions.
macro_rules! elementwise {
    ($rows:expr, $($name:ident $backward:ident),+) => {
        [$(op(
            stringify!($name),
            vec![float(&[5, 37])],
            vec![float(&[$rows, 1024])],
            |x| x[0].$name(),
            |x| spec::unary::$name(&x[0]),
        )
        .gradients(|x, dy| vec![spec::unary::$backward(&x[0], dy)])),+]
    };
}

/// Every op, in sizes for a CPU adapter or for a GPU.
pub(crate) fn ops(gpu: &Gpu) -> Vec<Op> {
    let rows = if gpu.is_cpu() { 4096 } else { 32_768 };
    let mut ops = vec![];
    ops.extend(
        elementwise!(rows, relu relu_backward, gelu gelu_backward, tanh tanh_backward, exp exp_backward),
    );
    ops.push(softsign(rows));
    ops.extend(arithmetic(rows));
    ops.extend(reductions(rows));
    ops.extend(by_row(rows));
    ops.extend(images(if gpu.is_cpu() { [64, 28, 32] } else { [512, 32, 64] }));
    ops.extend(moves(rows));
    ops.extend(products(if gpu.is_cpu() { 512 } else { 4096 }));
    ops.extend(convolutions(if gpu.is_cpu() { [64, 28, 32, 32] } else { [512, 32, 64, 64] }));
    ops.push(stem(if gpu.is_cpu() { 64 } else { 512 }));
    ops.extend(contrastive(if gpu.is_cpu() { 1024 } else { 8192 }));
    ops.push(covariance(if gpu.is_cpu() { [256, 512] } else { [2048, 2048] }));
    ops
}

/// The rungs of a family that run on `gpu`, lowest first, matrix units last.
pub(crate) fn rungs(family: &str, gpu: &Gpu) -> Vec<&'static str> {
    let matrix = on_matrix_units(family).filter(|_| !gpu.info().matrix_tiles.is_empty());
    wgrad::ops::rungs(family, gpu, DType::F32).into_iter().chain(matrix).collect()
}

/// What a ladder is timed on: the ops of `family`, in f16 for the rungs of matrix units, which multiply nothing else. Empty
/// for a family that has no line here.
pub(crate) fn ladder(family: &str, rung: &str, gpu: &Gpu) -> Vec<Op> {
    let dtype = if Some(rung) == on_matrix_units(family) { DType::F16 } else { DType::F32 };
    let ops = match family {
        "matmul" => products(if gpu.is_cpu() { 512 } else { 4096 }),
        "conv" => convolutions(if gpu.is_cpu() { [64, 28, 32, 32] } else { [512, 32, 64, 64] }),
        "contrastive" => contrastive(if gpu.is_cpu() { 1024 } else { 8192 }),
        _ => vec![],
    };
    ops.into_iter().map(|op| op.dtype(dtype)).collect()
}

/// The rung of a family that multiplies f16 on matrix units: beside the others, since it is no choice for f32.
pub(crate) fn on_matrix_units(family: &str) -> Option<&'static str> {
    match family {
        "matmul" => Some("11_matrix"),
        "conv" => Some("7_matrix"),
        _ => None,
    }
}

fn softsign(rows: usize) -> Op {
    op(
        "softsign",
        vec![float(&[5, 37])],
        vec![float(&[rows, 1024])],
        |x| x[0].softsign(),
        |x| spec::softsign::softsign(&x[0]),
    )
    .gradients(|x, dy| vec![spec::softsign::softsign_backward(&x[0], dy)])
}

fn arithmetic(rows: usize) -> Vec<Op> {
    let two = |shape: &[usize]| vec![float(shape), float(shape)];
    let (ragged, timed) = (two(&[5, 37]), two(&[rows, 1024]));
    vec![
        op(
            "add",
            ragged.clone(),
            timed.clone(),
            |x| x[0].add(&x[1]),
            |x| spec::binary::forward((&x[0], &[5, 37]), (&x[1], &[5, 37]), |a, b| a + b),
        ),
        op(
            "mul",
            ragged.clone(),
            timed.clone(),
            |x| x[0].mul(&x[1]),
            |x| spec::binary::forward((&x[0], &[5, 37]), (&x[1], &[5, 37]), |a, b| a * b),
        )
        .gradients(|x, dy| {
            let (a, b) = spec::binary::backward((&x[0], &[5, 37]), (&x[1], &[5, 37]), |a, b| (b, a), dy);
            vec![a, b]
        }),
        op(
            "add of a row",
            vec![float(&[5, 37]), float(&[37])],
            vec![float(&[rows, 1024]), float(&[1024])],
            |x| x[0].add(&x[1]),
            |x| spec::binary::forward((&x[0], &[5, 37]), (&x[1], &[37]), |a, b| a + b),
        )
        .gradients(|x, dy| {
            let (a, b) = spec::binary::backward((&x[0], &[5, 37]), (&x[1], &[37]), |_, _| (1.0, 1.0), dy);
            vec![a, b]
        }),
        op(
            "lerp_",
            ragged,
            timed,
            |x| {
                x[0].lerp_(&x[1], 0.25);
                x[0].clone()
            },
            |x| spec::lerp::lerp(&x[0], &x[1], 0.25),
        ),
        op(
            "lerp_mean_",
            vec![float(&[37]), float(&[5, 37])],
            vec![float(&[1024]), float(&[rows, 1024])],
            |x| {
                x[0].lerp_mean_(&x[1], 0.25);
                x[0].clone()
            },
            |x| spec::lerp::lerp_mean(&x[0], &x[1], 0.25),
        ),
        op(
            "lerp_unit_rows_",
            vec![float(&[5, 37]), float(&[1, 37]), index(&[1], 5)],
            vec![float(&[rows, 1024]), float(&[rows, 1024]), index(&[rows], rows)],
            |x| {
                x[0].lerp_unit_rows_(&x[2], &x[1], 0.25);
                x[0].clone()
            },
            |x| {
                let at: Vec<usize> = to_u32(&x[2]).iter().map(|&i| i as usize).collect();
                spec::lerp::lerp_unit_rows(&x[0], &x[1], &at, 37, 0.25)
            },
        ),
    ]
}

fn reductions(rows: usize) -> Vec<Op> {
    let (ragged, timed) = (vec![float(&[5, 37])], vec![float(&[rows, 1024])]);
    let make = |name, run, value| op(name, ragged.clone(), timed.clone(), run, value);
    vec![
        make("sum of columns", |x| x[0].sum(&[0]), |x| spec::reduce::sum(&x[0], &[5, 37], &[0])).output(1024),
        make("sum of rows", |x| x[0].sum(&[1]), |x| spec::reduce::sum(&x[0], &[5, 37], &[1])).output(rows),
        make("mean_all", |x| x[0].mean_all(), |x| spec::reduce::mean(&x[0], &[5, 37], &[0, 1])).output(1),
        make("max of rows", |x| x[0].max(&[1]), |x| spec::reduce::max(&x[0], &[5, 37], &[1]))
            .output(rows)
            .gradients(|x, dy| vec![spec::reduce::max_backward(&x[0], &[5, 37], &[1], dy)]),
        make("argmax", |x| x[0].argmax(), |x| to_f64(&spec::select::argmax(&x[0], 37))).output(rows),
        make("topk, k=5", |x| x[0].topk(5).0, |x| spec::select::topk(&x[0], 37, 5).0).output(5 * rows),
    ]
}

fn by_row(rows: usize) -> Vec<Op> {
    let (ragged, timed) = (vec![float(&[5, 37])], vec![float(&[rows, 1024])]);
    let make = |name, run, value| op(name, ragged.clone(), timed.clone(), run, value);
    vec![
        make("softmax", |x| x[0].softmax(None), |x| spec::softmax::softmax(&x[0], 37, 1.0))
            .gradients(|x, dy| vec![spec::softmax::softmax_backward(&x[0], 37, 1.0, dy)]),
        make("log_softmax", |x| x[0].log_softmax(None), |x| spec::softmax::log_softmax(&x[0], 37, 1.0))
            .gradients(|x, dy| vec![spec::softmax::log_softmax_backward(&x[0], 37, 1.0, dy)]),
        op(
            "softmax_cross_entropy",
            vec![float(&[5, 37]), index(&[5], 37)],
            vec![float(&[rows, 1024]), index(&[rows], 1024)],
            |x| x[0].softmax_cross_entropy(&x[1], 0.5),
            |x| vec![spec::softmax_cross_entropy::forward(&x[0], 37, &to_u32(&x[1]), 0.5)],
        )
        .output(1)
        .gradients(|x, dy| {
            vec![spec::softmax_cross_entropy::backward(&x[0], 37, &to_u32(&x[1]), 0.5, dy[0])]
        }),
        make("l2_normalize", |x| x[0].l2_normalize(), |x| spec::l2_normalize::forward(&x[0], 37, 1e-12))
            .gradients(|x, dy| vec![spec::l2_normalize::backward(&x[0], 37, 1e-12, dy)]),
        op(
            "layer_norm",
            vec![float(&[5, 37]), float(&[37]), float(&[37])],
            vec![float(&[rows, 1024]), float(&[1024]), float(&[1024])],
            |x| x[0].layer_norm(&x[1], &x[2]),
            |x| spec::layer_norm::forward(&x[0], &x[1], &x[2], 1e-5),
        )
        .gradients(|x, dy| {
            let (dx, dgamma, dbeta) = spec::layer_norm::backward(&x[0], &x[1], 1e-5, dy);
            vec![dx, dgamma, dbeta]
        }),
    ]
}

const POOL: spec::pool2d::Pool =
    spec::pool2d::Pool { n: 2, input: [9, 7], c: 5, kernel: [3, 3], stride: [2, 2], padding: [1, 1] };

fn images([n, size, c]: [usize; 3]) -> Vec<Op> {
    let maps = [n, size, size, c];
    let (ragged, timed) = (vec![float(&[2, 9, 7, 5])], vec![float(&maps)]);
    let make = |name, run, value| op(name, ragged.clone(), timed.clone(), run, value);
    vec![
        op(
            "batch_norm",
            vec![float(&[2, 9, 7, 5]), float(&[5]), float(&[5])],
            vec![float(&maps), float(&[c]), float(&[c])],
            |x| x[0].batch_norm(BatchNormOptions::train().affine(&x[1], &x[2])),
            |x| {
                let (mean, var) = spec::batch_norm::moments(&x[0], 5);
                spec::batch_norm::forward(&x[0], &mean, &var, &x[1], &x[2], 1e-5)
            },
        )
        .gradients(|x, dy| {
            let (dx, dgamma, dbeta) = spec::batch_norm::backward(&x[0], &x[1], 1e-5, dy);
            vec![dx, dgamma, dbeta]
        }),
        op(
            "batch_norm + residual + ReLU",
            vec![float(&[2, 9, 7, 5]), float(&[5]), float(&[5]), float(&[2, 9, 7, 5])],
            vec![float(&maps), float(&[c]), float(&[c]), float(&maps)],
            |x| x[0].batch_norm(BatchNormOptions::train().affine(&x[1], &x[2]).residual(&x[3]).relu()),
            |x| spec::unary::relu(&normalised_plus(x)),
        )
        .gradients(|x, dy| {
            let dy = spec::unary::relu_backward(&normalised_plus(x), dy);
            let (dx, dgamma, dbeta) = spec::batch_norm::backward(&x[0], &x[1], 1e-5, &dy);
            vec![dx, dgamma, dbeta, dy]
        }),
        make("max_pool2d", |x| x[0].max_pool2d(3, 2, 1), |x| spec::pool2d::max_pool2d(&x[0], &POOL))
            .output(n * size.div_ceil(2).pow(2) * c)
            .gradients(|x, dy| vec![spec::pool2d::max_pool2d_backward(&x[0], dy, &POOL)]),
        make("avg_pool2d", |x| x[0].avg_pool2d(3, 2, 1), |x| spec::pool2d::avg_pool2d(&x[0], &POOL))
            .output(n * size.div_ceil(2).pow(2) * c)
            .gradients(|_, dy| vec![spec::pool2d::avg_pool2d_backward(dy, &POOL)]),
        make(
            "global_avg_pool",
            |x| x[0].global_avg_pool(),
            |x| spec::pool2d::global_avg_pool(&x[0], 2, [9, 7], 5),
        )
        .output(n * c)
        .gradients(|_, dy| vec![spec::pool2d::global_avg_pool_backward(dy, 2, [9, 7], 5)]),
    ]
}

/// Batch norm of `x[0]` by `x[1]` and `x[2]`, 5 channels, plus `x[3]`.
fn normalised_plus(x: &[Vec<f64>]) -> Vec<f64> {
    let (mean, var) = spec::batch_norm::moments(&x[0], 5);
    let y = spec::batch_norm::forward(&x[0], &mean, &var, &x[1], &x[2], 1e-5);
    y.iter().zip(&x[3]).map(|(y, r)| y + r).collect()
}

fn moves(rows: usize) -> Vec<Op> {
    let (ragged, timed) = (vec![float(&[5, 37])], vec![float(&[rows, 1024])]);
    let make = |name, run, value| op(name, ragged.clone(), timed.clone(), run, value);
    vec![
        make("copy", |x| x[0].copy(), |x| x[0].clone()),
        make("transpose", |x| x[0].transpose(), |x| spec::layout::transpose(&x[0], 1, 5, 37)),
        op(
            "gather_rows",
            vec![float(&[5, 37]), index(&[9], 5)],
            vec![float(&[rows, 1024]), index(&[rows], rows)],
            |x| x[0].gather_rows(&x[1]),
            |x| spec::rows::gather_rows(&x[0], 37, &to_u32(&x[1])),
        )
        .gradients(|x, dy| vec![spec::rows::gather_rows_backward(5, 37, &to_u32(&x[1]), dy)]),
        op(
            "where_mask",
            vec![index(&[5, 37], 2), float(&[5, 37]), float(&[5, 37])],
            vec![index(&[rows, 1024], 2), float(&[rows, 1024]), float(&[rows, 1024])],
            |x| Tensor::where_mask(&x[0], &x[1], &x[2]),
            |x| spec::select::where_mask(&to_u32(&x[0]), &x[1], &x[2]),
        )
        .gradients(|x, dy| {
            let (a, b) = spec::select::where_mask_backward(&to_u32(&x[0]), dy);
            vec![vec![], a, b]
        }),
    ]
}

fn products(n: usize) -> Vec<Op> {
    let (square, flops) = (vec![float(&[n, n]), float(&[n, n])], 2 * n * n * n);
    let make = |name, a: [usize; 2], b: [usize; 2], run, value| {
        op(name, vec![float(&a), float(&b)], square.clone(), run, value).flops(flops, 0)
    };
    vec![
        make(
            "matmul",
            [67, 131],
            [131, 29],
            |x| x[0].matmul(&x[1]),
            |x| spec::matmul::matmul(&x[0], &x[1], [67, 29, 131]),
        ),
        make(
            "matmul_nt",
            [67, 131],
            [29, 131],
            |x| x[0].matmul_nt(&x[1]),
            |x| spec::matmul::matmul_nt(&x[0], &x[1], [67, 29, 131]),
        ),
        make(
            "matmul_tn",
            [131, 67],
            [131, 29],
            |x| x[0].matmul_tn(&x[1]),
            |x| spec::matmul::matmul_tn(&x[0], &x[1], [67, 29, 131]),
        ),
    ]
}

const CONV: spec::conv2d::Conv = spec::conv2d::Conv {
    n: 2,
    input: [7, 11],
    cin: 4,
    cout: 12,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
};

/// 3x3 with padding 1 of `n` images, `size` x `size`.
fn convolutions([n, size, cin, cout]: [usize; 4]) -> Vec<Op> {
    let flops = 18 * n * size * size * cin * cout;
    let base = op(
        "conv2d",
        vec![float(&[2, 7, 11, 4]), float(&[3, 3, 4, 12])],
        vec![float(&[n, size, size, cin]), float(&[3, 3, cin, cout])],
        |x| x[0].conv2d(&x[1], Conv2dOptions::new().padding(1)),
        |x| spec::conv2d::conv2d(&x[0], &x[1], &CONV),
    )
    .output(n * size * size * cout)
    .flops(flops, 0);
    let gradients = base.clone().gradients(|x, dy| {
        let (dx, dw) = spec::conv2d::conv2d_backward(&x[0], &x[1], dy, &CONV);
        vec![dx, dw]
    });
    vec![
        base,
        gradients.clone().only_gradient_of("conv2d, gradient of x", 0, flops),
        gradients.only_gradient_of("conv2d, gradient of w", 1, flops),
    ]
}

/// The first convolution of a ResNet for small images: 3 channels, so that K = 27.
fn stem(n: usize) -> Op {
    const STEM: spec::conv2d::Conv = spec::conv2d::Conv { cin: 3, cout: 16, ..CONV };
    op(
        "conv2d, stem",
        vec![float(&[2, 7, 11, 3]), float(&[3, 3, 3, 16])],
        vec![float(&[n, 32, 32, 3]), float(&[3, 3, 3, 16])],
        |x| x[0].conv2d(&x[1], Conv2dOptions::new().padding(1)),
        |x| spec::conv2d::conv2d(&x[0], &x[1], &STEM),
    )
    .output(n * 32 * 32 * 16)
    .flops(18 * n * 32 * 32 * 3 * 16, 0)
}

/// Losses on `n` rows of width 128, and the covariance of their columns.
fn contrastive(n: usize) -> Vec<Op> {
    let two = |shape: &[usize]| vec![float(shape), float(shape)];
    // One product for the logits, two for the gradients; what is computed again is not counted.
    let gemm = 2 * n * n * 128;
    vec![
        op(
            "info_nce",
            two(&[13, 37]),
            two(&[n, 128]),
            |x| info_nce(&x[0], &x[1], 0.5),
            |x| vec![losses(0, true, x).0],
        )
        .output(1)
        .gradients(|x, dy| scaled(losses(0, true, x).1, dy[0]))
        .flops(gemm, 2 * gemm),
        op(
            "nt_xent",
            two(&[13, 37]),
            two(&[n / 2, 128]),
            |x| nt_xent(&x[0], &x[1], 0.5),
            |x| vec![losses(13, false, x).0],
        )
        .output(1)
        .gradients(|x, dy| scaled(losses(13, false, x).1, dy[0]))
        .flops(gemm, 2 * gemm),
    ]
}

/// VICReg's penalty on the covariance of `d` columns over a batch of `n`: a product with a long and thin operand.
fn covariance([n, d]: [usize; 2]) -> Op {
    let gemm = 2 * n * d * d;
    op(
        "covariance_penalty",
        vec![float(&[13, 37])],
        vec![float(&[n, d])],
        |x| x[0].covariance_penalty(),
        |x| spec::covariance::penalty(&x[0], 37),
    )
    .gradients(|x, dy| vec![spec::covariance::penalty_backward(&x[0], 37, dy)])
    .output(1)
    .flops(gemm, gemm)
}

/// Loss and gradients of two sets of 13 rows, normalised: apart, or as one set whose rows do not meet themselves.
fn losses(positive: usize, apart: bool, x: &[Vec<f64>]) -> (f64, Values) {
    const D: usize = 37;
    let unit: Values = x.iter().map(|x| spec::l2_normalize::forward(x, D, 1e-12)).collect();
    let (q, k) = if apart { (unit[0].clone(), unit[1].clone()) } else { (unit.concat(), unit.concat()) };
    let rows = q.len() / D;
    let positive: Vec<usize> = (0..rows).map(|i| (i + positive) % rows).collect();
    let excluded: Vec<Option<usize>> = (0..rows).map(|i| (!apart).then_some(i)).collect();
    let spec =
        spec::contrastive::Spec { d: D, tau: 0.5, positive: &positive, excluded: &excluded, extra: None };
    let g = spec::contrastive::contrastive_backward(&q, &k, &spec, 1.0);
    let sides = if apart {
        vec![g.queries, g.keys]
    } else {
        let both: Vec<f64> = g.queries.iter().zip(&g.keys).map(|(a, b)| a + b).collect();
        both.chunks(both.len() / 2).map(<[f64]>::to_vec).collect()
    };
    let through = |(x, g): (&Vec<f64>, &Vec<f64>)| spec::l2_normalize::backward(x, D, 1e-12, g);
    (spec::contrastive::contrastive(&q, &k, &spec).loss, x.iter().zip(&sides).map(through).collect())
}

fn to_u32(x: &[f64]) -> Vec<u32> {
    x.iter().map(|&v| v as u32).collect()
}

fn to_f64(x: &[u32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

fn scaled(x: Values, by: f64) -> Values {
    x.into_iter().map(|x| x.into_iter().map(|v| v * by).collect()).collect()
}
