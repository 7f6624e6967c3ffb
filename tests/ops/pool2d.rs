//! Pooling: windows that tie, long rows, misfits.

use crate::common::*;

#[test]
fn ties_go_to_the_first_maximum() {
    let x = gpu().tensor(&[1., 1., 1., 1.], [1, 2, 2, 1]).unwrap().requires_grad();
    let grads = x.max_pool2d(2, 2, 0).reshape([1]).backward();
    assert_eq!(grads.get(&x).unwrap().to_vec().unwrap(), [1., 0., 0., 0.]);
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
