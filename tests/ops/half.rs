//! Tensors of f16: every op that takes them, against the same specification as in f32, from inputs that f16 holds exactly.
//!
//! Arithmetic is f32, so an op's value is off by one rounding to f16, 2^-11 of it (2^-10 where a driver truncates); a
//! gradient by that and the rounding of `dy`, times the terms of a sum. f16 has steps of 6e-8 near 0.

use half::f16;
use wgrad::ops::{BatchNormOptions, Conv2dOptions};
use wgrad::reference::{
    batch_norm, binary, conv2d, covariance, l2_normalize, layer_norm, matmul, pool2d, softmax, unary,
};
use wgrad::{DType, Gpu, Tensor};

use crate::common::*;
use crate::matmul::FORMS;

/// One rounding of the result.
const VALUE: Tol = Tol::new(1e-6, 1e-3);
/// Two roundings, of `dy` and of the result.
const GRAD: Tol = Tol::new(2e-6, 2e-3);
/// Sums of some ten to hundred rounded terms in [-1, 1).
const SUM: Tol = Tol::new(8e-3, 2e-3);

/// `data` rounded to f16.
fn half_data(seed: u32, n: usize) -> Vec<f32> {
    data(seed, n).iter().map(|&v| f16::from_f32(v).to_f32()).collect()
}

/// Says whether there is f16 to test; SwiftShader has none.
fn has_f16() -> bool {
    gpu().info().f16
}

fn halves(x: &[Tensor]) -> Vec<Tensor> {
    x.iter().map(|t| t.cast(DType::F16)).collect()
}

/// [`check_op`] of an op on f16 copies of `f32` leaves, whose gradients are `f32`.
#[track_caller]
fn check_half(
    name: &str,
    shapes: &[&[usize]],
    op: impl Fn(&[Tensor]) -> Tensor,
    forward: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    backward: impl Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<f64>>,
    value: Tol,
    grad: Tol,
) {
    if has_f16() {
        let inputs: Vec<_> = (1..)
            .zip(shapes)
            .map(|(seed, shape)| (half_data(seed, shape.iter().product()), shape.to_vec()))
            .collect();
        check_op(&format!("f16 {name}"), &inputs, |x| op(&halves(x)), forward, backward, value, grad);
    }
}

#[test]
fn casts_round_to_nearest_even_and_overflow_to_infinity() {
    if !has_f16() {
        return;
    }
    let x = [0.0, -0.0, 1.0, 65504.0, 1e6, -1e6, 6e-8, 1e-9, 1.0 + 2f32.powi(-11), f32::INFINITY];
    let half = gpu().tensor(&x, [x.len()]).unwrap().cast(DType::F16);
    assert_eq!((half.dtype(), half.bytes()), (DType::F16, 20));
    let (got, back) = (half.to_vec().unwrap(), half.cast(DType::F32).to_vec().unwrap());
    assert_eq!(got, back, "widened on the host and on the device");
    for (&x, &y) in x.iter().zip(&got) {
        // Vulkan lets a driver round either way.
        let near = f16::from_f32(x).to_f32();
        assert!(y == near || (y - x).abs() <= x.abs() * 2f32.powi(-10), "{x} became {y}, not {near}");
    }
    let counts = gpu().tensor_u32(&[0, 1, 2047, 7], [4]).unwrap().cast(DType::F16);
    assert_eq!(counts.to_vec().unwrap(), [0.0, 1.0, 2047.0, 7.0]);
    assert_eq!(counts.cast(DType::U32).to_vec_u32().unwrap(), [0, 1, 2047, 7]);
    assert_eq!(half.full_like(-1.5).to_vec().unwrap(), [-1.5; 10]);
}

