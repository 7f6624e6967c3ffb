//! Products on matrix units: wherever the adapter has them; elsewhere, that they are refused with a reason.

use crate::cases::products::{FORMS, Form, SIZES, TILES};
use crate::common::*;
use wgrad::gpu::Grid;
use wgrad::reference::{matmul as reference, split};
use wgrad::{DType, Gpu, Kernel, Tensor, uniforms};

/// Values that f16 holds exactly: multiples of 1/256 in [-1, 1).
pub(crate) fn half_data(seed: u32, n: usize) -> Vec<f32> {
    data(seed, n).iter().map(|x| (x * 256.0).floor() / 256.0).collect()
}

fn forced(family: &str, file: &str) -> Gpu {
    Gpu::builder().quiet().kernel(family, file).build().unwrap()
}

/// A device with `file` forced; `None`, after a check of the message that `op` leaves, where the adapter has no matrix units.
pub(crate) fn with_matrix_units(family: &str, file: &str, op: fn(&Gpu) -> Tensor) -> Option<Gpu> {
    let gpu = forced(family, file);
    if !gpu.info().matrix_tiles.is_empty() {
        return Some(gpu);
    }
    let error = op(&gpu).to_vec().unwrap_err().to_string();
    let parts = [&format!("{family}/{file}"), "needs matrix units", &gpu.info().name];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    None
}

fn matmul_on_matrix_units(file: &str) -> Option<Gpu> {
    with_matrix_units("matmul", file, |gpu| {
        let x = gpu.tensor(&[1.0; 16], [4, 4]).unwrap();
        x.matmul(&x)
    })
}

/// A and B of `batch` products, the op's result and that of the specification.
fn product(
    gpu: &Gpu,
    form: &Form,
    batch: usize,
    sizes: [usize; 3],
    x: &[f32],
    y: &[f32],
) -> (Vec<f32>, Vec<f64>) {
    let [a, b] = (form.shapes)(sizes);
    let tensor = |data: &[f32], shape: [usize; 2]| gpu.tensor(data, [batch, shape[0], shape[1]]).unwrap();
    let c = (form.op)(&tensor(x, a), &tensor(y, b)).to_vec().unwrap();
    let (x, y) = (f64s(x), f64s(y));
    let batches = x.chunks(a[0] * a[1]).zip(y.chunks(b[0] * b[1]));
    (c, batches.flat_map(|(x, y)| (form.value)(x, y, sizes)).collect())
}

/// Workgroups made for subgroups of half the size that the device takes, two of which make the quarters of a block in two rounds,
/// and of twice the size, where eight subgroups repeat them: the bits of four.
#[test]
fn subgroups_of_another_size() {
    let Some(own) = matmul_on_matrix_units("11_matrix") else { return };
    let (size, tile) = (own.tested().matrix_subgroup, own.info().matrix_tiles[0]);
    for file in ["11_matrix", "12_split_f32"] {
        let run = |n: u32| {
            let gpu = Gpu::builder().quiet().kernel("matmul", file).matrix_subgroup(n).build().unwrap();
            let products = FORMS.iter().map(|form| {
                let sizes = [130, 37, 70];
                let [a, b] = (form.shapes)(sizes);
                let (x, y) = (half_data(21, a[0] * a[1]), half_data(22, b[0] * b[1]));
                product(&gpu, form, 1, sizes, &x, &y).0
            });
            products.collect::<Vec<_>>()
        };
        let want = run(size);
        for n in [size / 2, 2 * size] {
            if n >= tile / 2 && 4 * n <= own.info().max_workgroup_size {
                assert!(run(n) == want, "{file}: workgroups for subgroups of {n}, not {size}");
            }
        }
    }
}

#[test]
fn f16_operands_f32_sums() {
    let Some(gpu) = matmul_on_matrix_units("11_matrix") else { return };
    for form in &FORMS {
        for sizes in SIZES.into_iter().chain(TILES) {
            for batch in [1, 3] {
                let [a, b] = (form.shapes)(sizes);
                let (x, y) = (half_data(1, batch * a[0] * a[1]), half_data(2, batch * b[0] * b[1]));
                let (c, want) = product(&gpu, form, batch, sizes, &x, &y);
                assert_close(
                    &format!("{} 11_matrix {batch} x {sizes:?}", form.name),
                    &c,
                    &want,
                    Tol::new(2e-5, 2e-5),
                );
            }
        }
    }
}

