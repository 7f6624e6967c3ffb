//! Batch normalisation: training, evaluation, running statistics.

use wgrad::ops::BatchNormOptions;
use wgrad::reference::batch_norm as reference;

use crate::common::*;

const EPS: f64 = 1e-5;
/// Sums over the rows, then a division by a standard deviation.
const TOL: Tol = Tol::new(5e-6, 1e-5);
/// A column of two or three rows has a slope of up to `1 / std`, which multiplies every rounding.
const GRAD: Tol = Tol::new(5e-5, 5e-5);

/// Rows around the strips' four and their ends; one column, primes, many columns.
const SHAPES: [[usize; 2]; 13] = [
    [7, 4],
    [67, 12],
    [4097, 8],
    [3, 1],
    [5, 3],
    [8, 27],
    [17, 7],
    [9, 127],
    [64, 64],
    [65, 5],
    [33, 512],
    [4099, 3],
    [20_011, 1],
];

fn input(m: usize, c: usize) -> (Vec<f32>, Vec<usize>) {
    (data(1, m * c).iter().map(|v| 2.0 * v + 0.5).collect(), vec![m, c])
}

#[test]
fn train_with_affine() {
    for [m, c] in SHAPES {
        check_op(
            &format!("batch_norm train {m} x {c}"),
            &[input(m, c), (data(2, c), vec![c]), (data(3, c), vec![c])],
            |x| x[0].batch_norm(BatchNormOptions::train().affine(&x[1], &x[2])),
            |x| {
                let (mean, var) = reference::moments(&x[0], c);
                reference::forward(&x[0], &mean, &var, &x[1], &x[2], EPS)
            },
            |x, dy| {
                let (dx, dgamma, dbeta) = reference::backward(&x[0], &x[1], EPS, dy);
                vec![dx, dgamma, dbeta]
            },
            TOL,
            GRAD,
        );
    }
}

/// `bn(x) + r` with and without ReLU, and `relu(bn(x))`: values, and gradients of x, gamma, beta and r. The reference's ReLU
/// is the mask of these inputs, so that central differences do not step over a kink; no element is so close to zero that
/// rounding in f32 decides its sign.
#[test]
fn tails() {
    for ([m, c], (add, relu)) in
        SHAPES.iter().flat_map(|&shape| [(false, true), (true, false), (true, true)].map(|t| (shape, t)))
    {
        let mut inputs = vec![input(m, c), (data(2, c), vec![c]), (data(3, c), vec![c])];
        if add {
            inputs.push((data(11, m * c), vec![m, c]));
        }
        let before = |x: &[Vec<f64>]| {
            let (mean, var) = reference::moments(&x[0], c);
            let mut y = reference::forward(&x[0], &mean, &var, &x[1], &x[2], EPS);
            if add {
                y.iter_mut().zip(&x[3]).for_each(|(y, r)| *y += r);
            }
            y
        };
        let inputs64: Vec<_> = inputs.iter().map(|(v, _)| f64s(v)).collect();
        let open: Vec<f64> =
            before(&inputs64).iter().map(|&v| if relu && v <= 0.0 { 0.0 } else { 1.0 }).collect();
        let masked = |v: &[f64]| v.iter().zip(&open).map(|(v, open)| v * open).collect::<Vec<_>>();
        check_op(
            &format!("batch_norm {m} x {c}, add {add}, relu {relu}"),
            &inputs,
            |x| {
                let mut options = BatchNormOptions::train().affine(&x[1], &x[2]);
                if add {
                    options = options.residual(&x[3]);
                }
                x[0].batch_norm(if relu { options.relu() } else { options })
            },
            |x| masked(&before(x)),
            |x, dy| {
                let g = masked(dy);
                let (dx, dgamma, dbeta) = reference::backward(&x[0], &x[1], EPS, &g);
                let mut grads = vec![dx, dgamma, dbeta];
                if add {
                    grads.push(g);
                }
                grads
            },
            TOL,
            GRAD,
        );
    }
}

