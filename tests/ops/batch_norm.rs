//! Batch normalisation: running statistics, large means, many columns, misfits.

use wgrad::ops::BatchNormOptions;
use wgrad::reference::batch_norm as reference;

use crate::common::*;

const EPS: f64 = 1e-5;
/// Sums over the rows, then a division by a standard deviation.
const TOL: Tol = Tol::new(5e-6, 1e-5);

fn input(m: usize, c: usize) -> (Vec<f32>, Vec<usize>) {
    (data(1, m * c).iter().map(|v| 2.0 * v + 0.5).collect(), vec![m, c])
}

#[test]
#[should_panic(expected = "is not like")]
fn refuses_another_residual() {
    let (x, r) = (gpu().zeros([2, 3]).unwrap(), gpu().zeros([3]).unwrap());
    let _ = x.batch_norm(BatchNormOptions::train().residual(&r));
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
