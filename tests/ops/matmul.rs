//! Matrix products: every form, every kernel file, ragged shapes.

use crate::cases::{Sizes, laddered};
use crate::common::*;
use wgrad::{DType, Gpu};

#[test]
fn every_kernel_file() {
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for op in laddered("matmul", file, &Sizes::of(&gpu)) {
            op.check_rung(&gpu, DType::F32).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        }
    }
}

/// lavapipe ends an invocation's loops after 65,535 iterations.
#[test]
fn long_sums_are_whole() {
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for n in [3, 4] {
            let ones = gpu.full([n, 66_000], 1.0).unwrap();
            let sums = ones.matmul_nt(&ones).to_vec().unwrap();
            assert!(sums.iter().all(|&sum| sum == 66_000.0), "{file}, {n}: {sums:?}");
        }
    }
}

/// Nothing to sum leaves the bias.
#[test]
fn linear_of_nothing() {
    let bias = gpu().tensor(&[1.0, -2.0], [2]).unwrap();
    let [x, w] = [[3, 0], [0, 2]].map(|shape| gpu().zeros(shape).unwrap());
    assert_eq!(x.linear(&w, Some(&bias), true).to_vec().unwrap(), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
#[should_panic(expected = "linear: shapes")]
fn linear_misfit_names_op_and_shapes() {
    let x = gpu().zeros([2, 2]).unwrap();
    let _ = x.linear(&x, Some(&gpu().zeros([3]).unwrap()), false);
}

#[test]
fn more_than_65535_groups() {
    // Outer products, so every element has one right value: 64 elements a group, or a group a batch. Folding an odd
    // number of groups adds one that must do nothing.
    for (file, batch, m, n) in [("2_coalesced", 1, 70_000, 61), ("9_register", 65_537, 2, 4)] {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        let (a, b) = (data(5, batch * m), data(6, batch * n));
        let c = gpu.tensor(&a, [batch, m, 1]).unwrap().matmul(&gpu.tensor(&b, [batch, 1, n]).unwrap());
        let c = c.to_vec().unwrap();
        let want = |at: usize| a[at / n] * b[at / n / m * n + at % n];
        let wrong = (0..batch * m * n).find(|&at| c[at] != want(at));
        assert_eq!(wrong, None, "{file}");
    }
}

#[test]
fn the_same_bits_every_time() {
    let (a, b) =
        (gpu().tensor(&data(1, 4000), [1000, 4]).unwrap(), gpu().tensor(&data(2, 8000), [1000, 8]).unwrap());
    assert_eq!(a.matmul_tn(&b).to_vec().unwrap(), a.matmul_tn(&b).to_vec().unwrap());
}

#[test]
fn nothing_to_sum_and_nothing_to_write() {
    let empty = gpu().zeros([3, 0]).unwrap();
    assert_eq!(empty.matmul(&gpu().zeros([0, 2]).unwrap()).to_vec().unwrap(), [0.0; 6]);
    assert!(gpu().zeros([0, 3]).unwrap().matmul(&gpu().zeros([3, 2]).unwrap()).is_empty());
}

#[test]
#[should_panic(expected = "matmul: shapes [2, 3] and [2, 3] do not fit")]
fn misfit_names_op_and_shapes() {
    let x = gpu().zeros([2, 3]).unwrap();
    let _ = x.matmul(&x);
}
