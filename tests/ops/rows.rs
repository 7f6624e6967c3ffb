use wgrad::Tensor;

use crate::common::*;

fn indices(values: &[u32]) -> Tensor {
    gpu().tensor_u32(values, [values.len()]).unwrap()
}

#[test]
fn gather_takes_any_rank_and_integers() {
    let labels = gpu().tensor_u32(&[10, 11, 12], [3]).unwrap();
    assert_eq!(labels.gather_rows(&indices(&[2, 0, 0, 1])).to_vec_u32().unwrap(), [12, 10, 10, 11]);
    let x = gpu().tensor(&data(1, 24), [2, 3, 4]).unwrap();
    let y = x.gather_rows(&indices(&[1]));
    assert_eq!(**y.shape(), [1, 3, 4]);
    assert_eq!(y.to_vec().unwrap(), x.to_vec().unwrap()[12..]);
}

#[test]
fn an_index_out_of_range_gives_nan_and_no_gradient() {
    let x = gpu().tensor(&[1.0, 2.0], [2, 1]).unwrap().requires_grad();
    let y = x.gather_rows(&indices(&[1, 2, 7]));
    let values = y.to_vec().unwrap();
    assert!(values[0] == 2.0 && values[1].is_nan() && values[2].is_nan(), "{values:?}");
    assert_eq!(y.sum_all().backward().get(&x).unwrap().to_vec().unwrap(), [0.0, 1.0]);
}

#[test]
fn gathered_gradients_repeat_bit_for_bit() {
    let picks: Vec<u32> = (0..2000).map(|i| i * 7919 % 13).collect();
    let x = gpu().tensor(&data(6, 13 * 8), [13, 8]).unwrap().requires_grad();
    let w = gpu().tensor(&data(7, 2000 * 8), [2000, 8]).unwrap();
    let run = || {
        let grads = x.gather_rows(&indices(&picks)).mul(&w).sum_all().backward();
        grads.get(&x).unwrap().to_vec().unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn one_tensor_concatenated_twice_gets_both_gradients() {
    let x = gpu().tensor(&[1.0, 2.0], [2]).unwrap().requires_grad();
    let w = gpu().tensor(&[1.0, 10.0, 100.0, 1000.0], [4]).unwrap();
    let grads = Tensor::concat_rows(&[&x, &x]).mul(&w).sum_all().backward();
    assert_eq!(grads.get(&x).unwrap().to_vec().unwrap(), [101.0, 1010.0]);
}

#[test]
fn rows_are_written_in_place() {
    let queue = gpu().zeros([5, 3]).unwrap();
    let same = queue.clone();
    queue.write_rows(3, &gpu().full([2, 3], 7.0).unwrap());
    assert_eq!(same.to_vec().unwrap(), [[0.0; 9].as_slice(), &[7.0; 6]].concat());

    let bank = gpu().tensor(&data(1, 18), [2, 9]).unwrap();
    bank.write_rows_at(&indices(&[999]), &gpu().zeros([1, 9]).unwrap());
    assert_eq!(bank.to_vec().unwrap(), data(1, 18), "an index out of range");
}

#[test]
#[should_panic(expected = "slice_rows: rows 1..4 of [3, 2]")]
fn a_slice_past_the_end_panics() {
    let _ = gpu().zeros([3, 2]).unwrap().slice_rows(1, 3);
}
