//! Matrix products: every form, every kernel file, ragged shapes.

use crate::common::*;
use wgrad::reference::matmul as reference;
use wgrad::{DType, Gpu, Tensor};

/// A sum of k products of values in [-1, 1): rounding grows with k, here at most a few hundred.
const SUM: Tol = Tol::new(2e-5, 2e-5);

pub(crate) type Product = fn(&[f64], &[f64], [usize; 3]) -> Vec<f64>;
pub(crate) type ProductBackward = fn(&[f64], &[f64], &[f64], [usize; 3]) -> (Vec<f64>, Vec<f64>);

/// A form of the product: name, op, specification, and the shapes of A and B for sizes m, n, k.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    pub(crate) op: fn(&Tensor, &Tensor) -> Tensor,
    pub(crate) value: Product,
    pub(crate) backward: ProductBackward,
    pub(crate) shapes: fn([usize; 3]) -> [[usize; 2]; 2],
}

pub(crate) const FORMS: [Form; 3] = [
    Form {
        name: "matmul",
        op: Tensor::matmul,
        value: reference::matmul,
        backward: reference::matmul_backward,
        shapes: |[m, n, k]| [[m, k], [k, n]],
    },
    Form {
        name: "matmul_nt",
        op: Tensor::matmul_nt,
        value: reference::matmul_nt,
        backward: reference::matmul_nt_backward,
        shapes: |[m, n, k]| [[m, k], [n, k]],
    },
    Form {
        name: "matmul_tn",
        op: Tensor::matmul_tn,
        value: reference::matmul_tn,
        backward: reference::matmul_tn_backward,
        shapes: |[m, n, k]| [[k, m], [k, n]],
    },
];

/// (m, n, k): ones, primes, K = 27, tile - 1, tile, tile + 1 of all kernels, multiples of 4 that are no tile.
pub(crate) const SIZES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [2, 3, 5],
    [7, 13, 27],
    [8, 8, 4],
    [9, 63, 16],
    [64, 64, 16],
    [65, 65, 17],
    [12, 20, 36],
    [68, 100, 12],
    [63, 7, 130],
];

#[test]
fn gradients_of_every_form() {
    for form in &FORMS {
        for sizes in SIZES {
            let [a, b] = (form.shapes)(sizes);
            check_op(
                &format!("{} {sizes:?}", form.name),
                &[(data(1, a[0] * a[1]), a.to_vec()), (data(2, b[0] * b[1]), b.to_vec())],
                |x| (form.op)(&x[0], &x[1]),
                |x| (form.value)(&x[0], &x[1], sizes),
                |x, dy| {
                    let (da, db) = (form.backward)(&x[0], &x[1], dy, sizes);
                    vec![da, db]
                },
                SUM,
                SUM,
            );
        }
    }
}

#[test]
fn every_kernel_file() {
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for form in &FORMS {
            for sizes in SIZES {
                value_check(&gpu, file, form, 1, sizes);
            }
            // Split sums; batches.
            for (batch, sizes) in
                [(1, [5, 9, 700]), (2, [8, 16, 512]), (3, [2, 3, 5]), (3, [65, 67, 17]), (2, [8, 12, 20])]
            {
                value_check(&gpu, file, form, batch, sizes);
            }
        }
    }
}

/// Products that the tiled kernels cut into blocks of 128 and 64, whole and with edges; all others above get blocks of 32.
#[test]
fn every_block_size() {
    for file in ["7_double_buffer", "8_subgroup"] {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for form in &FORMS {
            for (batch, sizes) in [
                (64, [128, 256, 4]),
                (43, [128, 380, 20]),
                (43, [381, 127, 17]),
                (128, [64, 64, 20]),
                (43, [61, 191, 18]),
            ] {
                value_check(&gpu, file, form, batch, sizes);
            }
        }
    }
}

