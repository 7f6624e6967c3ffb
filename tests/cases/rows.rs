//! Reductions over axes, and ops on each row of the last axis.

use wgrad::reference::{self as spec, reduce, select, softmax as soft};
use wgrad::{DType, Tensor};

use super::super::check::{F32, Tol};
use super::Sizes;
use super::op::{Array, HALF, Input, Op, float, index, op};

macro_rules! entries {
    ($make:ident) => {
        $make! { rows:
            sum sum_keepdim sum_all mean mean_keepdim mean_all max max_keepdim max_all argmax topk softmax log_softmax
            softmax_cross_entropy softmax_cross_entropy_rows l2_normalize layer_norm
        }
    };
}
pub(crate) use entries;
entries!(all);

pub(super) const EXACT: Tol = Tol::new(0.0, 0.0);

fn matrix(sizes: &Sizes) -> [Input; 1] {
    [float(&[sizes.rows, 1024])]
}

/// Matrices of these rows and columns.
fn matrices(shapes: &[[usize; 2]]) -> Vec<[Input; 1]> {
    shapes.iter().map(|shape| [float(shape)]).collect()
}

/// Axes, and the shapes that are reduced along them: rows and columns that are short, long, few and many, then any axes.
const REDUCED: [(&[usize], &[&[usize]]); 15] = [
    (
        &[1],
        &[
            &[1, 1],
            &[3, 31],
            &[5, 32],
            &[5, 33],
            &[1, 2003],
            &[257, 65],
            &[7, 64],
            &[64, 1028],
            &[700, 12],
            &[2, 20_000],
        ],
    ),
    (
        &[0],
        &[
            &[1, 7],
            &[31, 1],
            &[33, 3],
            &[2003, 1],
            &[600, 64],
            &[65, 257],
            &[67, 1032],
            &[1, 1],
            &[700, 12],
            &[2, 20_000],
        ],
    ),
    (&[], &[&[3, 5, 4, 7]]),
    (&[0], &[&[3, 5, 4, 7]]),
    (&[1], &[&[3, 5, 4, 7]]),
    (&[2], &[&[3, 5, 4, 7]]),
    (&[3], &[&[3, 5, 4, 7]]),
    (&[0, 1], &[&[3, 5, 4, 7]]),
    (&[1, 2], &[&[3, 5, 4, 7]]),
    (&[0, 2], &[&[3, 5, 4, 7], &[40, 2, 50]]),
    (&[1, 3], &[&[3, 5, 4, 7]]),
    (&[0, 1, 2], &[&[3, 5, 4, 7]]),
    (&[2, 0, 3, 1], &[&[3, 5, 4, 7]]),
    (&[0, 2, 4], &[&[2, 1, 3, 1, 2, 3]]),
    (&[1], &[&[5, 37]]),
];

/// Trees of f32 additions over up to 2,000 terms in [-1, 1), also of f16 elements.
const SUMMED: Tol = Tol::new(2e-5, 2e-6);

type Reduce = fn(&Tensor, &[usize]) -> Tensor;
type Value = fn(&[f64], &[usize], &[usize]) -> Vec<f64>;
type Backward = fn(&[f64], &[usize], &[usize], &[f64]) -> Vec<f64>;

/// A reduction over fixed axes, whose result is f32.
fn over(method: &'static str, run: Reduce, value: Value, backward: Backward, axes: &'static [usize]) -> Op {
    op(method, move |x| run(&x[0], axes), move |x| value(&x[0], &x[0].shape, axes))
        .gradients(move |x, dy| vec![backward(&x[0], &x[0].shape, axes, dy)])
        .named(format!("{method} over {axes:?}"))
        .gives(DType::F32)
}

/// The same over every line of [`REDUCED`].
fn over_all(method: &'static str, run: Reduce, value: Value, backward: Backward) -> Vec<Op> {
    let line = |(axes, shapes): (&'static [usize], &[&[usize]])| {
        over(method, run, value, backward, axes).shapes(shapes.iter().map(|shape| [float(shape)]))
    };
    REDUCED.into_iter().map(line).collect()
}

/// The form that keeps the axes, and the one over all of them: launches of the first.
fn forms(method: &'static str, run: Reduce, value: Value, backward: Backward) -> Vec<Op> {
    let ops = [&[1][..], &[0, 2]].map(|axes| {
        let shapes: &[&[usize]] = if axes.len() == 1 { &[&[3, 31], &[7, 64]] } else { &[&[40, 2, 50]] };
        over(method, run, value, backward, axes).shapes(shapes.iter().map(|shape| [float(shape)]))
    });
    ops.into()
}