#[test]
fn elementwise() {
    for n in [1, 2, 3, 5, 64, 257] {
        check_half(
            &format!("gelu {n}"),
            &[&[n]],
            |x| x[0].gelu(),
            |x| unary::gelu(&x[0]),
            |x, dy| vec![unary::gelu_backward(&x[0], dy)],
            VALUE,
            GRAD,
        );
        check_half(
            &format!("relu {n}"),
            &[&[n]],
            |x| x[0].relu(),
            |x| unary::relu(&x[0]),
            |x, dy| vec![unary::relu_backward(&x[0], dy)],
            VALUE,
            GRAD,
        );
    }
    // A tensor used twice: gradients of both types meet.
    check_half(
        "x + x^2",
        &[&[3, 7]],
        |x| x[0].add(&x[0].square()),
        |x| x[0].iter().map(|v| v + v * v).collect(),
        |x, dy| vec![x[0].iter().zip(dy).map(|(v, d)| (1.0 + 2.0 * v) * d).collect()],
        Tol::new(1e-3, 2e-3),
        Tol::new(2e-3, 2e-3),
    );
}

#[test]
fn arithmetic_with_broadcasting() {
    for (a, b) in [
        (&[5, 7][..], &[5, 7][..]),
        (&[5, 7], &[7]),
        (&[3, 1, 5], &[4, 1]),
        (&[1], &[33]),
        (&[6, 8], &[8]),
        (&[6, 8], &[6, 1]),
    ] {
        let shape = binary::broadcast(a, b);
        check_half(
            &format!("add {a:?} {b:?}"),
            &[a, b],
            |x| x[0].add(&x[1]),
            |x| binary::forward((&x[0], a), (&x[1], b), |a, b| a + b),
            |x, dy| {
                let (da, db) = binary::backward((&x[0], a), (&x[1], b), binary::op::add_backward, dy);
                vec![da, db]
            },
            VALUE,
            Tol::new(SUM.abs, GRAD.rel),
        );
        check_half(
            &format!("mul {a:?} {b:?} to {shape:?}"),
            &[a, b],
            |x| x[0].mul(&x[1]),
            |x| binary::forward((&x[0], a), (&x[1], b), |a, b| a * b),
            |x, dy| {
                let (da, db) = binary::backward((&x[0], a), (&x[1], b), binary::op::mul_backward, dy);
                vec![da, db]
            },
            VALUE,
            Tol::new(SUM.abs, GRAD.rel),
        );
    }
}

#[test]
fn sums_are_f32() {
    if !has_f16() {
        return;
    }
    // 3,000 ones and halves: more than f16 counts in whole steps.
    let x = gpu().full([3000, 7], 1.5).unwrap().cast(DType::F16);
    for (y, want) in [(x.sum(&[0]), 4500.0), (x.sum_all(), 31_500.0), (x.mean(&[1]), 1.5)] {
        assert_eq!(y.dtype(), DType::F32);
        assert!(y.to_vec().unwrap().iter().all(|&v| (v - want).abs() < 1e-3), "{want}");
    }
    let leaf = gpu().full([5, 3], 2.0).unwrap().requires_grad();
    let loss = leaf.cast(DType::F16).square().mean_all();
    let dx = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
    assert!(dx.iter().all(|&d| (d - 4.0 / 15.0).abs() < 4e-4), "{dx:?}");
}

#[test]
fn rows_and_transposes_keep_every_bit() {
    if !has_f16() {
        return;
    }
    for (rows, width) in [(1, 1), (5, 3), (4, 8), (7, 1), (6, 5)] {
        let x = half_data(1, rows * width);
        let t = gpu().tensor(&x, [rows, width]).unwrap().cast(DType::F16);
        let row = |i: usize| &x[i * width..][..width];
        for start in 0..rows {
            let part = t.slice_rows(start, rows - start);
            assert_eq!(part.to_vec().unwrap(), x[start * width..]);
            let again = Tensor::concat_rows(&[&t.slice_rows(0, start), &part]);
            assert_eq!(again.to_vec().unwrap(), x);
            let written = t.copy();
            written.write_rows(start, &t.slice_rows(0, 1));
            assert_eq!(written.slice_rows(start, 1).to_vec().unwrap(), row(0));
        }
        let picked = t.gather_rows(&gpu().tensor_u32(&[rows as u32 - 1, 0, 999], [3]).unwrap());
        let picked = picked.to_vec().unwrap();
        assert_eq!(&picked[..2 * width], [row(rows - 1), row(0)].concat());
        assert!(picked[2 * width..].iter().all(|v| v.is_nan()), "a row out of range: {picked:?}");
        assert_eq!(t.transpose().transpose().to_vec().unwrap(), x);
    }
    let leaf = gpu().tensor(&[1.0; 15], [5, 3]).unwrap().requires_grad();
    let half = leaf.cast(DType::F16);
    let picked = half.gather_rows(&gpu().tensor_u32(&[1, 1, 4], [3]).unwrap());
    let loss = picked.slice_rows(0, 2).sum_all() + half.slice_rows(4, 1).transpose().sum_all();
    let dx = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
    assert_eq!(dx, [[0.0; 3], [2.0; 3], [0.0; 3], [0.0; 3], [1.0; 3]].concat());
}