/// f16 operands and result, of sums in f32. The operands are multiples of 1/8, so only the result is rounded.
#[test]
fn every_kernel_file_in_f16() {
    if !gpu().info().f16 {
        return;
    }
    let eighths = |seed, n| data(seed, n).iter().map(|v| (8.0 * v).round() / 8.0).collect::<Vec<f32>>();
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F16) {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for sizes in [[7, 13, 27], [12, 20, 36], [5, 9, 700]] {
            let [m, n, k] = sizes;
            let (x, w, b) = (eighths(1, m * k), eighths(2, k * n), eighths(3, n));
            let half = |v: &[f32], shape: [usize; 2]| gpu.tensor(v, shape).unwrap().cast(DType::F16);
            let bias = gpu.tensor(&b, [n]).unwrap();
            let y = half(&x, [m, k]).linear(&half(&w, [k, n]), Some(&bias), true);
            assert_eq!(y.dtype(), DType::F16);
            let want = reference::linear(&f64s(&x), &f64s(&w), &f64s(&b), true, sizes);
            assert_close(&format!("{file} {sizes:?} f16"), &y.to_vec().unwrap(), &want, Tol::new(1e-6, 6e-4));
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

/// With and without bias and ReLU, in the kernel's store, after a split sum, and in a pass of its own.
#[test]
fn linear_on_every_kernel_file() {
    for file in wgrad::ops::rungs("matmul", gpu(), DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("matmul", file).build().unwrap();
        for sizes in [[7, 13, 27], [12, 20, 36], [5, 9, 700], [8, 16, 512]] {
            let [m, n, k] = sizes;
            let (x, w, b) = (data(1, m * k), data(2, k * n), data(3, n));
            let [tx, tw, tb] =
                [(&x, [m, k]), (&w, [k, n]), (&b, [1, n])].map(|(v, s)| gpu.tensor(v, s).unwrap());
            let tb = tb.reshape([n]);
            for (bias, relu) in [(true, false), (true, true), (false, true)] {
                let y = tx.linear(&tw, bias.then_some(&tb), relu);
                let b = if bias { f64s(&b) } else { vec![0.0; n] };
                let want = reference::linear(&f64s(&x), &f64s(&w), &b, relu, sizes);
                let what = format!("linear {file} {sizes:?} bias {bias} relu {relu}");
                assert_close(&what, &y.to_vec().unwrap(), &want, SUM);
            }
        }
    }
}

#[test]
fn gradients_of_linear() {
    for (sizes, relu) in
        [([1, 1, 1], false), ([7, 13, 27], true), ([12, 20, 36], true), ([33, 10, 17], false)]
    {
        let [m, n, k] = sizes;
        check_op(
            &format!("linear {sizes:?} relu {relu}"),
            &[(data(1, m * k), vec![m, k]), (data(2, k * n), vec![k, n]), (data(3, n), vec![n])],
            |x| x[0].linear(&x[1], Some(&x[2]), relu),
            |x| reference::linear(&x[0], &x[1], &x[2], relu, sizes),
            |x, dy| {
                let (dx, dw, db) = reference::linear_backward(&x[0], &x[1], &x[2], dy, relu, sizes);
                vec![dx, dw, db]
            },
            SUM,
            SUM,
        );
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

fn value_check(gpu: &Gpu, file: &str, form: &Form, batch: usize, sizes: [usize; 3]) {
    let [a, b] = (form.shapes)(sizes);
    let (x, y) = (data(3, batch * a[0] * a[1]), data(4, batch * b[0] * b[1]));
    let c = (form.op)(
        &gpu.tensor(&x, [batch, a[0], a[1]]).unwrap(),
        &gpu.tensor(&y, [batch, b[0], b[1]]).unwrap(),
    );
    assert_eq!(**c.shape(), [batch, sizes[0], sizes[1]]);
    let (x, y) = (f64s(&x), f64s(&y));
    let want: Vec<f64> = x
        .chunks(a[0] * a[1])
        .zip(y.chunks(b[0] * b[1]))
        .flat_map(|(x, y)| (form.value)(x, y, sizes))
        .collect();
    assert_close(&format!("{} {file} {batch} x {sizes:?}", form.name), &c.to_vec().unwrap(), &want, SUM);
}

#[test]
fn batched_gradients() {
    let sizes = [3, 6, 5];
    check_op(
        "batched matmul",
        &[(data(1, 2 * 15), vec![2, 3, 5]), (data(2, 2 * 30), vec![2, 5, 6])],
        |x| x[0].matmul(&x[1]),
        |x| {
            (0..2)
                .flat_map(|s| reference::matmul(&x[0][15 * s..][..15], &x[1][30 * s..][..30], sizes))
                .collect()
        },
        |x, dy| {
            let mut out = vec![vec![], vec![]];
            for s in 0..2 {
                let (a, b) = (&x[0][15 * s..][..15], &x[1][30 * s..][..30]);
                let (da, db) = reference::matmul_backward(a, b, &dy[18 * s..][..18], sizes);
                out[0].extend(da);
                out[1].extend(db);
            }
            out
        },
        SUM,
        SUM,
    );
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
