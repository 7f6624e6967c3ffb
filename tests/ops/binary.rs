use crate::common::*;

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
#[should_panic(expected = "mul: shapes [2, 3] and [2] do not broadcast")]
fn shapes_that_do_not_fit_panic() {
    let _ = gpu().zeros([2, 3]).unwrap().mul(&gpu().zeros([2]).unwrap());
}