/// Over all axes of a matrix.
fn whole(method: &'static str, run: fn(&Tensor) -> Tensor, value: Value, backward: Backward) -> Op {
    op(method, move |x| run(&x[0]), move |x| value(&x[0], &x[0].shape, &[0, 1]))
        .gradients(move |x, dy| vec![backward(&x[0], &x[0].shape, &[0, 1], dy)])
        .shapes(matrices(&[[1, 1], [33, 3], [5, 37], [65, 257]]))
        .gives(DType::F32)
}

fn sum_backward(_: &[f64], shape: &[usize], axes: &[usize], dy: &[f64]) -> Vec<f64> {
    reduce::sum_backward(shape, axes, dy)
}

fn mean_backward(_: &[f64], shape: &[usize], axes: &[usize], dy: &[f64]) -> Vec<f64> {
    reduce::mean_backward(shape, axes, dy)
}

fn summed(ops: impl IntoIterator<Item = Op>) -> Vec<Op> {
    ops.into_iter().map(|op| op.tolerance(SUMMED, F32).half(SUMMED, HALF)).collect()
}

fn averaged(ops: impl IntoIterator<Item = Op>) -> Vec<Op> {
    ops.into_iter().map(|op| op.half(F32, HALF)).collect()
}

fn largest(ops: impl IntoIterator<Item = Op>) -> Vec<Op> {
    ops.into_iter().map(|op| op.tolerance(EXACT, F32).f32_only()).collect()
}

pub(crate) fn sum(sizes: &Sizes) -> Vec<Op> {
    let one = |axes| over("sum", Tensor::sum, reduce::sum, sum_backward, axes).shapes(matrices(&[[5, 37]]));
    let mut ops = over_all("sum", Tensor::sum, reduce::sum, sum_backward);
    ops.push(one(&[0]).named("sum of columns").timed_forward(matrix(sizes)).output(1024));
    ops.push(one(&[1]).named("sum of rows").timed_forward(matrix(sizes)).output(sizes.rows));
    summed(ops)
}

pub(crate) fn sum_keepdim(_: &Sizes) -> Vec<Op> {
    summed(forms("sum_keepdim", Tensor::sum_keepdim, reduce::sum, sum_backward))
}

pub(crate) fn sum_all(_: &Sizes) -> Vec<Op> {
    summed(whole("sum_all", Tensor::sum_all, reduce::sum, sum_backward))
}

pub(crate) fn mean(_: &Sizes) -> Vec<Op> {
    averaged(forms("mean", Tensor::mean, reduce::mean, mean_backward))
}

pub(crate) fn mean_keepdim(_: &Sizes) -> Vec<Op> {
    averaged(over_all("mean_keepdim", Tensor::mean_keepdim, reduce::mean, mean_backward))
}

pub(crate) fn mean_all(sizes: &Sizes) -> Vec<Op> {
    let op = whole("mean_all", Tensor::mean_all, reduce::mean, mean_backward);
    averaged(op.timed_forward(matrix(sizes)).output(1))
}

pub(crate) fn max(sizes: &Sizes) -> Vec<Op> {
    let mut ops = over_all("max", Tensor::max, reduce::max, reduce::max_backward);
    let rows = over("max", Tensor::max, reduce::max, reduce::max_backward, &[1]).shapes(matrices(&[[5, 37]]));
    ops.push(rows.named("max of rows").timed(matrix(sizes)).output(sizes.rows));
    largest(ops)
}

pub(crate) fn max_keepdim(_: &Sizes) -> Vec<Op> {
    largest(forms("max_keepdim", Tensor::max_keepdim, reduce::max, reduce::max_backward))
}

pub(crate) fn max_all(_: &Sizes) -> Vec<Op> {
    largest(whole("max_all", Tensor::max_all, reduce::max, reduce::max_backward))
}

pub(crate) fn argmax(sizes: &Sizes) -> Op {
    op(
        "argmax",
        |x| x[0].argmax(),
        |x| select::argmax(&x[0], x[0].cols()).into_iter().map(f64::from).collect(),
    )
    .shapes(matrices(&[[1, 1], [64, 10], [65, 33], [3, 1009], [2, 70_001], [5, 37]]))
    .gives(DType::U32)
    .f32_only()
    .timed(matrix(sizes))
    .output(sizes.rows)
}