#[test]
fn pools() {
    for c in [5, 8] {
        pools_of(c);
    }
}

fn pools_of(c: usize) {
    let case = pool2d::Pool { n: 2, input: [7, 9], c, kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    let shape: &[usize] = &[2, 7, 9, c];
    check_half(
        "avg_pool2d",
        &[shape],
        |x| x[0].avg_pool2d(3, 2, 1),
        |x| pool2d::avg_pool2d(&x[0], &case),
        |_, dy| vec![pool2d::avg_pool2d_backward(dy, &case)],
        Tol::new(1e-5, 1e-3),
        Tol::new(2e-4, 2e-3),
    );
    let whole = pool2d::Pool { kernel: [7, 9], stride: [1, 1], padding: [0, 0], ..case };
    check_half(
        "global_avg_pool",
        &[shape],
        |x| {
            let y = x[0].global_avg_pool();
            assert_eq!(y.dtype(), DType::F32);
            y
        },
        |x| pool2d::avg_pool2d(&x[0], &whole),
        |_, dy| vec![pool2d::avg_pool2d_backward(dy, &whole)],
        F32,
        GRAD,
    );
    if has_f16() {
        let x: Vec<f32> = (0..126 * c).map(|i| (i * 389 % 1009) as f32).collect();
        let leaf = gpu().tensor(&x, shape).unwrap().requires_grad();
        let (y, half) = (leaf.max_pool2d(3, 2, 1), leaf.cast(DType::F16).max_pool2d(3, 2, 1));
        assert_eq!(y.to_vec().unwrap(), half.to_vec().unwrap());
        let [dx, half_dx] = [y, half].map(|y| y.sum_all().backward().get(&leaf).unwrap().to_vec().unwrap());
        assert_eq!(dx, half_dx);
    }
}

#[test]
fn normalisations() {
    for [m, c] in [[5, 3], [17, 7], [64, 64], [130, 27]] {
        let (affine, norm) = (half_data(8, c), Tol::new(4e-3, 2e-3));
        let gamma = gpu().tensor(&affine, [c]).unwrap();
        let (gamma64, zeros) = (f64s(&affine), vec![0.0; c]);
        let beta = gpu().zeros([c]).unwrap();
        check_half(
            &format!("batch_norm {m} x {c}"),
            &[&[m, c]],
            |x| x[0].batch_norm(BatchNormOptions::train().affine(&gamma, &beta)),
            |x| {
                let (mean, var) = batch_norm::moments(&x[0], c);
                batch_norm::forward(&x[0], &mean, &var, &gamma64, &zeros, 1e-5)
            },
            |x, dy| vec![batch_norm::backward(&x[0], &gamma64, 1e-5, dy).0],
            norm,
            norm,
        );
        check_half(
            &format!("layer_norm {m} x {c}"),
            &[&[m, c]],
            |x| x[0].layer_norm(&gamma, &beta),
            |x| layer_norm::forward(&x[0], &gamma64, &zeros, 1e-5),
            |x, dy| vec![layer_norm::backward(&x[0], &gamma64, 1e-5, dy).0],
            norm,
            norm,
        );
        check_half(
            &format!("l2_normalize {m} x {c}"),
            &[&[m, c]],
            |x| x[0].l2_normalize(),
            |x| l2_normalize::forward(&x[0], c, 1e-12),
            |x, dy| vec![l2_normalize::backward(&x[0], c, 1e-12, dy)],
            VALUE,
            norm,
        );
        check_half(
            &format!("softmax {m} x {c}"),
            &[&[m, c]],
            |x| x[0].softmax(None),
            |x| softmax::softmax(&x[0], c, 1.0),
            |x, dy| vec![softmax::softmax_backward(&x[0], c, 1.0, dy)],
            VALUE,
            norm,
        );
    }
    batch_norm_affine_gradients();
}

/// Gradients to gamma and beta are f32.
fn batch_norm_affine_gradients() {
    if !has_f16() {
        return;
    }
    let (m, c) = (40, 5);
    let x = half_data(1, m * c);
    let images = gpu().tensor(&x, [m, c]).unwrap().cast(DType::F16);
    let gamma = gpu().full([c], 1.0).unwrap().requires_grad();
    let beta = gpu().zeros([c]).unwrap().requires_grad();
    let y = images.batch_norm(BatchNormOptions::train().affine(&gamma, &beta));
    let grads = y.square().sum_all().backward();
    for leaf in [&gamma, &beta] {
        assert_eq!(grads.get(leaf).unwrap().dtype(), DType::F32);
    }
    // sum of 2 y xhat = 2 m, sum of 2 y = 0.
    let close = |leaf: &Tensor, want: f64| {
        let got = grads.get(leaf).unwrap().to_vec().unwrap();
        assert_close("batch_norm affine", &got, &vec![want; c], Tol::new(0.1, 2e-3));
    };
    close(&gamma, 2.0 * m as f64);
    close(&beta, 0.0);
}

#[test]
fn products() {
    for sizes in [[1, 1, 1], [7, 13, 27], [8, 8, 4], [65, 65, 17], [12, 20, 36], [9, 16, 600]] {
        let [m, n, k] = sizes;
        let (a, b): (&[usize], &[usize]) = (&[m, k], &[k, n]);
        let tol = Tol::new(2e-3 * (k as f64).sqrt(), 2e-3);
        let grad = Tol::new(2e-3 * (m.max(n) as f64).sqrt(), 2e-3);
        check_half(
            &format!("matmul {sizes:?}"),
            &[a, b],
            |x| {
                let y = x[0].matmul(&x[1]);
                assert_eq!(y.dtype(), DType::F16);
                y
            },
            |x| matmul::matmul(&x[0], &x[1], sizes),
            |x, dy| {
                let (da, db) = matmul::matmul_backward(&x[0], &x[1], dy, sizes);
                vec![da, db]
            },
            tol,
            grad,
        );
        check_half(
            &format!("matmul_nt {sizes:?}"),
            &[&[m, k], &[n, k]],
            |x| x[0].matmul_nt(&x[1]),
            |x| matmul::matmul_nt(&x[0], &x[1], sizes),
            |x, dy| {
                let (da, db) = matmul::matmul_nt_backward(&x[0], &x[1], dy, sizes);
                vec![da, db]
            },
            tol,
            grad,
        );
        check_half(
            &format!("matmul_tn {sizes:?}"),
            &[&[k, m], &[k, n]],
            |x| x[0].matmul_tn(&x[1]),
            |x| matmul::matmul_tn(&x[0], &x[1], sizes),
            |x, dy| {
                let (da, db) = matmul::matmul_tn_backward(&x[0], &x[1], dy, sizes);
                vec![da, db]
            },
            tol,
            grad,
        );
    }
}

/// Computed in f32 from the f16 rows, in f32 results: as accurate as of f32 rows. The gradient reaches the leaf through the
/// f16 copy, so it is rounded once.
#[test]
fn covariances() {
    for [n, d] in [[2, 1], [7, 5], [33, 31], [65, 64]] {
        let (value, grad) = (Tol::new(2e-6, 1e-5), Tol::new(1e-5, 1e-3));
        check_half(
            &format!("covariance {n} x {d}"),
            &[&[n, d]],
            |x| {
                let y = x[0].covariance();
                assert_eq!((x[0].dtype(), y.dtype()), (DType::F16, DType::F32));
                y
            },
            |x| covariance::forward(&x[0], d),
            |x, dy| vec![covariance::backward(&x[0], d, dy)],
            value,
            grad,
        );
        check_half(
            &format!("covariance_penalty {n} x {d}"),
            &[&[n, d]],
            |x| x[0].covariance_penalty(),
            |x| covariance::penalty(&x[0], d),
            |x, dy| vec![covariance::penalty_backward(&x[0], d, dy)],
            value,
            grad,
        );
        check_half(
            &format!("variance_hinge {n} x {d}"),
            &[&[n, d]],
            |x| x[0].variance_hinge(1.0, 1e-4),
            |x| covariance::hinge(&x[0], d, 1.0, f64::from(1e-4_f32)),
            |x, dy| vec![covariance::hinge_backward(&x[0], d, 1.0, f64::from(1e-4_f32), dy)],
            value,
            grad,
        );
    }
}

/// A device that takes the kernels of `family` from `file`, and notes what it launches where it can.
fn forced(family: &str, file: &str) -> Gpu {
    Gpu::builder().quiet().profile(true).kernel(family, file).build().unwrap()
}

/// `file` itself has run on f16: no other rung stood in for it.
#[track_caller]
fn assert_ran(gpu: &Gpu, family: &str, file: &str) {
    let names: Vec<String> = gpu.profile().into_iter().map(|row| row.kernel).collect();
    // What multiplies on matrix units has f16 operands, whatever the type of its result.
    let units = file.ends_with("_matrix");
    let ran =
        |name: &String| name.starts_with(&format!("{family}/{file}")) && (units || name.contains("f16"));
    assert!(!gpu.info().timestamps || names.iter().any(ran), "{family}/{file} f16 is not in {names:?}");
}

/// Every kernel file and form: values, the gradient of f16 activations, and that of weights that are used in f16, which is
/// written in f32 from f16 operands. Sizes about the tiles of 8 and 64, sums that are split.
#[test]
fn products_of_every_kernel_file() {
    if !has_f16() {
        return;
    }
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F16) {
        let gpu = forced("matmul", file);
        for form in &FORMS {
            for sizes in [[7, 13, 27], [64, 64, 16], [65, 68, 20], [63, 7, 33], [5, 9, 700]] {
                let ([a, b], [m, n, _]) = ((form.shapes)(sizes), sizes);
                let (x, w) = (half_data(1, a[0] * a[1]), half_data(2, b[0] * b[1]));
                let leaf = |data: &[f32], shape| gpu.tensor(data, shape).unwrap().requires_grad();
                let (images, weights) = (leaf(&x, a), leaf(&w, b));
                let y = (form.op)(&images.cast(DType::F16), &weights.cast(DType::F16));
                assert_eq!(y.dtype(), DType::F16);
                let (x, w) = (f64s(&x), f64s(&w));
                let what = format!("f16 {file} {} {sizes:?}", form.name);
                // One rounding of the value; sums of k products of f16 are f32.
                let value = Tol::new(1e-5, 1e-3);
                assert_close(&what, &y.to_vec().unwrap(), &(form.value)(&x, &w, sizes), value);
                let dy = half_data(3, m * n);
                let mask = gpu.tensor(&dy, y.shape()).unwrap().cast(DType::F16);
                let grads = y.mul(&mask).sum_all().backward();
                let (da, db) = (form.backward)(&x, &w, &f64s(&dy), sizes);
                let grad = |leaf: &Tensor| {
                    assert_eq!(grads.get(leaf).unwrap().dtype(), DType::F32);
                    grads.get(leaf).unwrap().to_vec().unwrap()
                };
                assert_close(&format!("{what}: da"), &grad(&images), &da, Tol::new(1e-5, 1e-3));
                assert_close(&format!("{what}: db"), &grad(&weights), &db, Tol::new(1e-5, 2e-5));
            }
        }
        assert_ran(&gpu, "matmul", file);
    }
}

