use wgrad::DType;

use crate::common::*;

#[test]
fn a_copy_is_deep_and_passes_the_gradient() {
    let x = gpu().tensor(&[1.0, 2.0], [2]).unwrap().requires_grad();
    let y = x.copy();
    x.write(&[5.0, 6.0]);
    assert_eq!(y.to_vec().unwrap(), [1.0, 2.0]);
    assert_eq!(y.sum_all().backward().get(&x).unwrap().to_vec().unwrap(), [1.0, 1.0]);
}

#[test]
fn casts_truncate_and_saturate() {
    let x = gpu().tensor(&[0.0, 1.9, -3.0, 16_777_216.0, 1e20], [5]).unwrap();
    assert_eq!(x.cast(DType::U32).to_vec_u32().unwrap(), [0, 1, 0, 16_777_216, 4_294_967_040]);
    let y = gpu().tensor_u32(&[0, 7, 16_777_219, u32::MAX], [4]).unwrap();
    assert_eq!(y.cast(DType::F32).to_vec().unwrap(), [0.0, 7.0, 16_777_220.0, 4_294_967_296.0]);
    assert_eq!(y.cast(DType::U32).to_vec_u32().unwrap(), [0, 7, 16_777_219, u32::MAX]);
}

#[test]
#[should_panic(expected = "transpose: rank 2 or 3, got shape [3]")]
fn a_vector_has_no_transpose() {
    let _ = gpu().zeros([3]).unwrap().transpose();
}