/// Values, and the indices that belong to them.
pub(crate) fn topk(sizes: &Sizes) -> Vec<Op> {
    let values = |rows, cols, k| {
        op("topk", move |x| x[0].topk(k).0, move |x| select::topk(&x[0], x[0].cols(), k).0)
            .gradients(move |x, dy| {
                let found = select::topk(&x[0], x[0].cols(), k).1;
                vec![select::topk_backward(&found, x[0].cols(), k, dy)]
            })
            .named(format!("topk, k={k}"))
            .shapes(matrices(&[[rows, cols]]))
    };
    let indices = |rows, cols, k| {
        let found =
            move |x: &[Array]| select::topk(&x[0], x[0].cols(), k).1.into_iter().map(f64::from).collect();
        op("topk", move |x| x[0].topk(k).1, found)
            .named(format!("topk, k={k}, indices"))
            .shapes(matrices(&[[rows, cols]]))
            .gives(DType::U32)
    };
    let cases = [(1, 1, 1), (3, 7, 7), (65, 31, 4), (2, 1009, 13), (3, 257, 257), (2, 9001, 5)];
    let mut ops: Vec<Op> =
        cases.into_iter().flat_map(|(r, c, k)| [values(r, c, k), indices(r, c, k)]).collect();
    ops.push(values(5, 37, 5).timed_forward(matrix(sizes)).output(5 * sizes.rows));
    ops.into_iter().map(|op| op.tolerance(EXACT, EXACT).f32_only()).collect()
}

/// Row lengths around the lane counts, and more than one row count: few rows are split among lanes, many are not.
const ROWS: [[usize; 2]; 12] = [
    [1, 1],
    [3, 2],
    [5, 7],
    [2, 63],
    [3, 64],
    [63, 65],
    [64, 64],
    [65, 127],
    [2, 1025],
    [700, 12],
    [70, 300],
    [2, 20_000],
];

/// Drivers' `exp` and `log` are good to 1e-6; sums of `c` terms add a little.
const EXP_SUM: Tol = Tol::new(1e-6, 1e-5);
/// A slope of up to 1 / std or 1 / tau times what is rounded to f16 on the way.
const HALF_SLOPE: Tol = Tol::new(4e-3, 2e-3);

/// Every shape at temperatures down to the smallest; `base` is timed.
fn by_temperature(sizes: &Sizes, make: fn(Option<f32>, [usize; 2]) -> Op) -> Vec<Op> {
    let mut ops = vec![];
    for tau in [None, Some(0.1), Some(0.005)] {
        ops.extend(ROWS.into_iter().chain([[5, 3], [17, 7], [130, 27]]).map(|shape| make(tau, shape)));
    }
    ops.push(make(None, [5, 37]).shapes([[float(&[2, 3, 5])]]));
    ops.push(make(None, [5, 37]).timed(matrix(sizes)));
    ops
}

pub(crate) fn softmax(sizes: &Sizes) -> Vec<Op> {
    by_temperature(sizes, |tau, shape| {
        let t = tau.map_or(1.0, f64::from);
        op("softmax", move |x| x[0].softmax(tau), move |x| soft::softmax(&x[0], x[0].cols(), t))
            .gradients(move |x, dy| vec![soft::softmax_backward(&x[0], x[0].cols(), t, dy)])
            .shapes(matrices(&[shape]))
            .tolerance(EXP_SUM, Tol::new(1e-6 / t, 2e-5))
            .half(HALF, Tol::new(HALF_SLOPE.abs / t, HALF_SLOPE.rel))
    })
}

pub(crate) fn log_softmax(sizes: &Sizes) -> Vec<Op> {
    by_temperature(sizes, |tau, shape| {
        let t = tau.map_or(1.0, f64::from);
        op("log_softmax", move |x| x[0].log_softmax(tau), move |x| soft::log_softmax(&x[0], x[0].cols(), t))
            .gradients(move |x, dy| vec![soft::log_softmax_backward(&x[0], x[0].cols(), t, dy)])
            .shapes(matrices(&[shape]))
            // e^y sum dy: the sum of dy cancels, its error does not.
            .tolerance(EXP_SUM, Tol::new(2e-6 * (shape[1] as f64).sqrt() / t, 2e-5))
            .half(HALF, Tol::new(HALF_SLOPE.abs / t, HALF_SLOPE.rel))
    })
}

/// `exp` and `log` are good to 1e-6; at `tau` 0.005 a loss is a difference of numbers up to 400.
const LOSS: Tol = Tol::new(1e-5, 1e-5);

fn labelled(rows: usize, c: usize) -> [Input; 2] {
    [float(&[rows, c]), index(&[rows], c)]
}

