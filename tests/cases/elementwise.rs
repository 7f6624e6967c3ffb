//! Functions of one tensor, and arithmetic on two with broadcasting.

use wgrad::Tensor;
use wgrad::reference as spec;
use wgrad::reference::binary::{self, op as by};

use super::super::check::{F32, Tol};
use super::Sizes;
use super::op::{HALF, HALF_GRAD, Input, Op, float, op};

macro_rules! entries {
    ($make:ident) => {
        $make! { elementwise:
            relu gelu tanh exp softsign sigmoid ln sqrt square abs neg clamp powf affine add_scalar sub_scalar mul_scalar
            div_scalar scalar_div add sub mul div expand
        }
    };
}
pub(crate) use entries;
entries!(all);

/// `exp` and `log` of drivers are good to a few units in the last place of f32 (exp 1e-6 relative, log 6e-7 absolute).
const TRANSCENDENTAL: Tol = Tol::new(1e-6, 4e-6);
/// WGSL's `pow` is `exp2(e * log2(x))`: the error of the logarithm is multiplied by the exponent.
const POWER: Tol = Tol::new(2e-6, 1e-5);

/// On both sides of zero, and not on it.
const WIDE: [f32; 2] = [-3.99, 4.01];
const POSITIVE: [f32; 2] = [0.2, 2.2];

/// One element, groups of four that are whole or not, a row and a workgroup of 64 invocations with one or four elements each less
/// one, exactly, and one more; then a matrix.
fn flat([low, high]: [f32; 2]) -> Vec<[Input; 1]> {
    let line = [1, 2, 3, 5, 7, 63, 64, 65, 255, 256, 257, 1009].map(|n| [float(&[n])]);
    let all = line.into_iter().chain([[float(&[5, 37])]]);
    all.map(|[x]| [x.between(low, high)]).collect()
}

/// The size that elementwise ops are timed at.
fn matrix(sizes: &Sizes, [low, high]: [f32; 2]) -> [Input; 1] {
    [float(&[sizes.rows, 1024]).between(low, high)]
}

/// Functions without arguments, which share everything but their names, their domain, the error of a driver's arithmetic and that of
/// a gradient in f16.
macro_rules! functions {
    ($($name:ident $backward:ident $domain:ident $tolerance:ident $half:ident)*) => {$(
        pub(crate) fn $name(sizes: &Sizes) -> Op {
            op(stringify!($name), |x| x[0].$name(), |x| spec::unary::$name(&x[0]))
                .gradients(|x, dy| vec![spec::unary::$backward(&x[0], dy)])
                .shapes(flat($domain))
                .timed(matrix(sizes, $domain))
                .tolerance($tolerance, $tolerance)
                .half(HALF, $half)
        }
    )*};
}

/// Of derivatives computed from the output: that of `sigmoid`, `y (1 - y)`, takes the rounding of a `y` near 1 for a part of `1 - y`.
const OUTPUT: Tol = Tol::new(5e-4, 2e-3);

functions! {
    relu relu_backward WIDE F32 HALF_GRAD
    gelu gelu_backward WIDE TRANSCENDENTAL HALF_GRAD
    tanh tanh_backward WIDE TRANSCENDENTAL OUTPUT
    exp exp_backward WIDE TRANSCENDENTAL HALF_GRAD
    sigmoid sigmoid_backward WIDE TRANSCENDENTAL OUTPUT
    ln ln_backward POSITIVE TRANSCENDENTAL HALF_GRAD
    sqrt sqrt_backward POSITIVE F32 HALF_GRAD
    square square_backward WIDE F32 HALF_GRAD
    abs abs_backward WIDE F32 HALF_GRAD
}

pub(crate) fn softsign(sizes: &Sizes) -> Op {
    op("softsign", |x| x[0].softsign(), |x| spec::softsign::softsign(&x[0]))
        .gradients(|x, dy| vec![spec::softsign::softsign_backward(&x[0], dy)])
        .shapes(flat(WIDE))
        .timed([float(&[sizes.rows, 1024])])
}

pub(crate) fn clamp(sizes: &Sizes) -> Op {
    op("clamp", |x| x[0].clamp(-0.5, 2.0), |x| spec::unary::clamp(&x[0], -0.5, 2.0))
        .gradients(|x, dy| vec![spec::unary::clamp_backward(&x[0], -0.5, 2.0, dy)])
        .shapes(flat(WIDE))
        .timed(matrix(sizes, WIDE))
}

