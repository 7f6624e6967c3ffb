use wgrad::Tensor;
use wgrad::reference::unary as reference;

use crate::common::*;

#[test]
fn a_root_of_a_negative_number_is_nan() {
    let y = gpu().tensor(&[-2.0, 0.0, 4.0], [3]).unwrap().powf(0.5).to_vec().unwrap();
    assert!(y[0].is_nan() && y[1] == 0.0, "{y:?}");
    // WGSL's `pow` is `exp2(e * log2(x))`.
    assert_close("powf 0.5", &y[2..], &[2.0], Tol::new(2e-6, 1e-5));
}

/// Relative accuracy where the value is small: the built-in `tanh` is off by 1e-4 near 0 on some drivers, and
/// `1 + erf` cancels in the lower tail of gelu (where rounding of `x^2 / 2` in the exponent costs `x^2 / 2` ulp).
#[test]
fn tanh_and_gelu_are_accurate_where_they_are_small() {
    let x: Vec<f32> = (-30..3).flat_map(|e| [1.0, -1.3, 1.7].map(|m| m * 2_f32.powi(e))).collect();
    let y = gpu().tensor(&x, [x.len()]).unwrap();
    assert_close("tanh", &y.tanh().to_vec().unwrap(), &reference::tanh(&f64s(&x)), Tol::new(0.0, 2e-6));
    assert_close("gelu", &y.gelu().to_vec().unwrap(), &reference::gelu(&f64s(&x)), Tol::new(1e-12, 2e-5));
    let far = gpu().tensor(&[-100.0, 100.0, -20.0, 20.0], [4]).unwrap();
    assert_eq!(far.tanh().to_vec().unwrap(), [-1.0, 1.0, -1.0, 1.0]);
    assert_eq!(far.gelu().to_vec().unwrap(), [0.0, 100.0, 0.0, 20.0]);
}

fn gradient_at(x: &[f32], op: fn(&Tensor) -> Tensor) -> Vec<f32> {
    let x = gpu().tensor(x, [x.len()]).unwrap().requires_grad();
    op(&x).sum_all().backward().get(&x).unwrap().to_vec().unwrap()
}

#[test]
fn gradients_at_the_kinks_are_those_of_pytorch() {
    assert_eq!(gradient_at(&[-1.0, 0.0, 1.0], Tensor::relu), [0.0, 0.0, 1.0]);
    assert_eq!(gradient_at(&[-1.0, 0.0, 1.0], Tensor::abs), [-1.0, 0.0, 1.0]);
    assert_eq!(gradient_at(&[-2.0, -1.0, 0.0, 1.0, 2.0], |t| t.clamp(-1.0, 1.0)), [0.0, 1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn scalars_work_on_both_sides_of_an_operator() {
    let x = gpu().tensor(&[1.0, -2.0, 4.0], [3]).unwrap();
    let is = |y: Tensor, want: [f32; 3]| assert_eq!(y.to_vec().unwrap(), want);
    is(&x + 1.0, [2.0, -1.0, 5.0]);
    is(1.0 + &x, [2.0, -1.0, 5.0]);
    is(&x - 1.0, [0.0, -3.0, 3.0]);
    is(1.0 - &x, [0.0, 3.0, -3.0]);
    is(&x * 2.0, [2.0, -4.0, 8.0]);
    is(2.0 * x.clone(), [2.0, -4.0, 8.0]);
    is(&x / 2.0, [0.5, -1.0, 2.0]);
    is(2.0 / &x, [2.0, -1.0, 0.5]);
    is(-&x, [-1.0, 2.0, -4.0]);
    is(-x.clone(), [-1.0, 2.0, -4.0]);
}

#[test]
fn empty_tensors_are_fine() {
    let x = gpu().zeros([0, 3]).unwrap();
    assert!(x.relu().to_vec().unwrap().is_empty());
}

#[test]
#[should_panic(expected = "exp: f32 or f16 tensors")]
fn integers_are_refused() {
    let _ = gpu().tensor_u32(&[1], [1]).unwrap().exp();
}
