//! Covariance of columns.

use wgrad::reference::covariance as reference;

use crate::common::*;

/// Dot products of `n` terms, divided by `n - 1`.
const TOL: Tol = Tol::new(2e-6, 1e-5);

#[test]
fn value_and_gradient() {
    for [n, d] in [[2, 1], [3, 2], [7, 5], [16, 27], [33, 31], [65, 64], [257, 17]] {
        check_op(
            &format!("covariance {n} x {d}"),
            &[(data(1, n * d), vec![n, d])],
            |x| x[0].covariance(),
            |x| reference::forward(&x[0], d),
            |x, dy| vec![reference::backward(&x[0], d, dy)],
            TOL,
            Tol::new(1e-5, 1e-5),
        );
    }
}

#[test]
fn large_mean_keeps_its_covariance() {
    let (n, d) = (200_003, 3);
    let x: Vec<f32> = data(2, n * d).iter().map(|v| 1e3 + v).collect();
    let cov = gpu().tensor(&x, [n, d]).unwrap().covariance().to_vec().unwrap();
    assert_close("mean 1e3", &cov, &reference::forward(&f64s(&x), d), Tol::new(2e-5, 1e-4));
}

#[test]
#[should_panic(expected = "covariance: needs two rows; shape [1, 3]")]
fn refuses_one_row() {
    let _ = gpu().zeros([1, 3]).unwrap().covariance();
}