pub(crate) fn softmax_cross_entropy(sizes: &Sizes) -> Vec<Op> {
    use spec::softmax_cross_entropy as loss;
    let make = |tau: f32| {
        let t = f64::from(tau);
        let shapes =
            [[1, 1], [3, 2], [5, 10], [2, 63], [3, 64], [63, 65], [64, 64], [257, 10], [2, 1025], [5, 37]];
        op(
            "softmax_cross_entropy",
            move |x| x[0].softmax_cross_entropy(&x[1], tau),
            move |x| vec![loss::forward(&x[0], x[0].cols(), &x[1].u32s(), t)],
        )
        .gradients(move |x, dy| vec![loss::backward(&x[0], x[0].cols(), &x[1].u32s(), t, dy[0])])
        .shapes(shapes.map(|[rows, c]| labelled(rows, c)))
        .tolerance(LOSS, Tol::new(1e-6 / t, 2e-5))
        .f32_only()
    };
    let timed = make(0.5).timed(labelled(sizes.rows, 1024)).output(1);
    vec![make(1.0), make(0.1), make(0.005), timed]
}

/// The loss of each row, and its log-sum-exp.
pub(crate) fn softmax_cross_entropy_rows(_: &Sizes) -> Vec<Op> {
    let losses = op(
        "softmax_cross_entropy_rows",
        |x| x[0].softmax_cross_entropy_rows(&x[1], 0.1).losses,
        |x| spec::softmax_cross_entropy::losses(&x[0], x[0].cols(), &x[1].u32s(), f64::from(0.1_f32)),
    );
    let lse = op(
        "softmax_cross_entropy_rows",
        |x| x[0].softmax_cross_entropy_rows(&x[1], 0.1).lse,
        |x| x[0].chunks_exact(x[0].cols()).map(|row| soft::log_sum_exp(row, f64::from(0.1_f32))).collect(),
    );
    let shapes = || [labelled(65, 70), labelled(2, 1025)];
    [losses, lse].map(|op| op.shapes(shapes()).tolerance(LOSS, LOSS).f32_only()).into()
}

pub(crate) fn l2_normalize(sizes: &Sizes) -> Op {
    // Away from zero, where the second derivative would spoil the central difference.
    fn away(shape: &[usize]) -> Vec<f32> {
        let x = super::super::check::data(1, shape.iter().product());
        x.iter().map(|v| v + 2.0 * v.signum()).collect()
    }
    let shapes = ROWS.into_iter().chain([[17, 7], [64, 128], [130, 27], [5, 37]]);
    // A sum of `c` squares in f32, then a square root and a division.
    let tol = Tol::new(2e-6, 5e-6);
    op("l2_normalize", |x| x[0].l2_normalize(), |x| spec::l2_normalize::forward(&x[0], x[0].cols(), 1e-12))
        .gradients(|x, dy| vec![spec::l2_normalize::backward(&x[0], x[0].cols(), 1e-12, dy)])
        .shapes(shapes.map(|shape| [float(&shape).made(away)]))
        .timed(matrix(sizes))
        .tolerance(tol, tol)
        .half(HALF, HALF_SLOPE)
}

pub(crate) fn layer_norm(sizes: &Sizes) -> Op {
    let inputs = |[rows, c]: [usize; 2]| {
        [float(&[rows, c]).between(-1.5, 2.5), float(&[c]).single(), float(&[c]).single()]
    };
    let shapes =
        [[1, 2], [3, 5], [5, 3], [5, 7], [17, 7], [2, 63], [3, 64], [64, 64], [63, 65], [64, 128], [130, 27]];
    op(
        "layer_norm",
        |x| x[0].layer_norm(&x[1], &x[2]),
        |x| spec::layer_norm::forward(&x[0], &x[1], &x[2], 1e-5),
    )
    .gradients(|x, dy| {
        let (dx, dgamma, dbeta) = spec::layer_norm::backward(&x[0], &x[1], 1e-5, dy);
        vec![dx, dgamma, dbeta]
    })
    .shapes(
        shapes
            .into_iter()
            .chain([[257, 13], [2, 1025], [700, 12], [70, 300], [2, 20_000], [5, 37]])
            .map(inputs),
    )
    .timed(inputs([sizes.rows, 1024]))
    // Sums of `c` terms. xhat of a row of two or three has a slope of up to `1 / std`, which multiplies every rounding.
    .tolerance(Tol::new(5e-6, 1e-5), Tol::new(3e-5, 3e-5))
    .half(HALF_SLOPE, HALF_SLOPE)
}