/// Tensors that are f16 already: used as they are where the last axis is a multiple of 4, padded where it is not. Sums
/// that are split are added up in f32 and rounded once.
#[test]
fn f16_tensors() {
    let Some(gpu) = matmul_on_matrix_units("11_matrix") else { return };
    for form in &FORMS {
        for sizes in [[64, 64, 64], [33, 31, 30], [9, 5, 1030], [16, 16, 2048]] {
            let [a, b] = (form.shapes)(sizes);
            let (x, y) = (half_data(1, a[0] * a[1]), half_data(2, b[0] * b[1]));
            let half = |data: &[f32], shape: [usize; 2]| gpu.tensor(data, shape).unwrap().cast(DType::F16);
            let c = (form.op)(&half(&x, a), &half(&y, b));
            assert_eq!(c.dtype(), DType::F16);
            let want = (form.value)(&f64s(&x), &f64s(&y), sizes);
            assert_close(
                &format!("{} {sizes:?}", form.name),
                &c.to_vec().unwrap(),
                &want,
                Tol::new(2e-5, 1e-3),
            );
        }
    }
}

/// `n` values of N(0, 1).
fn normal(seed: u32, n: usize) -> Vec<f32> {
    let (u, v) = (data(seed, n), data(seed + 1, n));
    let pairs = u.iter().zip(&v).map(|(u, v)| (f64::from(1.0 - u) / 2.0, f64::from(*v)));
    pairs.map(|(u, v)| ((-2.0 * u.ln()).sqrt() * (std::f64::consts::PI * v).cos()) as f32).collect()
}

/// Largest `|C - C64| / (|A||B|)`.
fn error(c: &[f32], a: &[f32], b: &[f32], sizes: [usize; 3]) -> f64 {
    let (a, b) = (f64s(a), f64s(b));
    let abs = |x: &[f64]| x.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let (exact, size) = (reference::matmul(&a, &b, sizes), reference::matmul(&abs(&a), &abs(&b), sizes));
    let errors =
        c.iter().zip(&exact).zip(&size).map(|((c, exact), size)| (f64::from(*c) - exact).abs() / size);
    errors.fold(0.0, |most, e| if e <= most { most } else { e })
}