/// Value and gradients of a product of f16 images with f32 weights, on a device that takes kernels from `file`.
fn check_conv(gpu: &Gpu, file: &str, case: &conv2d::Conv) {
    let conv2d::Conv { n, input: [h, w], cin, cout, kernel: [kh, kw], stride, padding } = *case;
    let (x, k) = (half_data(1, n * h * w * cin), half_data(2, kh * kw * cin * cout));
    let images = gpu.tensor(&x, [n, h, w, cin]).unwrap().requires_grad();
    let weights = gpu.tensor(&k, [kh, kw, cin, cout]).unwrap().requires_grad();
    let y = images.cast(DType::F16).conv2d(&weights, Conv2dOptions { stride, padding });
    assert_eq!(y.dtype(), DType::F16);
    let (x, k) = (f64s(&x), f64s(&k));
    let what = format!("f16 {file} {case:?}");
    assert_close(&format!("{what}: value"), &y.to_vec().unwrap(), &conv2d::conv2d(&x, &k, case), SUM);

    let dy = half_data(3, y.len());
    let mask = gpu.tensor(&dy, y.shape()).unwrap().cast(DType::F16);
    let grads = y.mul(&mask).sum_all().backward();
    let (dx, dw) = conv2d::conv2d_backward(&x, &k, &f64s(&dy), case);
    let grad = |leaf: &Tensor| grads.get(leaf).unwrap().to_vec().unwrap();
    assert_close(&format!("{what}: dx"), &grad(&images), &dx, SUM);
    // The gradient to the weights is written in f32: no rounding but that of the sum.
    assert_close(&format!("{what}: dw"), &grad(&weights), &dw, Tol::new(1e-4, 2e-5));
}

