use wgrad::Tensor;
use wgrad::reference::rows as reference;

use crate::common::*;

fn indices(values: &[u32]) -> Tensor {
    gpu().tensor_u32(values, [values.len()]).unwrap()
}

#[test]
fn gather_matches_its_reference_with_repeats() {
    for (rows, width, count) in
        [(1, 1, 1), (5, 3, 17), (7, 64, 2), (9, 96, 1030), (301, 5, 1009), (1000, 4, 65)]
    {
        let picks: Vec<u32> = (0..count).map(|i| (i * i * 31 + i) as u32 % rows as u32).collect();
        check_op(
            &format!("gather_rows {count} of ({rows}, {width})"),
            &[(data(4, rows * width), vec![rows, width])],
            |t| t[0].gather_rows(&indices(&picks)),
            |x| reference::gather_rows(&x[0], width, &picks),
            |_, dy| vec![reference::gather_rows_backward(rows, width, &picks, dy)],
            F32,
            Tol::new(1e-5, 4e-6), // up to count additions to one row
        );
    }
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
fn slices_and_concatenations_match_their_references() {
    let (rows, width) = (13, 5);
    for (start, count) in [(0, 13), (0, 1), (12, 1), (3, 7)] {
        check_op(
            &format!("slice_rows {start} {count}"),
            &[(data(4, rows * width), vec![rows, width])],
            |t| t[0].slice_rows(start, count),
            |x| reference::slice_rows(&x[0], width, start, count),
            |_, dy| vec![reference::slice_rows_backward(rows, width, start, dy)],
            F32,
            F32,
        );
    }
    check_op(
        "concat_rows",
        &[(data(1, 6), vec![2, 3]), (data(2, 3), vec![1, 3]), (data(3, 12), vec![4, 3])],
        |t| Tensor::concat_rows(&[&t[0], &t[1], &t[2]]),
        <[Vec<f64>]>::concat,
        |_, dy| vec![dy[..6].to_vec(), dy[6..9].to_vec(), dy[9..].to_vec()],
        F32,
        F32,
    );
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

    let (rows, width) = (50, 9);
    let (table, new) = (data(1, rows * width), data(2, 20 * width));
    let picks: Vec<u32> = (0..20).map(|i| i * 37 % 11).collect(); // with repeats: the last one counts
    let bank = gpu().tensor(&table, [rows, width]).unwrap();
    bank.write_rows_at(&indices(&picks), &gpu().tensor(&new, [20, width]).unwrap());
    let want = reference::write_rows_at(&f64s(&table), width, &picks, &f64s(&new));
    assert_close("write_rows_at", &bank.to_vec().unwrap(), &want, Tol::new(0.0, 0.0));
    bank.write_rows_at(&indices(&[999]), &gpu().zeros([1, width]).unwrap());
    assert_close("an index out of range", &bank.to_vec().unwrap(), &want, Tol::new(0.0, 0.0));
}

#[test]
#[should_panic(expected = "slice_rows: rows 1..4 of [3, 2]")]
fn a_slice_past_the_end_panics() {
    let _ = gpu().zeros([3, 2]).unwrap().slice_rows(1, 3);
}
