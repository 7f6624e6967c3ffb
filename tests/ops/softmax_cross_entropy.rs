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
fn nan_reaches_the_loss_and_gradient_of_its_row() {
    for c in [3, 64, 70, 1025, 4100] {
        for at in [0, c / 2, c - 1] {
            let mut x = data(6, 3 * c);
            x[c + at] = f32::NAN;
            let x = gpu().tensor(&x, [3, c]).unwrap().requires_grad();
            let labels = upload(&labels(3, c));
            let rows = x.softmax_cross_entropy_rows(&labels, 0.5);
            for v in [rows.losses.to_vec().unwrap(), rows.lse.to_vec().unwrap()] {
                assert!(v[0].is_finite() && v[1].is_nan() && v[2].is_finite(), "column {at} of {c}: {v:?}");
            }
            let dx = x.softmax_cross_entropy(&labels, 0.5).backward().get(&x).unwrap().to_vec().unwrap();
            for (i, v) in dx.iter().enumerate() {
                assert_eq!(v.is_nan(), i / c == 1, "NaN in column {at} of {c}: dx[{i}] is {v}");
            }
        }
    }
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
