//! Convolution: every kernel file, odd channels, strides and paddings.

use crate::cases::{Sizes, laddered};
use crate::common::*;
use wgrad::ops::{BatchNormOptions, Conv2dOptions};
use wgrad::reference::conv2d::{Conv, conv2d, conv2d_backward};
use wgrad::{DType, Gpu};

/// Sums of up to some thousand products of values in [-1, 1).
const SUM: Tol = Tol::new(1e-4, 2e-5);

/// Value and gradients on a device of its own, from values of `data`; `dy` comes through a product with the output. Then the gradient
/// of images that another op has given one before.
pub(crate) fn check_with(gpu: &Gpu, what: &str, case: &Conv, data: fn(u32, usize) -> Vec<f32>) {
    let Conv { n, input: [h, w], cin, cout, kernel: [kh, kw], stride, padding } = *case;
    let (x, k) = (data(1, n * h * w * cin), data(2, kh * kw * cin * cout));
    let images = gpu.tensor(&x, [n, h, w, cin]).unwrap().requires_grad();
    let constant = gpu.tensor(&k, [kh, kw, cin, cout]).unwrap();
    let weights = gpu.tensor(&k, [kh, kw, cin, cout]).unwrap().requires_grad();
    let y = images.conv2d(&weights, Conv2dOptions { stride, padding });
    let (x, k) = (f64s(&x), f64s(&k));
    assert_close(&format!("{what} {case:?}: value"), &y.to_vec().unwrap(), &conv2d(&x, &k, case), SUM);
    let dy = data(3, y.len());
    let row = gpu.tensor(&dy, [dy.len(), 1]).unwrap();
    let grads = y.reshape([1, dy.len()]).matmul(&row).backward();
    let (dx, dw) = conv2d_backward(&x, &k, &f64s(&dy), case);
    assert_close(&format!("{what} {case:?}: dx"), &grads.get(&images).unwrap().to_vec().unwrap(), &dx, SUM);
    assert_close(&format!("{what} {case:?}: dw"), &grads.get(&weights).unwrap().to_vec().unwrap(), &dw, SUM);

    let y = images.conv2d(&constant, Conv2dOptions { stride, padding });
    let other = data(4, x.len());
    let column = gpu.tensor(&other, [x.len(), 1]).unwrap();
    let loss = y.reshape([1, dy.len()]).matmul(&row).add(&images.reshape([1, x.len()]).matmul(&column));
    let sum: Vec<f64> = dx.iter().zip(&other).map(|(dx, other)| dx + f64::from(*other)).collect();
    let got = loss.backward().get(&images).unwrap().to_vec().unwrap();
    assert_close(&format!("{what} {case:?}: dx and another gradient"), &got, &sum, SUM);
}

#[test]
fn every_kernel_file() {
    for file in wgrad::ops::rungs("conv", gpu(), DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("conv", file).build().unwrap();
        for op in laddered("conv", file, &Sizes::of(&gpu)) {
            op.check_rung(&gpu, DType::F32).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        }
    }
}

/// Statistics from the convolution's kernel, or by reading its output: one result. The mean is far from 0.
#[test]
fn with_batch_norm() {
    for file in ["1_naive", "4_block"] {
        let gpu = Gpu::builder().quiet().kernel("conv", file).build().unwrap();
        // 1,782 pixels: enough tiles that the sums are not split, the last tile short.
        let (x, w) = (data(1, 3 * 35 * 20 * 4), data(2, 9 * 4 * 12));
        let x: Vec<f32> = x.iter().map(|v| v + 3.0).collect();
        let [x, w] = [gpu.tensor(&x, [3, 35, 20, 4]), gpu.tensor(&w, [3, 3, 4, 12])]
            .map(|t| t.unwrap().requires_grad());
        let [gamma, beta] = [3, 4].map(|seed| gpu.tensor(&data(seed, 12), [12]).unwrap().requires_grad());
        let dy = gpu.tensor(&data(5, 3 * 33 * 18 * 12), [3 * 33 * 18 * 12, 1]).unwrap();
        let outcome = |fused: bool| {
            let (mean, var) = (gpu.zeros([12]).unwrap(), gpu.full([12], 1.0).unwrap());
            let norm = BatchNormOptions::train().affine(&gamma, &beta).running(&mean, &var);
            let y = if fused {
                x.conv2d_batch_norm(&w, Conv2dOptions::new(), norm)
            } else {
                x.conv2d(&w, Conv2dOptions::new()).batch_norm(norm)
            };
            let grads = y.reshape([1, y.len()]).matmul(&dy).backward();
            let grads = [&x, &w, &gamma, &beta].map(|t| grads.get(t).unwrap().to_vec().unwrap());
            let [g0, g1, g2, g3] = grads;
            [y.to_vec().unwrap(), mean.to_vec().unwrap(), var.to_vec().unwrap(), g0, g1, g2, g3]
        };
        for (i, (got, want)) in outcome(true).iter().zip(outcome(false)).enumerate() {
            let scale = want.iter().fold(1.0f64, |top, v| top.max(f64::from(v.abs())));
            assert_close(&format!("{file}, result {i}"), got, &f64s(&want), Tol::new(1e-5 * scale, 1e-5));
        }
    }
}

#[test]
fn one_row_of_four_million_pixels() {
    let (pixels, ones) = (4_200_000, gpu().full([1, 3, 1, 1], 1.0).unwrap());
    let x = data(4, pixels);
    let y = gpu().tensor(&x, [1, 1, pixels, 1]).unwrap().conv2d(&ones, Conv2dOptions::new().padding([0, 1]));
    let y = y.to_vec().unwrap();
    for at in (1..pixels - 1).step_by(997).chain([pixels - 2]) {
        let want = x[at - 1] + x[at] + x[at + 1];
        assert!((y[at] - want).abs() < 1e-5, "[{at}]: {} want {want}", y[at]);
    }
}

#[test]
fn the_same_bits_every_time() {
    let x = gpu().tensor(&data(1, 2 * 20 * 20 * 8), [2, 20, 20, 8]).unwrap();
    let w = gpu().tensor(&data(2, 9 * 8 * 8), [3, 3, 8, 8]).unwrap().requires_grad();
    let run = || {
        let y = x.conv2d(&w, Conv2dOptions::new().padding(1));
        let loss = y.reshape([1, y.len()]).matmul(&gpu().full([y.len(), 1], 0.5).unwrap());
        loss.backward().get(&w).unwrap().to_vec().unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
#[should_panic(expected = "the number of input channels differs")]
fn misfit_says_why() {
    let _ =
        gpu().zeros([1, 4, 4, 3]).unwrap().conv2d(&gpu().zeros([3, 3, 4, 8]).unwrap(), Conv2dOptions::new());
}
