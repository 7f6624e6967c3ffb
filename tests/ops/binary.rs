use wgrad::Tensor;
use wgrad::reference::binary::{self as reference, op};

use crate::common::*;

type Op = (&'static str, fn(&Tensor, &Tensor) -> Tensor, fn(f64, f64) -> f64, fn(f64, f64) -> (f64, f64));

const OPS: [Op; 4] = [
    ("add", Tensor::add, op::add, op::add_backward),
    ("sub", Tensor::sub, op::sub, op::sub_backward),
    ("mul", Tensor::mul, op::mul, op::mul_backward),
    ("div", Tensor::div, op::div, op::div_backward),
];

/// f32 rounding of sums of up to 300 terms of size 1, gathered by un-broadcasting.
const SUMMED: Tol = Tol::new(2e-5, 4e-6);

fn check(a: &[usize], b: &[usize]) {
    for (name, op, value, derivative) in OPS {
        let x = data(1, a.iter().product());
        let y: Vec<f32> = data(2, b.iter().product()).iter().map(|v| v + 2.0).collect();
        check_op(
            &format!("{name} {a:?} {b:?}"),
            &[(x, a.to_vec()), (y, b.to_vec())],
            |t| op(&t[0], &t[1]),
            |x| reference::forward((&x[0], a), (&x[1], b), value),
            |x, dy| {
                let (da, db) = reference::backward((&x[0], a), (&x[1], b), derivative, dy);
                vec![da, db]
            },
            F32,
            SUMMED,
        );
    }
}

#[test]
fn equal_shapes() {
    for n in [1, 63, 64, 65, 1009] {
        check(&[n], &[n]);
    }
    check(&[], &[]);
    check(&[3, 5, 7], &[3, 5, 7]);
}

#[test]
fn scalars_rows_and_columns() {
    check(&[13, 7], &[]);
    check(&[], &[13, 7]);
    check(&[13, 7], &[1]);
    check(&[13, 7], &[7]);
    check(&[7], &[13, 7]);
    check(&[300, 3], &[1, 3]);
    check(&[13, 7], &[13, 1]);
    check(&[13, 1], &[1, 7]);
    check(&[2, 3, 4, 5], &[3, 1, 5]);
    check(&[4, 1, 1, 5], &[4, 3, 3, 5]);
}

/// Columns by fours, long rows cut, operands repeated along each of them.
#[test]
fn lanes_of_four() {
    for a in [&[5, 8][..], &[37, 640], &[2, 3, 512]] {
        let cols = a[a.len() - 1];
        check(a, &[cols]);
        check(&[cols], a);
        check(a, &[a[a.len() - 2], 1]);
        check(&[a[a.len() - 2], 1], a);
        check(a, &[]);
    }
    check(&[37, 1], &[64]);
    check(&[3, 1, 5, 8], &[4, 1, 8]);
    check(&[1024], &[1]);
}

/// Nothing to merge: every axis alternates.
#[test]
fn six_alternating_axes() {
    check(&[2, 1, 3, 1, 2, 1], &[1, 3, 1, 2, 1, 3]);
}

#[test]
fn a_tensor_used_twice_gets_both_gradients() {
    let x = gpu().tensor(&[3.0, -2.0], [2]).unwrap().requires_grad();
    let grads = (&x * &x + &x / &x).sum_all().backward();
    assert_close("d(x^2 + x/x)", &grads.get(&x).unwrap().to_vec().unwrap(), &[6.0, -4.0], F32);
}

#[test]
fn operators_take_owned_and_borrowed() {
    let (a, b) = (gpu().full([2], 6.0).unwrap(), gpu().full([2], 2.0).unwrap());
    let all = [&a + &b, a.clone() - &b, &a * b.clone(), a.clone() / b.clone()];
    assert_eq!(all.map(|t| t.to_vec().unwrap()[1]), [8.0, 4.0, 12.0, 3.0]);
}

#[test]
fn expand_repeats_and_sums_back() {
    for (from, to) in [(vec![], vec![3, 2]), (vec![4, 1], vec![2, 4, 5]), (vec![3], vec![3])] {
        check_op(
            &format!("expand {from:?} {to:?}"),
            &[(data(5, from.iter().product()), from.clone())],
            |t| t[0].expand(to.as_slice()),
            |x| reference::expand(&x[0], &from, &to),
            |_, dy| vec![reference::expand_backward(&from, &to, dy)],
            F32,
            F32,
        );
    }
}

#[test]
#[should_panic(expected = "mul: shapes [2, 3] and [2] do not broadcast")]
fn shapes_that_do_not_fit_panic() {
    let _ = gpu().zeros([2, 3]).unwrap().mul(&gpu().zeros([2]).unwrap());
}
