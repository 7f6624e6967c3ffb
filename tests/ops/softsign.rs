use wgrad::Tensor;
use wgrad::reference::softsign::{softsign, softsign_backward};

use crate::common::*;

/// One element, a prime, a workgroup of 64 invocations with four elements each less one, exactly, and one more.
#[test]
fn softsign_matches_its_reference() {
    for n in [1, 7, 255, 256, 257, 1009] {
        let x: Vec<f32> = data(n as u32, n).iter().map(|v| 4.0 * v + 0.01).collect();
        check_op(
            "softsign",
            &[(x, vec![n])],
            |t| t[0].softsign(),
            |x| softsign(&x[0]),
            |x, dy| vec![softsign_backward(&x[0], dy)],
            F32,
            F32,
        );
    }
}

#[test]
fn nan_and_infinity() {
    let x = gpu().tensor(&[f32::NAN, f32::INFINITY, f32::MAX, -f32::MAX, 0.0], [5]).unwrap();
    let y = x.softsign().to_vec().unwrap();
    assert!(y[0].is_nan() && y[1].is_nan(), "{y:?}");
    assert_eq!(y[2..], [1.0, -1.0, 0.0]);
}

#[test]
#[should_panic(expected = "softsign: f32 or f16 tensors")]
fn integers_panic() {
    let _: Tensor = gpu().tensor_u32(&[1, 2], [2]).unwrap().softsign();
}