#[test]
fn eval_with_residual_and_relu() {
    for [m, c] in [[1, 1], [5, 3], [9, 8]] {
        let (mean, var) = (data(5, c), data(6, c).iter().map(|v| v + 1.5).collect::<Vec<_>>());
        let (mean_gpu, var_gpu) = (gpu().tensor(&mean, [c]).unwrap(), gpu().tensor(&var, [c]).unwrap());
        let (mean, var) = (f64s(&mean), f64s(&var));
        let sum = |x: &[Vec<f64>]| -> Vec<f64> {
            let y = reference::forward(&x[0], &mean, &var, &vec![1.; c], &vec![0.; c], EPS);
            y.iter().zip(&x[1]).map(|(y, r)| y + r).collect()
        };
        check_op(
            &format!("batch_norm eval {m} x {c} with residual and ReLU"),
            &[input(m, c), (data(11, m * c), vec![m, c])],
            |x| x[0].batch_norm(BatchNormOptions::eval(&mean_gpu, &var_gpu).residual(&x[1]).relu()),
            |x| sum(x).iter().map(|v| v.max(0.0)).collect(),
            |x, dy| {
                let g: Vec<f64> =
                    sum(x).iter().zip(dy).map(|(v, dy)| if *v > 0.0 { *dy } else { 0.0 }).collect();
                let (dx, ..) = reference::backward_fixed(&x[0], &mean, &var, &vec![1.; c], EPS, &g);
                vec![dx, g]
            },
            TOL,
            GRAD,
        );
    }
}

#[test]
#[should_panic(expected = "is not like")]
fn refuses_another_residual() {
    let (x, r) = (gpu().zeros([2, 3]).unwrap(), gpu().zeros([3]).unwrap());
    let _ = x.batch_norm(BatchNormOptions::train().residual(&r));
}

#[test]
fn train_without_affine_on_images() {
    let shape = vec![2, 3, 5, 7];
    check_op(
        "batch_norm train 2 x 3 x 5 x 7",
        &[(data(4, 210), shape)],
        |x| x[0].batch_norm(BatchNormOptions::train()),
        |x| {
            let (mean, var) = reference::moments(&x[0], 7);
            reference::forward(&x[0], &mean, &var, &[1.; 7], &[0.; 7], EPS)
        },
        |x, dy| vec![reference::backward(&x[0], &[1.; 7], EPS, dy).0],
        TOL,
        GRAD,
    );
}

#[test]
fn eval_with_affine() {
    for [m, c] in [[1, 1], [5, 3], [33, 512], [20_011, 1]] {
        let (mean, var) = (data(5, c), data(6, c).iter().map(|v| v + 1.5).collect::<Vec<_>>());
        let (mean_gpu, var_gpu) = (gpu().tensor(&mean, [c]).unwrap(), gpu().tensor(&var, [c]).unwrap());
        let (mean, var) = (f64s(&mean), f64s(&var));
        check_op(
            &format!("batch_norm eval {m} x {c}"),
            &[input(m, c), (data(2, c), vec![c]), (data(3, c), vec![c])],
            |x| x[0].batch_norm(BatchNormOptions::eval(&mean_gpu, &var_gpu).affine(&x[1], &x[2])),
            |x| reference::forward(&x[0], &mean, &var, &x[1], &x[2], EPS),
            |x, dy| {
                let (dx, dgamma, dbeta) = reference::backward_fixed(&x[0], &mean, &var, &x[1], EPS, dy);
                vec![dx, dgamma, dbeta]
            },
            TOL,
            GRAD,
        );
    }
}

#[test]
fn eval_without_affine() {
    let (mean, var) = (gpu().tensor(&[0.5, -0.5], [2]).unwrap(), gpu().tensor(&[2.0, 0.25], [2]).unwrap());
    check_op(
        "batch_norm eval without affine",
        &[input(9, 2)],
        |x| x[0].batch_norm(BatchNormOptions::eval(&mean, &var)),
        |x| reference::forward(&x[0], &[0.5, -0.5], &[2.0, 0.25], &[1.; 2], &[0.; 2], EPS),
        |x, dy| vec![reference::backward_fixed(&x[0], &[0.5, -0.5], &[2.0, 0.25], &[1.; 2], EPS, dy).0],
        TOL,
        GRAD,
    );
}

#[test]
fn running_statistics_move_in_place() {
    let (m, c) = (37, 5);
    let (x, shape) = input(m, c);
    let mean = gpu().tensor(&data(7, c), [c]).unwrap();
    let var = gpu().full([c], 1.0).unwrap();
    let _ = gpu()
        .tensor(&x, shape)
        .unwrap()
        .batch_norm(BatchNormOptions::train().running(&mean, &var).momentum(0.25));
    let (batch_mean, batch_var) = reference::moments(&f64s(&x), c);
    let old = (f64s(&data(7, c)), vec![1.; c]);
    let (want_mean, want_var) = reference::running((&old.0, &old.1), (&batch_mean, &batch_var), m, 0.25);
    assert_close("running mean", &mean.to_vec().unwrap(), &want_mean, TOL);
    assert_close("running variance", &var.to_vec().unwrap(), &want_var, TOL);
}

