//! Softmax and log-softmax.

use wgrad::reference::softmax as reference;

use crate::common::*;

/// Drivers' `exp` and `log` are good to 1e-6; sums of `c` terms add a little.
const TOL: Tol = Tol::new(1e-6, 1e-5);

/// Row lengths around the lane counts, and more than one row count: few rows are split among lanes, many are not.
const SHAPES: [[usize; 2]; 9] =
    [[1, 1], [3, 2], [5, 7], [2, 63], [3, 64], [63, 65], [64, 64], [65, 127], [2, 1025]];

fn scaled(seed: u32, n: usize, by: f32) -> Vec<f32> {
    data(seed, n).iter().map(|v| v * by).collect()
}

#[test]
fn softmax() {
    for tau in [None, Some(0.1), Some(0.005)] {
        for [rows, c] in SHAPES {
            let t = f64::from(tau.unwrap_or(1.0));
            check_op(
                &format!("softmax {rows} x {c}, tau {tau:?}"),
                &[(data(1, rows * c), vec![rows, c])],
                |x| x[0].softmax(tau),
                |x| reference::softmax(&x[0], c, t),
                |x, dy| vec![reference::softmax_backward(&x[0], c, t, dy)],
                TOL,
                Tol::new(1e-6 / t, 2e-5),
            );
        }
    }
}

#[test]
fn log_softmax() {
    for tau in [None, Some(0.1), Some(0.005)] {
        for [rows, c] in SHAPES {
            let t = f64::from(tau.unwrap_or(1.0));
            check_op(
                &format!("log_softmax {rows} x {c}, tau {tau:?}"),
                &[(data(2, rows * c), vec![rows, c])],
                |x| x[0].log_softmax(tau),
                |x| reference::log_softmax(&x[0], c, t),
                |x, dy| vec![reference::log_softmax_backward(&x[0], c, t, dy)],
                TOL,
                // e^y sum dy: the sum of dy cancels, its error does not.
                Tol::new(2e-6 * (c as f64).sqrt() / t, 2e-5),
            );
        }
    }
}

#[test]
fn any_rank() {
    let x = data(3, 2 * 3 * 5);
    let y = gpu().tensor(&x, [2, 3, 5]).unwrap().softmax(None);
    assert_eq!(**y.shape(), [2, 3, 5]);
    assert_close("rank 3", &y.to_vec().unwrap(), &reference::softmax(&f64s(&x), 5, 1.0), TOL);
}

#[test]
fn long_rows() {
    for rows in [1, 65] {
        let x = scaled(4, rows * 70_000, 10.0);
        let t = gpu().tensor(&x, [rows, 70_000]).unwrap();
        let want = reference::log_softmax(&f64s(&x), 70_000, 1.0);
        assert_close(
            "log_softmax of 70,000",
            &t.log_softmax(None).to_vec().unwrap(),
            &want,
            Tol::new(2e-5, 2e-6),
        );
    }
}

#[test]
fn more_than_65535_groups() {
    let rows = 8 * 65_536 + 1;
    let x = data(5, rows * 2);
    let y = gpu().tensor(&x, [rows, 2]).unwrap().softmax(None).to_vec().unwrap();
    assert_close("many rows", &y, &reference::softmax(&f64s(&x), 2, 1.0), TOL);
}

#[test]
fn large_logits_stay_finite() {
    let x = [3e38, -3e38, 0.0, 88.0, 1000.0, 1000.0];
    let t = gpu().tensor(&x, [2, 3]).unwrap();
    assert_close("softmax", &t.softmax(None).to_vec().unwrap(), &[1., 0., 0., 0., 0.5, 0.5], F32);
    let y = t.log_softmax(None).to_vec().unwrap();
    assert!(y[0] == 0.0 && (y[5] + std::f32::consts::LN_2).abs() < 1e-6, "{y:?}");
}

#[test]
fn nan_stays_in_its_row() {
    let y = gpu().tensor(&[0.0, f32::NAN, 0.0, 0.0], [2, 2]).unwrap().softmax(None).to_vec().unwrap();
    assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 0.5 && y[3] == 0.5, "{y:?}");
}

#[test]
#[should_panic(expected = "softmax: temperature 0 is not above zero")]
fn refuses_zero_temperature() {
    let _ = gpu().zeros([2, 2]).unwrap().softmax(0.0);
}
