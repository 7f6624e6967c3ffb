//! Layer normalisation.

use wgrad::reference::layer_norm as reference;

use crate::common::*;

#[test]
fn one_column_gives_beta() {
    let x = gpu().tensor(&data(4, 5), [5, 1]).unwrap();
    let (gamma, beta) = (gpu().full([1], 2.0).unwrap(), gpu().full([1], 0.5).unwrap());
    assert_eq!(x.layer_norm(&gamma, &beta).to_vec().unwrap(), [0.5; 5]);
}

#[test]
fn large_mean_keeps_its_variance() {
    for (rows, c) in [(3, 70_000), (65, 4099)] {
        let x: Vec<f32> = data(5, rows * c).iter().map(|v| 1e3 + v * 3f32.sqrt()).collect();
        let ones = gpu().full([c], 1.0).unwrap();
        let y = gpu().tensor(&x, [rows, c]).unwrap().layer_norm(&ones, &gpu().zeros([c]).unwrap());
        let want = reference::forward(&f64s(&x), &vec![1.; c], &vec![0.; c], 1e-5);
        // The mean itself rounds to 3e-5 at 1e3.
        assert_close("mean 1e3, std 1", &y.to_vec().unwrap(), &want, Tol::new(1e-4, 1e-4));
    }
}

#[test]
fn more_than_65535_groups() {
    let (rows, c) = (8 * 65_536 + 1, 3);
    let x = data(6, rows * c);
    let (gamma, beta) = (data(7, c), data(8, c));
    let upload = |v: &[f32]| gpu().tensor(v, [c]).unwrap().requires_grad();
    let (g, b) = (upload(&gamma), upload(&beta));
    let y = gpu().tensor(&x, [rows, c]).unwrap().layer_norm(&g, &b);
    let want = reference::forward(&f64s(&x), &f64s(&gamma), &f64s(&beta), 1e-5);
    assert_close("value", &y.to_vec().unwrap(), &want, Tol::new(1e-4, 1e-4));

    let loss = gpu()
        .zeros([])
        .unwrap()
        .with_backward("sum", &[&y], &[&y], |b| vec![Some(b.saved::<1>()[0].full_like(1.0))]);
    let grads = loss.backward();
    let (_, dgamma, dbeta) = reference::backward(&f64s(&x), &f64s(&gamma), 1e-5, &vec![1.; rows * c]);
    // xhat sums to about zero over half a million rows.
    assert_close("dgamma", &grads.get(&g).unwrap().to_vec().unwrap(), &dgamma, Tol::new(0.2, 1e-5));
    assert_close("dbeta", &grads.get(&b).unwrap().to_vec().unwrap(), &dbeta, F32);
}

#[test]
#[should_panic(
    expected = "layer_norm: gamma Tensor(F32, [4]) does not give one f32 for each column of [2, 3]"
)]
fn refuses_other_shapes() {
    let x = gpu().zeros([2, 3]).unwrap();
    let _ = x.layer_norm(&gpu().zeros([4]).unwrap(), &gpu().zeros([3]).unwrap());
}
