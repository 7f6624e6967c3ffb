//! Pooling: windows that overlap, leave gaps, hang over the edge, and tie.

use crate::common::*;
use wgrad::reference::pool2d::{self as reference, Pool};

/// A mean of up to some hundred values in [-1, 1).
const MEAN: Tol = Tol::new(2e-6, 2e-6);

const fn pool(
    n: usize,
    input: [usize; 2],
    c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Pool {
    Pool { n, input, c, kernel, stride, padding }
}

const CASES: [Pool; 9] = [
    pool(1, [1, 1], 1, [1, 1], [1, 1], [0, 0]),
    pool(2, [7, 9], 5, [3, 3], [2, 2], [1, 1]), // the ImageNet stem
    pool(1, [8, 6], 4, [2, 2], [2, 2], [0, 0]),
    pool(3, [11, 5], 3, [2, 3], [3, 1], [1, 0]), // gaps between rows, overlap along columns
    pool(1, [5, 13], 67, [4, 5], [1, 3], [2, 2]),
    pool(2, [4, 4], 2, [2, 2], [5, 5], [1, 1]),
    pool(1, [3, 3], 7, [3, 3], [1, 1], [0, 0]),
    pool(2, [5, 37], 8, [3, 3], [2, 1], [1, 1]), // more than one run a row
    pool(1, [4, 50], 12, [1, 7], [1, 3], [0, 2]),
];

/// Distinct values, far enough apart that a finite difference changes no maximum.
fn distinct(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 7919 % n) as f32 / n as f32).collect()
}

#[test]
fn max_pool2d() {
    for case in CASES {
        let Pool { n, input: [h, w], c, kernel, stride, padding } = case;
        check_op(
            &format!("max {case:?}"),
            &[(distinct(n * h * w * c), vec![n, h, w, c])],
            |x| x[0].max_pool2d(kernel, stride, padding),
            |x| reference::max_pool2d(&x[0], &case),
            |x, dy| vec![reference::max_pool2d_backward(&x[0], dy, &case)],
            Tol::new(0.0, 0.0),
            F32,
        );
    }
}

#[test]
fn avg_pool2d() {
    for case in CASES {
        let Pool { n, input: [h, w], c, kernel, stride, padding } = case;
        check_op(
            &format!("avg {case:?}"),
            &[(data(1, n * h * w * c), vec![n, h, w, c])],
            |x| x[0].avg_pool2d(kernel, stride, padding),
            |x| reference::avg_pool2d(&x[0], &case),
            |_, dy| vec![reference::avg_pool2d_backward(dy, &case)],
            MEAN,
            MEAN,
        );
    }
}

#[test]
fn global_avg_pool() {
    for (n, input, c) in
        [(1, [1, 1], 1), (3, [4, 5], 7), (2, [17, 13], 65), (1, [65, 64], 2), (2, [8, 8], 64)]
    {
        check_op(
            &format!("global {n} {input:?} {c}"),
            &[(data(1, n * input[0] * input[1] * c), vec![n, input[0], input[1], c])],
            |x| x[0].global_avg_pool(),
            |x| reference::global_avg_pool(&x[0], n, input, c),
            |_, dy| vec![reference::global_avg_pool_backward(dy, n, input, c)],
            MEAN,
            MEAN,
        );
    }
}

#[test]
fn ties_go_to_the_first_maximum() {
    let x = gpu().tensor(&[1., 1., 1., 1.], [1, 2, 2, 1]).unwrap().requires_grad();
    let grads = x.max_pool2d(2, 2, 0).reshape([1]).backward();
    assert_eq!(grads.get(&x).unwrap().to_vec().unwrap(), [1., 0., 0., 0.]);
}

#[test]
fn nan_is_not_hidden() {
    let x = gpu().tensor(&[1., f32::NAN, 3., 2.], [1, 2, 2, 1]).unwrap();
    assert!(x.max_pool2d(2, 2, 0).item().unwrap().is_nan());
}

#[test]
fn one_row_of_four_million_pixels() {
    let n = 4_200_000;
    let x = data(1, n);
    let y = gpu().tensor(&x, [1, 1, n, 1]).unwrap().max_pool2d([1, 3], 1, [0, 1]).to_vec().unwrap();
    for at in (1..n - 1).step_by(991) {
        assert_eq!(y[at].to_bits(), x[at - 1].max(x[at]).max(x[at + 1]).to_bits(), "[{at}]");
    }
}

#[test]
#[should_panic(expected = "do not fit images [1, 4, 4, 1]")]
fn too_much_padding() {
    let _ = gpu().zeros([1, 4, 4, 1]).unwrap().max_pool2d(2, 2, 2);
}
