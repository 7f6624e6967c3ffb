use wgrad::Tensor;

use crate::common::*;

#[test]
fn shapes_drop_or_keep_the_axes() {
    let x = gpu().zeros([2, 3, 4]).unwrap();
    assert_eq!(**x.sum(&[1]).shape(), [2, 4]);
    assert_eq!(**x.sum_keepdim(&[1]).shape(), [2, 1, 4]);
    assert_eq!(**x.max_keepdim(&[0, 2]).shape(), [1, 3, 1]);
    assert_eq!(x.mean_all().shape().rank(), 0);
    assert_eq!(gpu().zeros([0, 3]).unwrap().sum(&[0]).to_vec().unwrap(), [0.0; 3]);
}

/// Five million terms: chunked sums keep the relative error at a few ulp, where a running f32 sum loses three digits.
#[test]
fn a_long_sum_is_accurate_and_repeats() {
    let n = 5_000_011;
    let values: Vec<f32> = data(8, n).iter().map(|v| v.abs()).collect();
    let x = gpu().tensor(&values, [n]).unwrap();
    let got = x.sum_all().item().unwrap();
    assert_close("sum_all", &[got], &[f64s(&values).iter().sum()], Tol::new(0.0, 5e-7));
    assert_eq!(x.sum_all().item().unwrap().to_bits(), got.to_bits());
    let largest = values.iter().copied().fold(0.0, f32::max);
    assert_eq!(x.max_all().item().unwrap(), largest);
}

#[test]
fn equal_maxima_share_the_gradient() {
    let x = gpu().tensor(&[1.0, 3.0, 3.0, 2.0, 2.0, 0.0, 3.0, 1.0], [2, 4]).unwrap().requires_grad();
    let gradient = |y: Tensor| y.sum_all().backward().get(&x).unwrap().to_vec().unwrap();
    assert_eq!(gradient(x.max(&[1])), [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let third = 1.0 / 3.0;
    assert_eq!(gradient(x.max_all()), [0.0, third, third, 0.0, 0.0, 0.0, third, 0.0]);
}

#[test]
fn a_maximum_does_not_hide_a_nan() {
    for (n, at) in [(100, 0), (100, 50), (100, 99), (70_000, 40_001)] {
        let mut x = data(1, n);
        x[at] = f32::NAN;
        assert!(gpu().tensor(&x, [n]).unwrap().max_all().item().unwrap().is_nan(), "NaN at {at} of {n}");
    }
    let low = gpu().full([70], f32::NEG_INFINITY).unwrap();
    assert_eq!(low.max_all().item().unwrap(), f32::NEG_INFINITY);
}

#[test]
#[should_panic(expected = "sum: axis 2 of shape [2, 3]")]
fn an_axis_out_of_range_panics() {
    let _ = gpu().zeros([2, 3]).unwrap().sum(&[2]);
}
