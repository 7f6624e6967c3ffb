//! Tensors of f16 beyond the table of cases: casts, sums in f32, rows bit for bit, and every kernel file.
//!
//! Arithmetic is f32, so an op's value is off by one rounding to f16, 2^-11 of it (2^-10 where a driver truncates).

use half::f16;
use wgrad::{DType, Gpu, Tensor};

use crate::cases::{Sizes, laddered};
use crate::common::check::to_half;
use crate::common::*;

/// Says whether there is f16 to test; SwiftShader has none.
fn has_f16() -> bool {
    gpu().info().f16
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
        let x = to_half(&data(1, rows * width));
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

/// Every kernel file of a family that takes f16, on the cases of the table.
fn every_kernel_file(family: &str) {
    if !has_f16() {
        return;
    }
    for file in wgrad::ops::rungs(family, gpu(), DType::F16) {
        let gpu = forced(family, file);
        for op in laddered(family, file, &Sizes::of(&gpu)) {
            op.check_rung(&gpu, DType::F16).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        }
        assert_ran(&gpu, family, file);
    }
}

#[test]
fn products_of_every_kernel_file() {
    every_kernel_file("matmul");
}

#[test]
fn convolutions_of_every_kernel_file() {
    every_kernel_file("conv");
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
