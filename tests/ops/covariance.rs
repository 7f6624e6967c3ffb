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

#[test]
fn penalty_of_covariances() {
    for [n, d] in [[2, 1], [3, 2], [7, 5], [16, 27], [65, 64], [257, 17]] {
        check_op(
            &format!("covariance_penalty {n} x {d}"),
            &[(data(3, n * d), vec![n, d])],
            |x| x[0].covariance_penalty(),
            |x| reference::penalty(&x[0], d),
            |x, dy| vec![reference::penalty_backward(&x[0], d, dy)],
            TOL,
            Tol::new(1e-6, 1e-5),
        );
    }
}

/// Columns of several spreads, some above gamma, one constant.
#[test]
fn hinge_of_deviations() {
    for [n, d] in [[2, 1], [3, 2], [7, 5], [16, 27], [257, 17]] {
        let spread = |i: usize| if i % d == 3 { 0.0 } else { 0.4 * ((i % d) % 7) as f32 + 0.1 };
        let x: Vec<f32> = data(4, n * d).iter().enumerate().map(|(i, v)| 0.5 + v * spread(i)).collect();
        check_op(
            &format!("variance_hinge {n} x {d}"),
            &[(x, vec![n, d])],
            |x| x[0].variance_hinge(1.0, 1e-4),
            |x| reference::hinge(&x[0], d, 1.0, f64::from(1e-4_f32)),
            |x, dy| vec![reference::hinge_backward(&x[0], d, 1.0, f64::from(1e-4_f32), dy)],
            TOL,
            Tol::new(1e-6, 1e-5),
        );
    }
}

#[test]
#[should_panic(expected = "variance_hinge: needs two rows; shape [1, 3]")]
fn hinge_refuses_one_row() {
    let _ = gpu().zeros([1, 3]).unwrap().variance_hinge(1.0, 1e-4);
}
