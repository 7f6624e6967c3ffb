//! Losses against PyTorch in float64 (`tests/reference/losses.py`) and against what can be said of them by hand.
#[path = "common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{data, gpu, own_gpu};
use wgrad::nn::{NamedTensor, read_safetensors};
use wgrad::ops::Contrastive;
use wgrad::ssl::{info_nce, info_nce_dot, mi_bound, nt_xent};
use wgrad::{Rng, Tensor};

const EPS: f64 = f32::EPSILON as f64;

fn fixture() -> HashMap<String, NamedTensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/losses.safetensors");
    let (tensors, _) = read_safetensors(path).unwrap();
    tensors.into_iter().map(|t| (t.name.clone(), t)).collect()
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|v| v * v).sum::<f64>().sqrt()
}

/// Value within `1e-5 |L| + 8 eps / tau + 2e-6`, gradients within `(1e-4 + 8 eps / tau) |g| + 8 eps / (tau sqrt N)`, for
/// unit vectors. `size` is the largest `|q| |k|`: a logit is rounded to eps times its size.
fn equals_pytorch(name: &str, size: f64, loss: impl Fn(&Tensor, &Tensor, &Tensor, f32) -> Tensor) {
    let fixture = fixture();
    let tensor = |name: &str| gpu().tensor(&fixture[name].data, fixture[name].shape.as_slice()).unwrap();
    let queue = tensor("queue");
    for thousandths in [5_u16, 20, 70, 200, 500] {
        let case = format!("{name}.{thousandths}");
        let tau = f32::from(thousandths) / 1000.0;
        let (q, k) = (tensor("q").requires_grad(), tensor("k").requires_grad());
        let value = loss(&q, &k, &queue, tau);
        let (got, want) =
            (f64::from(value.item().unwrap()), f64::from(fixture[&format!("{case}.loss")].data[0]));
        let eps = 8.0 * EPS * size / f64::from(tau);
        let slack = 1e-5 * want.abs() + eps + 2e-6;
        assert!((got - want).abs() <= slack, "{case}: loss {got}, PyTorch {want} +- {slack:e}");
        let grads = value.backward();
        for (leaf, side) in [(&q, "dq"), (&k, "dk")] {
            let got = grads.get(leaf).unwrap().to_vec().unwrap();
            let want = &fixture[&format!("{case}.{side}")].data;
            let off = norm(got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w)));
            let n = leaf.shape()[0] as f64;
            let slack = (1e-4 + eps) * norm(want.iter().map(|&w| f64::from(w))) + eps / n.sqrt();
            assert!(off <= slack, "{case}.{side}: off by {off:e}, allowed {slack:e}");
        }
    }
}

#[test]
fn info_nce_equals_pytorch() {
    equals_pytorch("info_nce", 1.0, |q, k, _, tau| info_nce(q, k, tau));
}

#[test]
fn info_nce_dot_equals_pytorch() {
    equals_pytorch("info_nce_dot", 40.0, |q, k, _, tau| info_nce_dot(q, k, tau));
}

#[test]
fn nt_xent_equals_pytorch() {
    equals_pytorch("nt_xent", 1.0, |q, k, _, tau| nt_xent(q, k, tau));
}

/// The extra positive and a queue as keys: MoCo's loss, He et al. 2020, eq. 1.
#[test]
fn extra_positive_equals_pytorch() {
    equals_pytorch("moco", 1.0, |q, k, queue, tau| {
        let op = Contrastive::new(tau).extra_positive(&k.l2_normalize());
        op.forward(&q.l2_normalize(), &queue.l2_normalize()).loss
    });
}

/// Two images, views alike, other images at right angles: ln(e^2 + 2) - 2.
#[test]
fn nt_xent_by_hand() {
    let z = gpu().tensor(&[1.0, 0.0, 0.0, 1.0], [2, 2]).unwrap();
    let got = nt_xent(&z, &z, 0.5).item().unwrap();
    assert!((f64::from(got) - 0.239_544_766_2).abs() < 1e-6, "{got}");
}