/// A B in f32, one product after another: what `1_naive` does.
fn in_f32(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let element = |i: usize, j: usize| (0..k).fold(0.0, |sum, l| sum + a[i * k + l] * b[l * n + j]);
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

/// Two to the power of a whole number in [-most, most], drawn for `at`.
fn power(seed: u32, at: usize, most: f32) -> f32 {
    (data(seed + at as u32, 1)[0] * (most + 0.99)).trunc().exp2()
}

const SPLIT_SIZES: [usize; 3] = [40, 36, 300];

/// N(0, 1) data, and the same with rows of A and columns of B scaled by 2^-40 to 2^40.
fn plain_and_scaled() -> [(&'static str, Vec<f32>, Vec<f32>); 2] {
    let [m, n, k] = SPLIT_SIZES;
    let (a, b) = (normal(1, m * k), normal(3, k * n));
    let scaled_a = a.iter().enumerate().map(|(at, x)| x * power(100, at / k, 40.0)).collect();
    let scaled_b = b.iter().enumerate().map(|(at, x)| x * power(500, at % n, 40.0)).collect();
    [("N(0, 1)", a, b), ("rows and columns scaled", scaled_a, scaled_b)]
}

#[test]
fn f16_rounding_of_the_specification() {
    for (x, want) in [
        (0.0, 0.0),
        (1.0 + 1.0 / 2048.0, 1.0 + 1.0 / 1024.0), // a tie goes up
        (1.0 + 3.0 / 2048.0, 1.0 + 1.0 / 512.0),
        (65_519.0, 65_504.0),
        (-65_519.0, -65_504.0),
        (1.5 * 2.0_f32.powi(-24), 2.0_f32.powi(-23)), // denormal
        (2.0_f32.powi(-25), 0.0),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ] {
        assert_eq!(split::round_f16(x), want, "{x}");
    }
}

#[test]
fn parts_make_up_the_value() {
    for x in normal(7, 1000) {
        let x = x * power(9, 0, 100.0);
        let e = split::exponent([x]);
        let (hi, lo) = split::split(x, e);
        assert!((1u32 << 14..=1 << 15).contains(&(hi.abs() as u32)), "{x}: {hi}");
        let back = (f64::from(hi) + f64::from(lo) / 2048.0) * f64::from(e).exp2();
        assert!((back - f64::from(x)).abs() <= f64::from(x).abs() * 2.0_f64.powi(-23), "{x}: {back}");
    }
    assert_eq!(split::split(0.0, split::exponent([0.0])), (0.0, 0.0));
}

#[test]
fn the_specification_is_as_accurate_as_f32() {
    for (name, a, b) in plain_and_scaled() {
        for tile in [8, 16] {
            let got = error(&split::matmul(&a, &b, SPLIT_SIZES, tile), &a, &b, SPLIT_SIZES);
            let f32s = error(&in_f32(&a, &b, SPLIT_SIZES), &a, &b, SPLIT_SIZES);
            assert!(got <= 2.0 * f32s, "{name}, tiles of {tile}: {got:e}, f32 {f32s:e}");
        }
    }
}

/// A falls by 2^spread along k and B rises by as much, so that small elements of the one meet large ones of the other.
#[test]
fn error_of_the_specification_by_spread_within_a_row() {
    let [m, n, k] = SPLIT_SIZES;
    for (spread, bound) in
        [(12, 1e-6), (20, 1e-6), (28, 2.0_f64.powi(-21)), (34, 2.0_f64.powi(-16)), (40, 2.0_f64.powi(-10))]
    {
        let along = |l: usize| (spread as f32 * l as f32 / k as f32).round().exp2();
        let a: Vec<f32> = normal(1, m * k).iter().enumerate().map(|(at, x)| x / along(at % k)).collect();
        let b: Vec<f32> = normal(3, k * n).iter().enumerate().map(|(at, x)| x * along(at / n)).collect();
        let got = error(&split::matmul(&a, &b, SPLIT_SIZES, 16), &a, &b, SPLIT_SIZES);
        let f32s = error(&in_f32(&a, &b, SPLIT_SIZES), &a, &b, SPLIT_SIZES);
        assert!(got <= bound, "spread 2^{spread}: {got:e}, f32 {f32s:e}");
    }
}

uniforms! {
    struct Scales { count: u32, rows: u32, k: u32, step: u32, k_step: u32, lanes: u32 }
}
uniforms! {
    struct Split { count: u32, columns: u32, k: u32, along_k: u32 }
}

/// The kernels that prepare operands need f16 arithmetic, but no matrix units.
#[test]
fn parts_are_those_of_the_specification() {
    let gpu = gpu();
    if !gpu.info().f16 {
        return;
    }
    let wgsl = include_str!("../../shaders/matmul/split.wgsl");
    let (scales, split_kernel) = (Kernel::new(wgsl, "scales").unwrap(), Kernel::new(wgsl, "split").unwrap());
    // Two matrices of `rows` rows, k along their rows or down their columns.
    for (rows, k) in [(1, 1), (3, 27), (9, 130), (70, 8)] {
        for along_k in [true, false] {
            let place = |r: usize, l: usize| {
                if along_k { r * k + l } else { r / rows * rows * k + l * rows + r % rows }
            };
            let mut x = vec![0.0; 2 * rows * k];
            for (at, v) in normal(5, 2 * rows * k).into_iter().enumerate() {
                x[place(at / k, at % k)] = v * power(300, at / k, 60.0);
            }
            let [count, rows32, k32] = [2 * rows, rows, k].map(|n| n as u32);
            let (step, k_step, lanes) = if along_k { (k32, 1, 64) } else { (1, rows32, 8) };
            let shape = if along_k { [2 * rows, k] } else { [2 * k, rows] };
            let padded = shape[1].next_multiple_of(8);
            let tensor = gpu.tensor(&x, shape).unwrap();
            let e = gpu.tensor_u32(&vec![0; 2 * rows], [2 * rows]).unwrap();
            let y = gpu.zeros([2, shape[0], padded]).unwrap().cast(DType::F16);
            let p = Scales { count, rows: rows32, k: k32, step, k_step, lanes };
            gpu.launch(&scales, &[&e, &tensor], &p, Grid::groups(u64::from(count.div_ceil(64 / lanes))))
                .unwrap();
            let p = Split {
                count: shape[0] as u32,
                columns: shape[1] as u32,
                k: k32,
                along_k: u32::from(along_k),
            };
            gpu.launch(&split_kernel, &[&y, &tensor, &e], &p, Grid::items(shape[0] * padded / 4)).unwrap();

            let (e, y) = (e.to_vec_u32().unwrap(), y.to_vec().unwrap());
            for r in 0..2 * rows {
                let want = split::exponent((0..k).map(|l| x[place(r, l)]));
                assert_eq!(e[r] as i32, want, "row {r} of {rows} x {k}");
                for l in 0..k {
                    let at = place(r, l);
                    let to = at / shape[1] * padded + at % shape[1];
                    let got = (y[to], y[shape[0] * padded + to]);
                    assert_eq!(
                        got,
                        split::split(x[at], want),
                        "row {r}, {l} of {rows} x {k}, along k: {along_k}"
                    );
                }
            }
        }
    }
}

#[test]
fn split_f32_is_as_accurate_as_f32() {
    let Some(gpu) = matmul_on_matrix_units("12_split_f32") else { return };
    let naive = forced("matmul", "1_naive");
    let [m, n, k] = SPLIT_SIZES;
    for (name, a, b) in plain_and_scaled() {
        let run = |gpu: &Gpu| {
            let (a, b) = (gpu.tensor(&a, [m, k]).unwrap(), gpu.tensor(&b, [k, n]).unwrap());
            error(&a.matmul(&b).to_vec().unwrap(), &a.to_vec().unwrap(), &b.to_vec().unwrap(), SPLIT_SIZES)
        };
        let (got, f32s) = (run(&gpu), run(&naive));
        assert!(got <= 2.0 * f32s, "{name}: {got:e}, f32 {f32s:e}");
    }
}

/// It takes no f16 operands: those go to another rung, with the right result.
#[test]
fn split_f32_leaves_f16_operands_to_the_other_rungs() {
    let Some(gpu) = matmul_on_matrix_units("12_split_f32") else { return };
    let [m, n, k] = [33, 31, 30];
    let (x, y) = (half_data(1, m * k), half_data(2, k * n));
    let half = |data: &[f32], shape: [usize; 2]| gpu.tensor(data, shape).unwrap().cast(DType::F16);
    let c = half(&x, [m, k]).matmul(&half(&y, [k, n]));
    let want = reference::matmul(&f64s(&x), &f64s(&y), [m, n, k]);
    assert_close("f16 with 12_split_f32 named", &c.to_vec().unwrap(), &want, Tol::new(2e-5, 1e-3));
}

#[test]
fn split_f32_of_every_form() {
    let Some(gpu) = matmul_on_matrix_units("12_split_f32") else { return };
    for form in &FORMS {
        for sizes in SIZES.into_iter().chain(TILES) {
            for batch in [1, 3] {
                let [a, b] = (form.shapes)(sizes);
                let (x, y) = (data(1, batch * a[0] * a[1]), data(2, batch * b[0] * b[1]));
                let (c, want) = product(&gpu, form, batch, sizes, &x, &y);
                assert_close(
                    &format!("{} 12_split_f32 {batch} x {sizes:?}", form.name),
                    &c,
                    &want,
                    Tol::new(2e-5, 2e-5),
                );
            }
        }
    }
}
