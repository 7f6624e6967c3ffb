//! Rows that are all but certain of their positive, on every rung: losses are then differences of numbers near 1, unless the positive
//! is kept apart. In f32, and in f16 on the rungs that take it as it is.

use crate::common::*;
use crate::contrastive::unit_rows;
use wgrad::ops::{Contrastive, ContrastiveOutput, rungs};
use wgrad::reference::contrastive::{Spec, contrastive, contrastive_backward};
use wgrad::{DType, Gpu, Tensor};

/// Every rung of this adapter with every type of operands that it takes as it is.
fn on_every_rung(check: impl Fn(&Gpu, DType, &str)) {
    for dtype in [DType::F32, DType::F16] {
        if dtype == DType::F16 && !gpu().info().f16 {
            continue;
        }
        for file in rungs("contrastive", gpu(), dtype) {
            let gpu = Gpu::builder().quiet().kernel("contrastive", file).build().unwrap();
            check(&gpu, dtype, &format!("{file} in {dtype:?}"));
        }
    }
}

fn leaf(gpu: &Gpu, x: &[f32], n: usize, dtype: DType) -> Tensor {
    gpu.tensor(x, [n, x.len() / n]).unwrap().stop_gradient().cast(dtype).requires_grad()
}

/// What a weight is off by, of itself: `exp` and a division, and in f16 the rounding of weights for matrix units and of the gradient.
fn rounding(dtype: DType) -> f64 {
    if dtype == DType::F16 { 2_f64.powi(-9) } else { 4e-6 }
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f64], slack: f64) {
    for (got, want) in got.iter().zip(want) {
        assert!((f64::from(*got) - want).abs() <= slack, "{what}: {got:e}, want {want:e} +- {slack:e}");
    }
}

/// The probability of the negative is e^-7. Both keys pull at the query, 200 and 193 times that, and what is left of them is 29 times
/// smaller.
#[test]
fn a_saturated_row_keeps_its_digits() {
    on_every_rung(|gpu, dtype, what| {
        let (q, k) = ([1.0], if dtype == DType::F16 { [200.25, 193.25] } else { [200.3, 193.3] });
        let (tq, tk) = (leaf(gpu, &q, 1, dtype), leaf(gpu, &k, 2, dtype));
        let out = Contrastive::new(1.0).forward(&tq, &tk);
        let (q, k) = (f64s(&q), f64s(&k));
        let spec = Spec { d: 1, tau: 1.0, positive: &[0], excluded: &[None], extra: None };
        let want = contrastive(&q, &k, &spec).loss;
        assert_near(what, &[out.loss.item().unwrap()], &[want], 4e-6 * want);
        let want = contrastive_backward(&q, &k, &spec, 1.0);
        let grads = out.loss.backward();
        let got = |t: &Tensor| grads.get(t).unwrap().to_vec().unwrap();
        let weight = want.keys[1];
        assert_near(what, &got(&tq), &want.queries, rounding(dtype) * weight * (k[0] + k[1]));
        assert_near(what, &got(&tk), &want.keys, rounding(dtype) * weight);
    });
}

/// The same as rows against themselves: of four rows the first is unsure by e^-7, the others are certain.
#[test]
fn a_saturated_row_among_themselves_keeps_its_digits() {
    on_every_rung(|gpu, dtype, what| {
        let [far, near] = if dtype == DType::F16 { [200.25, 193.25] } else { [200.3, 193.3] };
        let x = [1.0, 0.0, near, 200.0, far, -200.0, 0.0, 200.0];
        let z = leaf(gpu, &x, 4, dtype);
        let out = Contrastive::new(1.0).positive_offset(2).exclude_offset(0).forward_self(&z);
        let x = f64s(&x);
        let positive = [2, 3, 0, 1];
        let excluded = [0, 1, 2, 3].map(Some);
        let spec = Spec { d: 2, tau: 1.0, positive: &positive, excluded: &excluded, extra: None };
        let want = contrastive(&x, &x, &spec);
        assert_near(what, &out.row_losses.to_vec().unwrap(), &want.row_losses, 4e-6 * want.row_losses[0]);
        let want = contrastive_backward(&x, &x, &spec, 1.0);
        let sum: Vec<f64> = want.queries.iter().zip(&want.keys).map(|(a, b)| a + b).collect();
        // Row 1 has the weight of row 0 once, times 1.
        assert_near(
            what,
            &out.loss.backward().get(&z).unwrap().to_vec().unwrap(),
            &sum,
            rounding(dtype) * sum[2] * 400.0,
        );
    });
}

