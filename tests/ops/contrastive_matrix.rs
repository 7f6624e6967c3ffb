//! The contrastive loss on matrix units, wherever the adapter has them.

use crate::common::*;
use crate::contrastive::{assert_losses, unit_rows};
use crate::matmul_matrix::with_matrix_units;
use wgrad::gpu::Class;
use wgrad::ops::Contrastive;
use wgrad::reference::contrastive::{Spec, contrastive, contrastive_backward};
use wgrad::{DType, Gpu};

fn on_matrix_units() -> Option<Gpu> {
    with_matrix_units("contrastive", "5_matrix", |gpu| {
        let z = gpu.full([4, 4], 0.5).unwrap();
        Contrastive::new(0.1).forward(&z, &z).loss
    })
}

/// Rows of about length 1 that f16 holds exactly: logits are then as accurate as in f32.
fn half_rows(seed: u32, n: usize, d: usize) -> Vec<f32> {
    unit_rows(seed, n, d).iter().map(|x| (x * 1024.0).round() / 1024.0).collect()
}

/// `||g - g64|| <= 2e-3 ||g64||`: weights are rounded to f16, 2^-11 of themselves.
#[track_caller]
fn assert_gradient(what: &str, got: &[f32], want: &[f64]) {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let off = norm(&mut got.iter().zip(want).map(|(&g, w)| f64::from(g) - w));
    let size = norm(&mut want.iter().copied());
    assert!(off <= 2e-3 * size, "{what}: off by {off:e} of {size:e}");
}

#[test]
fn loss_and_gradients() {
    let Some(gpu) = on_matrix_units() else { return };
    let tau = 0.1;
    // One row; less and more than a block of 64 or 128; ragged widths; chunks and slabs cut into dispatches.
    for (n, m, d) in [(1, 1, 3), (64, 64, 8), (65, 130, 27), (130, 257, 20), (300, 70, 64), (9, 1500, 130)] {
        for (excludes, extra) in [(false, false), (true, false), (true, true)] {
            let what = format!("{n} x {m}, {d} wide, excludes {excludes}, extra {extra}");
            let (q, k, e) = (half_rows(1, n, d), half_rows(2, m, d), half_rows(3, n, d));
            let leaf = |x: &[f32], rows: usize| gpu.tensor(x, [rows, d]).unwrap().requires_grad();
            let (tq, tk, te) = (leaf(&q, n), leaf(&k, m), leaf(&e, n));
            let excludes = excludes && m > 1;
            let mut op = Contrastive::new(tau);
            op = if excludes { op.exclude_offset(1) } else { op };
            op = if extra { op.extra_positive(&te) } else { op };
            let out = op.dispatch_flops(if n + m > 300 { 1 } else { 1 << 35 }).forward(&tq, &tk);

            let (q, k, e) = (f64s(&q), f64s(&k), f64s(&e));
            let positive: Vec<usize> = (0..n).map(|i| i % m).collect();
            let excluded: Vec<Option<usize>> = (0..n).map(|i| excludes.then_some((i + 1) % m)).collect();
            let extra = extra.then_some(&e[..]);
            let spec = Spec { d, tau: f64::from(tau), positive: &positive, excluded: &excluded, extra };
            assert_losses(&what, &out, &contrastive(&q, &k, &spec), d, tau);
            let want = contrastive_backward(&q, &k, &spec, 1.0);
            let grads = out.loss.backward();
            let got = |leaf| grads.get(leaf).unwrap().to_vec().unwrap();
            if m > 1 {
                assert_gradient(&format!("{what}: dq"), &got(&tq), &want.queries);
                assert_gradient(&format!("{what}: dk"), &got(&tk), &want.keys);
            }
        }
    }
}

#[test]
fn rows_against_themselves() {
    let Some(gpu) = on_matrix_units() else { return };
    // One slab; with dispatches of one operation slabs of 128 rows, the last of which is ragged, or whole.
    for (n, d, flops) in [(66, 16, 1 << 35), (200, 128, 1 << 35), (200, 128, 1), (384, 20, 1), (514, 5, 1)] {
        let x = half_rows(5, n, d);
        let z = gpu.tensor(&x, [n, d]).unwrap().requires_grad();
        let positive: Vec<usize> = (0..n).map(|i| (i + n / 2) % n).collect();
        let excluded: Vec<Option<usize>> = (0..n).map(Some).collect();
        let x = f64s(&x);
        let spec = Spec { d, tau: 0.1, positive: &positive, excluded: &excluded, extra: None };
        let op = Contrastive::new(0.1).positive_offset(n / 2).exclude_offset(0).dispatch_flops(flops);
        let out = op.forward_self(&z);
        assert_losses("self", &out, &contrastive(&x, &x, &spec), d, 0.1);
        let want = contrastive_backward(&x, &x, &spec, 1.0);
        let sum: Vec<f64> = want.queries.iter().zip(&want.keys).map(|(a, b)| a + b).collect();
        assert_gradient("self: dz", &out.loss.backward().get(&z).unwrap().to_vec().unwrap(), &sum);
    }
}

/// Chosen unasked for rows of f16 alone, where the adapter's class prefers matrix units; and each time with the same bits.
#[test]
fn rows_of_f16_take_matrix_units_unasked() {
    if on_matrix_units().is_none() {
        return;
    }
    let gpu = Gpu::builder().quiet().class(Class::Nvidia).profile(true).build().unwrap();
    let run = |dtype: DType| {
        let rows =
            |seed| gpu.tensor(&half_rows(seed, 150, 20), [150, 20]).unwrap().cast(dtype).requires_grad();
        let (q, k) = (rows(1), rows(2));
        let loss = Contrastive::new(0.1).forward(&q, &k).loss;
        let value = loss.to_vec().unwrap();
        let grads = loss.backward();
        [value, grads.get(&q).unwrap().to_vec().unwrap(), grads.get(&k).unwrap().to_vec().unwrap()]
    };
    run(DType::F32);
    let named =
        |gpu: &Gpu| gpu.profile().iter().filter(|row| row.kernel.starts_with("contrastive/5_matrix")).count();
    assert_eq!(named(&gpu), 0);
    let once = run(DType::F16);
    assert_eq!(named(&gpu), 3, "forward, weights and the sum");
    assert_eq!(once, run(DType::F16));
}