/// Whole exponents take a base below zero.
pub(crate) fn powf(sizes: &Sizes) -> Vec<Op> {
    let make = |exponent: f64, domain: [f32; 2]| {
        op("powf", move |x| x[0].powf(exponent as f32), move |x| spec::unary::powf(&x[0], exponent))
            .gradients(move |x, dy| vec![spec::unary::powf_backward(&x[0], exponent, dy)])
            .shapes(flat(domain))
            .tolerance(POWER, POWER)
            .named(format!("powf {exponent}"))
    };
    vec![
        make(1.5, POSITIVE).timed(matrix(sizes, POSITIVE)),
        make(3.0, [-1.99, 2.01]),
        make(2.0, [-1.99, 2.01]),
        make(-1.0, [-2.2, -0.2]),
        make(0.0, [-1.0, 1.0]),
    ]
}

/// `scale x + shift`, and its special cases, which are launches of it.
fn affine_as(method: &'static str, run: fn(&Tensor) -> Tensor, scale: f64, shift: f64) -> Op {
    op(method, move |x| run(&x[0]), move |x| spec::unary::affine(&x[0], scale, shift))
        .gradients(move |x, dy| vec![spec::unary::affine_backward(&x[0], scale, dy)])
        .shapes(flat(WIDE))
}

macro_rules! affine_forms {
    ($($name:ident $run:expr, $scale:literal, $shift:literal;)*) => {$(
        pub(crate) fn $name(_: &Sizes) -> Op {
            affine_as(stringify!($name), $run, $scale, $shift)
        }
    )*};
}
affine_forms! {
    neg Tensor::neg, -1.0, 0.0;
    add_scalar |x| x.add_scalar(0.75), 1.0, 0.75;
    sub_scalar |x| x.sub_scalar(0.75), 1.0, -0.75;
    mul_scalar |x| x.mul_scalar(-1.5), -1.5, 0.0;
    div_scalar |x| x.div_scalar(8.0), 0.125, 0.0;
}

pub(crate) fn affine(sizes: &Sizes) -> Op {
    affine_as("affine", |x| x.affine(3.0, 0.5), 3.0, 0.5).timed(matrix(sizes, WIDE))
}

pub(crate) fn scalar_div(sizes: &Sizes) -> Op {
    op("scalar_div", |x| x[0].scalar_div(1.5), |x| spec::unary::scalar_div(&x[0], 1.5))
        .gradients(|x, dy| vec![spec::unary::scalar_div_backward(&x[0], 1.5, dy)])
        .shapes(flat(POSITIVE))
        .timed(matrix(sizes, POSITIVE))
}

/// Shapes that broadcast: equal; scalars, rows and columns; columns by fours, long rows cut, operands repeated along each of them;
/// every axis alternating, so that none merge.
const PAIRS: [(&[usize], &[usize]); 45] = [
    (&[1], &[1]),
    (&[63], &[63]),
    (&[64], &[64]),
    (&[65], &[65]),
    (&[1009], &[1009]),
    (&[], &[]),
    (&[3, 5, 7], &[3, 5, 7]),
    (&[5, 7], &[5, 7]),
    (&[13, 7], &[]),
    (&[], &[13, 7]),
    (&[13, 7], &[1]),
    (&[1], &[33]),
    (&[13, 7], &[7]),
    (&[5, 7], &[7]),
    (&[6, 8], &[8]),
    (&[7], &[13, 7]),
    (&[300, 3], &[1, 3]),
    (&[13, 7], &[13, 1]),
    (&[6, 8], &[6, 1]),
    (&[13, 1], &[1, 7]),
    (&[3, 1, 5], &[4, 1]),
    (&[2, 3, 4, 5], &[3, 1, 5]),
    (&[4, 1, 1, 5], &[4, 3, 3, 5]),
    (&[5, 8], &[8]),
    (&[8], &[5, 8]),
    (&[5, 8], &[5, 1]),
    (&[5, 1], &[5, 8]),
    (&[5, 8], &[]),
    (&[37, 640], &[640]),
    (&[640], &[37, 640]),
    (&[37, 640], &[37, 1]),
    (&[37, 1], &[37, 640]),
    (&[37, 640], &[]),
    (&[2, 3, 512], &[512]),
    (&[512], &[2, 3, 512]),
    (&[2, 3, 512], &[3, 1]),
    (&[3, 1], &[2, 3, 512]),
    (&[2, 3, 512], &[]),
    (&[37, 1], &[64]),
    (&[3, 1, 5, 8], &[4, 1, 8]),
    (&[1024], &[1]),
    (&[700, 12], &[12]),
    (&[70, 300], &[300]),
    (&[2, 20_000], &[20_000]),
    (&[2, 1, 3, 1, 2, 1], &[1, 3, 1, 2, 1, 3]),
];

/// f32 rounding of sums of terms of size 1, gathered by un-broadcasting.
const SUMMED: Tol = Tol::new(2e-5, 4e-6);

type Value = fn(f64, f64) -> f64;
type Derivatives = fn(f64, f64) -> (f64, f64);