/// One pair alone is its own only candidate.
#[test]
fn one_image() {
    let z = gpu().tensor(&[0.3, 0.4], [1, 2]).unwrap().requires_grad();
    let loss = nt_xent(&z, &z.stop_gradient(), 0.1);
    assert!(loss.item().unwrap() == 0.0);
    let g = loss.backward().get(&z).unwrap().to_vec().unwrap();
    assert!(g.iter().all(|&v| v == 0.0), "{g:?}");
}

/// Unrelated rows: the loss is that of a guess among all candidates, the bound on their information about zero.
#[test]
fn random_rows_guess() {
    let (n, d) = (256, 128);
    let z = gpu().normal([2 * n, d], 0.0, 1.0, &mut Rng::new(4)).unwrap();
    let (z1, z2) = (z.slice_rows(0, n), z.slice_rows(n, n));
    let loss = nt_xent(&z1, &z2, 0.5).item().unwrap();
    let guess = (2.0 * n as f32 - 1.0).ln();
    assert!((loss - guess).abs() < 0.1, "{loss} against ln(2N - 1) = {guess}");
    assert!(mi_bound(loss, 2 * n - 1).abs() < 0.1);
    let loss = info_nce(&z1, &z2, 0.5).item().unwrap();
    assert!(mi_bound(loss, n).abs() < 0.1, "{loss}");
}

/// The same rows on both sides at a low temperature: every row is told apart, the bound is ln N.
#[test]
fn the_bound_saturates() {
    let q = gpu().tensor(&data(6, 64 * 32), [64, 32]).unwrap();
    let bound = mi_bound(info_nce(&q, &q, 0.01).item().unwrap(), 64);
    assert!((bound - 64_f32.ln()).abs() < 1e-4, "{bound}");
}

/// Cosine does not see the length of a row, and its gradient has no part along it.
#[test]
fn cosine_ignores_length() {
    let x = data(8, 24 * 16);
    let q = gpu().tensor(&x, [24, 16]).unwrap().requires_grad();
    let long: Vec<f32> = x.iter().map(|v| 8.0 * v).collect();
    let k = gpu().tensor(&data(9, 24 * 16), [24, 16]).unwrap();
    let loss = info_nce(&q, &k, 0.2);
    let other = info_nce(&gpu().tensor(&long, [24, 16]).unwrap(), &k, 0.2);
    assert!((loss.item().unwrap() - other.item().unwrap()).abs() < 1e-6);
    let g = loss.backward().get(&q).unwrap().to_vec().unwrap();
    for (x, g) in x.chunks(16).zip(g.chunks(16)) {
        let along: f32 = x.iter().zip(g).map(|(x, g)| x * g).sum();
        assert!(along.abs() < 1e-6, "{along}");
    }
}

/// Peak memory of loss and gradients grows with N: doubling the batch doubles it at most.
#[test]
fn memory_is_linear() {
    let d = 16;
    let peak = |n: usize| {
        let gpu = own_gpu();
        let z1 = gpu.tensor(&data(1, n * d), [n, d]).unwrap().requires_grad();
        let z2 = gpu.tensor(&data(2, n * d), [n, d]).unwrap().requires_grad();
        let grads = nt_xent(&z1, &z2, 0.2).backward();
        grads.get(&z1).unwrap().to_vec().unwrap();
        gpu.memory().peak
    };
    let [one, two, four] = [512, 1024, 2048].map(peak);
    assert!(two <= one * 21 / 10 && four <= two * 21 / 10, "{one} {two} {four}");
    let logits = 4 * (2 * 2048) * (2 * 2048);
    assert!(four * 16 <= logits, "{four} bytes against {logits} of logits");
}

#[test]
#[should_panic(expected = "nt_xent: views [3, 4] and [2, 4]")]
fn views_must_agree() {
    let _ = nt_xent(&gpu().zeros([3, 4]).unwrap(), &gpu().zeros([2, 4]).unwrap(), 0.5);
}
