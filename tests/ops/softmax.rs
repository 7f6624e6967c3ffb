//! Softmax and log-softmax of many rows, long rows, and large logits.

use wgrad::reference::softmax as reference;

use crate::common::*;

/// Drivers' `exp` and `log` are good to 1e-6; sums of `c` terms add a little.
const TOL: Tol = Tol::new(1e-6, 1e-5);

#[test]
fn long_rows() {
    for rows in [1, 65] {
        let x: Vec<f32> = data(4, rows * 70_000).iter().map(|v| 10.0 * v).collect();
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

/// A NaN in a row is in all of its gradient, and in no other row's, wherever it lies.
#[test]
fn nan_reaches_the_gradient_of_its_row() {
    for c in [3, 64, 70, 1025, 4100] {
        for at in [0, c / 2, c - 1] {
            let mut x = data(6, 3 * c);
            x[c + at] = f32::NAN;
            let x = gpu().tensor(&x, [3, c]).unwrap().requires_grad();
            let weights = gpu().tensor(&data(7, 3 * c), [3, c]).unwrap();
            for (op, y) in [("softmax", x.softmax(0.5)), ("log_softmax", x.log_softmax(0.5))] {
                let dx = y.mul(&weights).sum_all().backward().get(&x).unwrap().to_vec().unwrap();
                for (i, v) in dx.iter().enumerate() {
                    assert_eq!(v.is_nan(), i / c == 1, "{op}, NaN in column {at} of {c}: dx[{i}] is {v}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "softmax: temperature 0 is not above zero")]
fn refuses_zero_temperature() {
    let _ = gpu().zeros([2, 2]).unwrap().softmax(0.0);
}
