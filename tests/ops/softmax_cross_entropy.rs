//! Fused softmax cross-entropy.

use wgrad::Tensor;
use wgrad::reference::softmax_cross_entropy as reference;

use crate::common::*;

fn labels(rows: usize, c: usize) -> Vec<u32> {
    (0..rows).map(|r| ((7 * r + 3) % c) as u32).collect()
}

fn upload(labels: &[u32]) -> Tensor {
    gpu().tensor_u32(labels, [labels.len()]).unwrap()
}

#[test]
fn row_losses_carry_no_graph() {
    let x = gpu().tensor(&data(2, 6), [2, 3]).unwrap().requires_grad();
    let got = x.softmax_cross_entropy_rows(&upload(&[0, 2]), 0.1);
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