#[test]
fn convolutions_of_every_kernel_file() {
    if !has_f16() {
        return;
    }
    let base = conv2d::Conv {
        n: 2,
        input: [8, 9],
        cin: 3,
        cout: 6,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
    };
    let cases = [
        base,
        conv2d::Conv { cin: 4, cout: 12, input: [11, 6], ..base },
        conv2d::Conv { cin: 8, cout: 4, input: [13, 12], stride: [2, 2], ..base },
        conv2d::Conv { cin: 5, cout: 9, kernel: [1, 1], padding: [0, 0], ..base },
        conv2d::Conv { n: 3, input: [21, 20], cin: 4, cout: 8, ..base },
    ];
    for file in wgrad::ops::rungs("conv", gpu(), DType::F16) {
        let gpu = forced("conv", file);
        for case in &cases {
            check_conv(&gpu, file, case);
        }
        assert_ran(&gpu, "conv", file);
    }
}

#[test]
fn profiles_name_the_variant() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    if !gpu.info().f16 || !gpu.info().timestamps {
        return;
    }
    let x = gpu.full([100], 1.0).unwrap();
    let _ = (x.relu(), x.cast(DType::F16).relu().sum_all().to_vec().unwrap());
    let names: Vec<String> = gpu.profile().into_iter().map(|row| row.kernel).collect();
    for want in ["unary/relu_forward", "unary/relu_forward f16", "reduce/sum f16 to f32"] {
        assert!(names.iter().any(|name| name == want), "{want} in {names:?}");
    }
}

