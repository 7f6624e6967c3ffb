//! Kernels for matrix units on emulated ones of 16 x 16: what no adapter without them would run, on any adapter with f16. Subgroups
//! smaller and larger than those that a workgroup is made for give the same values.

use wgrad::ops::{Contrastive, Conv2dOptions};
use wgrad::reference::conv2d::Conv;
use wgrad::reference::{conv2d, matmul};
use wgrad::{DType, Gpu, Tensor};

use crate::common::*;

/// A device with emulated matrix units whose workgroups are made for subgroups of `n`; `None` where it cannot have them.
fn open(n: Option<u32>) -> Option<Gpu> {
    let mut builder = Gpu::builder().quiet().checks(false).emulate_matrix_units();
    builder =
        builder.kernel("matmul", "11_matrix").kernel("conv", "7_matrix").kernel("contrastive", "5_matrix");
    if let Some(n) = n {
        builder = builder.matrix_subgroup(n);
    }
    let gpu = builder.build().unwrap();
    if gpu.info().matrix_tiles != [16] {
        eprintln!("skipped: this adapter lacks f16, subgroups or 32 KiB of workgroup memory");
        return None;
    }
    Some(gpu)
}

/// Eighths in [-1, 1): exact in f16, and so are their products in f32.
fn eighths(seed: u32, n: usize) -> Vec<f32> {
    data(seed, n).iter().map(|v| (8.0 * v).floor() / 8.0).collect()
}

fn half(gpu: &Gpu, x: &[f32], shape: &[usize]) -> Tensor {
    gpu.tensor(x, shape).unwrap().cast(DType::F16)
}

/// Sums of eighths are exact in f32, so every value is.
fn product(gpu: &Gpu, [m, n, k]: [usize; 3]) {
    let (a, b) = (eighths(1, m * k), eighths(2, k * n));
    let want = matmul::matmul(&f64s(&a), &f64s(&b), [m, n, k]);
    let transposed = |x: &[f32], rows: usize, columns: usize| -> Vec<f32> {
        (0..rows * columns).map(|e| x[e % rows * columns + e / rows]).collect()
    };
    let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
    for (form, c) in [
        ("nn", half(gpu, &a, &[m, k]).matmul(&half(gpu, &b, &[k, n]))),
        ("nt", half(gpu, &a, &[m, k]).matmul_nt(&half(gpu, &bt, &[n, k]))),
        ("tn", half(gpu, &at, &[k, m]).matmul_tn(&half(gpu, &b, &[k, n]))),
    ] {
        let got = c.cast(DType::F32).to_vec().unwrap();
        assert_close(&format!("{form} {m} x {n} x {k}"), &got, &want, Tol::new(1e-6, 1e-3));
    }
}

#[test]
#[ignore = "minutes, most of them lavapipe's compiler: make test-classes runs it"]
fn products() {
    let Some(gpu) = open(None) else { return };
    for size in [[1, 1, 1], [130, 37, 70], [16, 129, 33]] {
        product(&gpu, size);
    }
}

/// Eight subgroups, of which four repeat the others.
#[test]
#[ignore = "minutes, most of them lavapipe's compiler: make test-classes runs it"]
fn subgroups_smaller_than_expected() {
    let Some(own) = open(None) else { return };
    let gpu = open(Some(2 * own.tested().matrix_subgroup)).unwrap();
    product(&gpu, [130, 37, 70]);
}

#[test]
fn products_of_f32_accuracy() {
    if open(None).is_none() {
        return;
    }
    let gpu = Gpu::builder().quiet().checks(false).emulate_matrix_units();
    let gpu = gpu.kernel("matmul", "12_split_f32").build().unwrap();
    let [m, n, k] = [70, 37, 65];
    let (a, b) = (data(3, m * k), data(4, k * n));
    let want = matmul::matmul(&f64s(&a), &f64s(&b), [m, n, k]);
    let (a, b) = (gpu.tensor(&a, [m, k]).unwrap(), gpu.tensor(&b, [k, n]).unwrap());
    assert_close("12_split_f32", &a.matmul(&b).to_vec().unwrap(), &want, Tol::new(3e-6, 1e-6));
}

#[test]
#[ignore = "minutes, most of them lavapipe's compiler: make test-classes runs it"]
fn convolutions() {
    let Some(gpu) = open(None) else { return };
    let case =
        Conv { n: 2, input: [9, 7], cin: 5, cout: 12, kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let [oh, ow] = case.output();
    let (x, w, dy) = (eighths(5, 2 * 9 * 7 * 5), eighths(6, 9 * 5 * 12), eighths(7, 2 * oh * ow * 12));
    let want = conv2d::conv2d(&f64s(&x), &f64s(&w), &case);
    let (want_dx, want_dw) = conv2d::conv2d_backward(&f64s(&x), &f64s(&w), &f64s(&dy), &case);
    let x = half(&gpu, &x, &[2, 9, 7, 5]).requires_grad();
    let w = half(&gpu, &w, &[3, 3, 5, 12]).requires_grad();
    let y = x.conv2d(&w, Conv2dOptions::new().stride(2).padding(1));
    let close = |what: &str, got: &Tensor, want: &[f64]| {
        assert_close(what, &got.cast(DType::F32).to_vec().unwrap(), want, Tol::new(1e-6, 1e-3));
    };
    close("y", &y, &want);
    let grads = y.mul(&half(&gpu, &dy, &[2, oh, ow, 12])).sum_all().backward();
    close("dx", grads.get(&x).unwrap(), &want_dx);
    close("dw", grads.get(&w).unwrap(), &want_dw);
}

/// The loss against that of the rung for registers, whose rows are the same f16 values.
#[test]
#[ignore = "minutes, most of them lavapipe's compiler: make test-classes runs it"]
fn losses() {
    let Some(gpu) = open(None) else { return };
    let plain = Gpu::builder().quiet().build().unwrap();
    let run = |gpu: &Gpu| {
        let z = gpu.tensor(&eighths(8, 150 * 12), [150, 12]).unwrap().requires_grad();
        let loss = Contrastive::new(0.5).positive_offset(75).exclude_offset(0).forward_self(&z).loss;
        let value = loss.item().unwrap();
        (value, loss.backward().get(&z).unwrap().to_vec().unwrap())
    };
    let ((loss, dz), (want, want_dz)) = (run(&gpu), run(&plain));
    assert_close("loss", &[loss], &f64s(&[want]), Tol::new(0.0, 1e-5));
    assert_close("dz", &dz, &f64s(&want_dz), Tol::new(2e-5, 2e-3));
}
