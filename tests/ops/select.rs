use wgrad::Tensor;
use wgrad::reference::select as reference;

use crate::common::*;

const EXACT: Tol = Tol::new(0.0, 0.0);

#[test]
fn where_mask_matches_its_reference() {
    for n in [1, 64, 65, 1009] {
        let mask: Vec<u32> = (0..n as u32).map(|i| i * i % 3).collect(); // 0, 1 or another: all but 0 count
        check_op(
            "where_mask",
            &[(data(1, n), vec![n]), (data(2, n), vec![n])],
            |t| Tensor::where_mask(&gpu().tensor_u32(&mask, [n]).unwrap(), &t[0], &t[1]),
            |x| reference::where_mask(&mask, &x[0], &x[1]),
            |_, dy| {
                let (da, db) = reference::where_mask_backward(&mask, dy);
                vec![da, db]
            },
            EXACT,
            EXACT,
        );
    }
}

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
fn topk_matches_its_reference() {
    for (rows, cols, k) in [(1, 1, 1), (3, 7, 7), (65, 31, 4), (2, 1009, 13), (3, 257, 257), (2, 9001, 5)] {
        let x = data(5, rows * cols);
        let (_, indices) = gpu().tensor(&x, [rows, cols]).unwrap().topk(k);
        let want = reference::topk(&f64s(&x), cols, k).1;
        assert_eq!(indices.to_vec_u32().unwrap(), want);
        check_op(
            &format!("topk {k} of ({rows}, {cols})"),
            &[(x, vec![rows, cols])],
            |t| t[0].topk(k).0,
            |x| reference::topk(&x[0], cols, k).0,
            |_, dy| vec![reference::topk_backward(&want, cols, k, dy)],
            EXACT,
            EXACT,
        );
    }
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
fn argmax_matches_its_reference() {
    for (rows, cols) in [(1, 1), (64, 10), (65, 33), (3, 1009), (2, 70_001)] {
        let x = data(5, rows * cols);
        let y = gpu().tensor(&x, [rows, cols]).unwrap().argmax();
        assert_eq!(**y.shape(), [rows]);
        assert_eq!(y.to_vec_u32().unwrap(), reference::argmax(&f64s(&x), cols));
    }
}

#[test]
#[should_panic(expected = "topk: k = 4 of shape [2, 3]")]
fn more_than_there_are_panics() {
    let _ = gpu().zeros([2, 3]).unwrap().topk(4);
}