#[test]
#[should_panic(expected = "softmax_cross_entropy: f32 tensors only")]
fn losses_refuse_f16() {
    let x = if has_f16() {
        gpu().zeros([2, 3]).unwrap().cast(DType::F16)
    } else {
        panic!("softmax_cross_entropy: f32 tensors only")
    };
    let _ = x.softmax_cross_entropy(&gpu().zeros_u32([2]).unwrap(), 1.0);
}

#[test]
fn a_mixed_launch_is_refused() {
    if !has_f16() {
        return;
    }
    let kernel = wgrad::Kernel::new(
        "// y = x\n// lib: grid elem\n@group(0) @binding(1) var<storage, read_write> y: array<Elem>;\n\
         @group(0) @binding(2) var<storage, read> x: array<Elem>;\n@compute @workgroup_size(1) fn main() { y[0] = x[0]; }",
        "main",
    )
    .unwrap();
    let (single, half) = (gpu().full([1], 2.0).unwrap(), gpu().full([1], 3.0).unwrap().cast(DType::F16));
    let y = half.full_like(0.0);
    gpu().launch(&kernel, &[&y, &half], &(), wgrad::gpu::Grid::Groups(1)).unwrap();
    assert_eq!(y.to_vec().unwrap(), [3.0]);
    let error = gpu().launch(&kernel, &[&y, &single], &(), wgrad::gpu::Grid::Groups(1)).unwrap_err();
    assert!(error.to_string().contains("binding 2 was given 4-byte elements"), "{error}");
}