fn rows_and_loss(out: &ContrastiveOutput) -> Vec<f32> {
    let mut all = out.row_losses.to_vec().unwrap();
    all.push(out.loss.item().unwrap());
    all
}

/// A row whose only key is its positive, or whose other keys are e^-100 away, has a loss of 0 and no gradient, to the last bit.
#[test]
fn a_certain_row_has_no_loss() {
    on_every_rung(|gpu, dtype, what| {
        for (n, d) in [(1, 1), (1, 128), (7, 27), (70, 128)] {
            for tau in [0.005, 0.07, 1.0] {
                let what = format!("{what}: {n} x {d} at {tau}");
                let x = unit_rows(1, n, d);
                let (q, k) = (leaf(gpu, &x, n, dtype), leaf(gpu, &unit_rows(2, 1, d), 1, dtype));
                let out = Contrastive::new(tau).forward(&q, &k);
                assert!(rows_and_loss(&out).iter().all(|&l| l == 0.0), "{what}: {:?}", rows_and_loss(&out));
                let grads = out.loss.backward();
                for t in [&q, &k] {
                    assert!(
                        grads.get(t).unwrap().to_vec().unwrap().iter().all(|&g| g == 0.0),
                        "{what}: gradient"
                    );
                }
                if d == 128 && tau < 0.01 {
                    let k = leaf(gpu, &x, n, dtype);
                    let out = Contrastive::new(tau).forward(&q, &k);
                    assert!(
                        rows_and_loss(&out).iter().all(|&l| l == 0.0),
                        "{what}: {:?}",
                        rows_and_loss(&out)
                    );
                    let dq = out.loss.backward().get(&q).unwrap().to_vec().unwrap();
                    assert!(dq.iter().all(|&g| g == 0.0), "{what}: gradient of certain rows");
                }
            }
        }
        // A pair of views is its own only candidate.
        let z = leaf(gpu, &unit_rows(3, 2, 128), 2, dtype);
        let out = Contrastive::new(0.07).positive_offset(1).exclude_offset(0).forward_self(&z);
        assert!(rows_and_loss(&out).iter().all(|&l| l == 0.0), "{what}: {:?}", rows_and_loss(&out));
        let dz = out.loss.backward().get(&z).unwrap().to_vec().unwrap();
        assert!(dz.iter().all(|&g| g == 0.0), "{what}: {dz:?}");
    });
}

/// Keys that are almost the queries, from certain rows to guesses: rounding makes no loss negative.
#[test]
fn no_loss_is_negative() {
    on_every_rung(|gpu, dtype, what| {
        let (n, d) = (130, 128);
        let x = unit_rows(1, n, d);
        for tau in [0.005, 0.02, 0.05, 0.1, 0.5] {
            let out = Contrastive::new(tau).forward(&leaf(gpu, &x, n, dtype), &leaf(gpu, &x, n, dtype));
            let rows = rows_and_loss(&out);
            assert!(rows.iter().all(|&l| l >= 0.0), "{what} at {tau}: {rows:?}");
        }
    });
}

/// A positive that is no key reads nothing: its row and the mean are NaN, the other rows are not.
#[test]
fn a_positive_that_is_no_key_gives_nan() {
    on_every_rung(|gpu, dtype, what| {
        let columns = gpu.tensor_u32(&[0, 5, 2], [3]).unwrap();
        let q = leaf(gpu, &unit_rows(1, 3, 8), 3, dtype);
        let k = leaf(gpu, &unit_rows(2, 5, 8), 5, dtype);
        let out = Contrastive::new(0.5).positive_columns(&columns).forward(&q, &k);
        let rows = out.row_losses.to_vec().unwrap();
        assert!(rows[0] > 0.0 && rows[1].is_nan() && rows[2] > 0.0, "{what}: {rows:?}");
        let dq = out.loss.backward().get(&q).unwrap().to_vec().unwrap();
        assert!(dq[8..16].iter().all(|g| g.is_nan()), "{what}: {dq:?}");
    });
}