#[test]
#[should_panic(expected = "batch_norm")]
fn backward_notices_a_write_in_place() {
    let x = gpu().tensor(&data(8, 12), [4, 3]).unwrap().requires_grad();
    let y = x.batch_norm(BatchNormOptions::train());
    x.write(&[0.0; 12]);
    let loss = gpu()
        .zeros([])
        .unwrap()
        .with_backward("sum", &[&y], &[&y], |b| vec![Some(b.saved::<1>()[0].clone())]);
    let _ = loss.backward();
}

/// A million rows of mean 1e3 and standard deviation 1: sums of squares in f32 would lose the variance.
#[test]
fn stable_for_a_large_mean() {
    for c in [1, 3] {
        let m = 1_000_003;
        // Squared, so that rows are skewed and the first is not the mean.
        let x: Vec<f32> = data(9, m * c).iter().map(|v| 1e3 + 3.354 * (v * v - 1.0 / 3.0)).collect();
        let mean = gpu().zeros([c]).unwrap();
        let var = gpu().zeros([c]).unwrap();
        let options = BatchNormOptions::train().running(&mean, &var).momentum(1.0);
        let y = gpu().tensor(&x, [m, c]).unwrap().batch_norm(options).to_vec().unwrap();
        let (want_mean, want_var) = reference::moments(&f64s(&x), c);
        assert!((want_var[0] - 1.0).abs() < 0.01, "{want_var:?}");
        assert_close("mean", &mean.to_vec().unwrap(), &want_mean, Tol::new(0.0, 1e-7));
        let unbiased: Vec<f64> = want_var.iter().map(|v| v * m as f64 / (m as f64 - 1.0)).collect();
        assert_close("variance", &var.to_vec().unwrap(), &unbiased, Tol::new(0.0, 2e-6));
        let want = reference::forward(&f64s(&x), &want_mean, &want_var, &vec![1.; c], &vec![0.; c], EPS);
        // The mean rounds to 3e-5 at 1e3.
        assert_close("value", &y, &want, Tol::new(5e-5, 5e-6));
    }
}

#[test]
fn more_than_65535_groups() {
    let (m, c) = (3, 64 * 65_536 + 1);
    let x = data(10, m * c);
    let leaf = gpu().tensor(&x, [m, c]).unwrap().requires_grad();
    let y = leaf.batch_norm(BatchNormOptions::train());
    let (mean, var) = reference::moments(&f64s(&x), c);
    let ones = vec![1.; c];
    let want = reference::forward(&f64s(&x), &mean, &var, &ones, &vec![0.; c], EPS);
    // Three rows may lie as close as 1e-3: slopes of up to 300.
    assert_close("value", &y.to_vec().unwrap(), &want, Tol::new(3e-4, 1e-5));

    // dy = 1 in row 0, 0 elsewhere, is enough to tell dx from nonsense.
    let mut dy = vec![0.0; m * c];
    dy[..c].fill(1.0);
    let weights = gpu().tensor(&dy, [m, c]).unwrap();
    let loss = gpu()
        .zeros([])
        .unwrap()
        .with_backward("sum", &[&y], &[&weights], |b| vec![Some(b.saved::<1>()[0].clone())]);
    let dx = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
    let (want, ..) = reference::backward(&f64s(&x), &ones, EPS, &f64s(&dy));
    assert_close("dx", &dx, &want, Tol::new(0.05, 1e-3));
}

#[test]
fn a_nan_is_not_hidden_by_relu() {
    let x = gpu().tensor(&[f32::NAN, 1.0, 2.0, -3.0], [2, 2]).unwrap();
    let (mean, var) = (gpu().zeros([2]).unwrap(), gpu().full([2], 1.0).unwrap());
    let y = x.batch_norm(BatchNormOptions::eval(&mean, &var).relu()).to_vec().unwrap();
    assert!(y[0].is_nan() && y[1] > 0.9 && y[2] > 1.9 && y[3] == 0.0, "{y:?}");
    let y = x.batch_norm(BatchNormOptions::train().relu()).to_vec().unwrap();
    assert!(y[0].is_nan() && y[2].is_nan() && y[1] > 0.9 && y[3] == 0.0, "{y:?}");
}

#[test]
fn same_bits_every_time() {
    let (x, shape) = input(4099, 5);
    let run = || {
        let leaf = gpu().tensor(&x, shape.as_slice()).unwrap().requires_grad();
        let y = leaf.batch_norm(BatchNormOptions::train());
        let loss = gpu()
            .zeros([])
            .unwrap()
            .with_backward("square", &[&y], &[&y], |b| vec![Some(b.saved::<1>()[0].clone())]);
        let dx = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
        [y.to_vec().unwrap(), dx].concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
#[should_panic(expected = "batch_norm: training needs two rows for a variance; shape [1, 3]")]
fn refuses_one_row() {
    let _ = gpu().zeros([1, 3]).unwrap().batch_norm(BatchNormOptions::train());
}