/// An operation on two tensors of these shapes. The second is away from zero.
fn pair(
    method: &'static str,
    run: fn(&Tensor, &Tensor) -> Tensor,
    value: Value,
    derivatives: Derivatives,
    a: &[usize],
    b: &[usize],
) -> Op {
    let terms = binary::broadcast(a, b).iter().product::<usize>() as f64
        / a.iter().product::<usize>().min(b.iter().product()) as f64;
    op(
        method,
        move |x| run(&x[0], &x[1]),
        move |x| binary::forward((&x[0], &x[0].shape), (&x[1], &x[1].shape), value),
    )
    .gradients(move |x, dy| {
        let (da, db) = binary::backward((&x[0], &x[0].shape), (&x[1], &x[1].shape), derivatives, dy);
        vec![da, db]
    })
    .shapes([[float(a), float(b).between(1.0, 3.0)]])
    .tolerance(F32, SUMMED)
    // Each term of a sum is rounded: their errors add up as the root of their number.
    .half(HALF, Tol::new(if terms > 1.0 { 1e-3 * terms.sqrt() } else { HALF_GRAD.abs }, HALF_GRAD.rel))
}

/// On all of [`PAIRS`], and timed on two matrices: with the gradient, unless that is `dy` itself.
fn pairs(
    method: &'static str,
    run: fn(&Tensor, &Tensor) -> Tensor,
    value: Value,
    derivatives: Derivatives,
    sizes: &Sizes,
    gradient: bool,
) -> Vec<Op> {
    let mut ops: Vec<Op> = PAIRS.iter().map(|(a, b)| pair(method, run, value, derivatives, a, b)).collect();
    let inputs = [matrix(sizes, [-1.0, 1.0]), matrix(sizes, [1.0, 3.0])].concat();
    let same = pair(method, run, value, derivatives, &[5, 37], &[5, 37]);
    ops.push(if gradient { same.timed(inputs) } else { same.timed_forward(inputs) });
    ops
}

pub(crate) fn add(sizes: &Sizes) -> Vec<Op> {
    let mut ops = pairs("add", Tensor::add, by::add, by::add_backward, sizes, false);
    let row = pair("add", Tensor::add, by::add, by::add_backward, &[5, 37], &[37]);
    ops.push(row.named("add of a row").timed([float(&[sizes.rows, 1024]), float(&[1024])]));
    // A tensor used twice: in f16, gradients of both types meet.
    let twice = op("add", |x| x[0].add(&x[0].square()), |x| x[0].iter().map(|v| v + v * v).collect());
    let twice = twice
        .gradients(|x, dy| vec![x[0].iter().zip(dy).map(|(v, d)| (1.0 + 2.0 * v) * d).collect()])
        .half(Tol::new(1e-3, 2e-3), Tol::new(2e-3, 2e-3));
    ops.push(twice.named("x + x^2").shapes([[float(&[3, 7])]]));
    ops
}

pub(crate) fn sub(sizes: &Sizes) -> Vec<Op> {
    pairs("sub", Tensor::sub, by::sub, by::sub_backward, sizes, false)
}

pub(crate) fn mul(sizes: &Sizes) -> Vec<Op> {
    pairs("mul", Tensor::mul, by::mul, by::mul_backward, sizes, true)
}

pub(crate) fn div(sizes: &Sizes) -> Vec<Op> {
    pairs("div", Tensor::div, by::div, by::div_backward, sizes, true)
}

pub(crate) fn expand(sizes: &Sizes) -> Vec<Op> {
    let make = |from: &[usize], to: &[usize]| {
        let [run, value, back] = [to.to_vec(), to.to_vec(), to.to_vec()];
        op(
            "expand",
            move |x| x[0].expand(run.as_slice()),
            move |x| binary::expand(&x[0], &x[0].shape, &value),
        )
        .gradients(move |x, dy| vec![binary::expand_backward(&x[0].shape, &back, dy)])
        .shapes([[float(from)]])
        .half(HALF, Tol::new(2e-3, HALF_GRAD.rel)) // terms of a sum as above, up to ten
    };
    let repeat = op(
        "expand",
        |x| x[0].expand([16, x[0].len()]),
        |x| binary::expand(&x[0], &x[0].shape, &[16, x[0].len()]),
    )
    .gradients(|x, dy| vec![binary::expand_backward(&x[0].shape, &[16, x[0].len()], dy)])
    .half(HALF, Tol::new(2e-3, HALF_GRAD.rel))
    .shapes([[float(&[1, 37])]])
    .timed([float(&[1, 64 * sizes.rows])])
    .output(1024 * sizes.rows);
    vec![make(&[], &[3, 2]), make(&[4, 1], &[2, 4, 5]), make(&[3], &[3]), repeat]
}
