use wgrad::Tensor;

use crate::common::*;

#[test]
fn where_mask_broadcasts_and_blocks_nan() {
    let mask = gpu().tensor_u32(&[1, 0, 1, 0], [2, 2]).unwrap();
    let a = gpu().tensor(&[1.0, f32::NAN], [2]).unwrap().requires_grad();
    let fill = gpu().full([], -9.0).unwrap().requires_grad();
    let y = Tensor::where_mask(&mask, &a, &fill);
    assert_eq!(y.to_vec().unwrap(), [1.0, -9.0, 1.0, -9.0]);
    let grads = y.sum_all().backward();
    assert_eq!(grads.get(&a).unwrap().to_vec().unwrap(), [2.0, 0.0]);
    assert_eq!(grads.get(&fill).unwrap().item().unwrap(), 2.0);
}

#[test]
fn ties_go_to_the_lower_index_and_nan_comes_first() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [2.0, 3.0, 3.0, 2.0, 0.0, -0.0, -inf, -1.0, -nan, inf, nan, 3.0];
    let x = gpu().tensor(&x, [12]).unwrap();
    let (values, indices) = x.topk(12);
    assert_eq!(indices.to_vec_u32().unwrap(), [8, 10, 9, 1, 2, 11, 0, 3, 4, 5, 7, 6]);
    assert_eq!(values.to_vec().unwrap()[2..7], [inf, 3.0, 3.0, 3.0, 2.0]);
    assert_eq!(x.argmax().to_vec_u32().unwrap(), [8]);
    assert_eq!(gpu().full([3, 4], -inf).unwrap().argmax().to_vec_u32().unwrap(), [0, 0, 0]);
}

#[test]
#[should_panic(expected = "topk: k = 4 of shape [2, 3]")]
fn more_than_there_are_panics() {
    let _ = gpu().zeros([2, 3]).unwrap().topk(4);
}
