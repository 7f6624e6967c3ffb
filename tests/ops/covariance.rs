//! Covariance of columns.

use wgrad::reference::covariance as reference;

use crate::common::*;

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

#[test]
#[should_panic(expected = "variance_hinge: needs two rows; shape [1, 3]")]
fn hinge_refuses_one_row() {
    let _ = gpu().zeros([1, 3]).unwrap().variance_hinge(1.0, 1e-4);
}
