//! Fused softmax cross-entropy.

use wgrad::Tensor;
use wgrad::reference::softmax_cross_entropy as reference;

use crate::common::*;

/// Drivers' `exp` and `log` are good to 1e-6; at `tau` 0.005 a loss is a difference of numbers up to 400.
const TOL: Tol = Tol::new(1e-5, 1e-5);

fn labels(rows: usize, c: usize) -> Vec<u32> {
    (0..rows).map(|r| ((7 * r + 3) % c) as u32).collect()
}

fn upload(labels: &[u32]) -> Tensor {
    gpu().tensor_u32(labels, [labels.len()]).unwrap()
}

#[test]
fn loss_and_gradient() {
    for tau in [1.0_f32, 0.1, 0.005] {
        for [rows, c] in [[1, 1], [3, 2], [5, 10], [2, 63], [3, 64], [63, 65], [64, 64], [257, 10], [2, 1025]]
        {
            let t = f64::from(tau);
            let labels = labels(rows, c);
            let on_gpu = upload(&labels);
            check_op(
                &format!("softmax_cross_entropy {rows} x {c}, tau {tau}"),
                &[(data(1, rows * c), vec![rows, c])],
                |x| x[0].softmax_cross_entropy(&on_gpu, tau),
                |x| vec![reference::forward(&x[0], c, &labels, t)],
                |x, dy| vec![reference::backward(&x[0], c, &labels, t, dy[0])],
                TOL,
                Tol::new(1e-6 / t, 2e-5),
            );
        }
    }
}

#[test]
fn row_losses() {
    let (rows, c) = (65, 70);
    let x = data(2, rows * c);
    let labels = labels(rows, c);
    let got = gpu()
        .tensor(&x, [rows, c])
        .unwrap()
        .requires_grad()
        .softmax_cross_entropy_rows(&upload(&labels), 0.1);
    let x = f64s(&x);
    assert_close("losses", &got.losses.to_vec().unwrap(), &reference::losses(&x, c, &labels, 0.1), TOL);
    let lse: Vec<f64> =
        x.chunks_exact(c).map(|row| wgrad::reference::softmax::log_sum_exp(row, 0.1)).collect();
    assert_close("lse", &got.lse.to_vec().unwrap(), &lse, TOL);
    assert!(!got.losses.tracks_grad() && !got.lse.tracks_grad());
}

#[test]
fn label_out_of_range_is_nan_in_its_row_only() {
    let x = gpu().tensor(&data(3, 9), [3, 3]).unwrap().requires_grad();
    let labels = upload(&[0, 3, u32::MAX]);
    let losses = x.softmax_cross_entropy_rows(&labels, 1.0).losses.to_vec().unwrap();
    assert!(losses[0].is_finite() && losses[1].is_nan() && losses[2].is_nan(), "{losses:?}");
    let loss = x.softmax_cross_entropy(&labels, 1.0);
    assert!(loss.item().unwrap().is_nan());
    let dx = loss.backward().get(&x).unwrap().to_vec().unwrap();
    assert!(dx[..3].iter().all(|v| v.is_finite()) && dx[3..].iter().all(|v| v.is_nan()), "{dx:?}");
}

#[test]
fn more_than_65535_groups_and_long_rows() {
    for [rows, c] in [[8 * 65_536 + 1, 2], [2, 70_000]] {
        let x = data(4, rows * c);
        let labels = labels(rows, c);
        let t = gpu().tensor(&x, [rows, c]).unwrap().requires_grad();
        let loss = t.softmax_cross_entropy(&upload(&labels), 1.0);
        let want = reference::forward(&f64s(&x), c, &labels, 1.0);
        assert_close("loss", &[loss.item().unwrap()], &[want], Tol::new(1e-5, 1e-5));
        let dx = loss.backward().get(&t).unwrap().to_vec().unwrap();
        let want = reference::backward(&f64s(&x), c, &labels, 1.0, 1.0);
        assert_close("dx", &dx, &want, Tol::new(1e-10, 1e-4));
    }
}

#[test]
#[should_panic(expected = "softmax_cross_entropy: takes f32 [n, c] and u32 [n]")]
fn refuses_other_shapes() {
    let _ = gpu().zeros([2, 3]).unwrap().softmax_cross_entropy(&upload(&[0, 1, 2]), 1.0);
}
