use wgrad::Tensor;

use crate::common::*;

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
