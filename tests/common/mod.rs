//! Test support: a device for each test, data, comparison that fails on NaN, and the check every op goes through.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::cell::OnceCell;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use wgrad::{Gpu, Rng, Tensor};

/// The device of this test: no other test uses it at the same time, so an error that a launch leaves on it fails the test that
/// launched and no other. Tests hand devices on, as each device compiles its kernels anew; one with an error is left behind.
pub(crate) fn gpu() -> &'static Gpu {
    static IDLE: Mutex<Vec<&'static Gpu>> = Mutex::new(Vec::new());
    struct Lent(&'static Gpu);
    impl Drop for Lent {
        fn drop(&mut self) {
            IDLE.lock().expect("no panic among idle devices").push(self.0);
        }
    }
    // A panic may have left the device's work half done, after which every call on it panics.
    let is_sound = |gpu: &Gpu| catch_unwind(AssertUnwindSafe(|| gpu.sync().is_ok())).unwrap_or(false);
    thread_local! {
        static LENT: OnceCell<Lent> = const { OnceCell::new() };
    }
    LENT.with(|lent| {
        lent.get_or_init(|| {
            let next = || IDLE.lock().expect("no panic among idle devices").pop();
            let idle = std::iter::from_fn(next).find(|gpu| is_sound(gpu));
            Lent(idle.unwrap_or_else(|| Box::leak(Box::new(own_gpu()))))
        })
        .0
    })
}

/// A device of its own, for tests that count memory or provoke errors.
pub(crate) fn own_gpu() -> Gpu {
    Gpu::builder().quiet().build().unwrap_or_else(|error| {
        // Without an adapter no test can pass: one line past the harness's capture, instead of a panic each.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        std::process::exit(1);
    })
}

/// `n` values uniform in [-1, 1).
pub(crate) fn data(seed: u32, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

/// To f64, for the references.
pub(crate) fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// `|got - want| <= abs + rel * |want|`, written so that NaN fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tol {
    pub(crate) abs: f64,
    pub(crate) rel: f64,
}

impl Tol {
    pub(crate) const fn new(abs: f64, rel: f64) -> Self {
        Self { abs, rel }
    }

    fn allows(self, got: f64, want: f64) -> bool {
        (got - want).abs() <= self.abs + self.rel * want.abs()
    }
}

/// A few units in the last place: elementwise arithmetic in f32.
pub(crate) const F32: Tol = Tol::new(1e-6, 2e-6);

/// Central differences in f64 with step 1e-5: truncation O(h^2), cancellation eps / h.
const FINITE_DIFFERENCE: Tol = Tol::new(2e-6, 2e-5);

/// Compares every element and names the worst.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64], tol: Tol) {
    assert_eq!(got.len(), want.len(), "{what}: lengths differ");
    let bad: Vec<usize> = (0..got.len()).filter(|&i| !tol.allows(f64::from(got[i]), want[i])).collect();
    if let Some(&first) = bad.first() {
        let error = |i: usize| (f64::from(got[i]) - want[i]).abs();
        let worst = bad.iter().copied().max_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(first);
        panic!(
            "{what}: {} of {} elements differ beyond {tol:?}; first [{first}] got {} want {}; worst [{worst}] got {} want {}",
            bad.len(),
            got.len(),
            got[first],
            want[first],
            got[worst],
            want[worst]
        );
    }
}

/// Checks an op: its value against `forward`, its gradients against `backward`, and `backward` against central
/// differences of `forward` in f64 (at up to 24 coordinates an input).
///
/// The loss is `sum(w * op(x))` with fixed random `w`, so `dy = w`.
#[track_caller]
pub(crate) fn check_op(
    name: &str,
    inputs: &[(Vec<f32>, Vec<usize>)],
    op: impl Fn(&[Tensor]) -> Tensor,
    forward: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    backward: impl Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<f64>>,
    value: Tol,
    grad: Tol,
) {
    let leaves: Vec<Tensor> = inputs
        .iter()
        .map(|(data, shape)| gpu().tensor(data, shape.as_slice()).unwrap().requires_grad())
        .collect();
    let y = op(&leaves);
    let x: Vec<Vec<f64>> = inputs.iter().map(|(data, _)| f64s(data)).collect();
    let want = forward(&x);
    let read = |x: &Tensor| x.to_vec().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_close(&format!("{name}: value"), &read(&y), &want, value);

    let w = data(9973, want.len());
    let weights = gpu().tensor(&w, y.shape()).unwrap();
    let grads = weighted_sum(&y, &weights).backward();
    let want = backward(&x, &f64s(&w));
    assert_eq!(want.len(), inputs.len(), "{name}: the reference returns a gradient an input");
    for (i, leaf) in leaves.iter().enumerate() {
        let got = grads.get(leaf).unwrap_or_else(|| panic!("{name}: no gradient for input {i}"));
        assert_eq!(got.shape(), leaf.shape(), "{name}: gradient {i} has another shape");
        assert_close(&format!("{name}: gradient {i}"), &read(got), &want[i], grad);
    }
    check_reference(name, &x, &forward, &f64s(&w), &want);
}

/// `sum(w * y)` as an op of its own, so that checks need no other op to be right.
fn weighted_sum(y: &Tensor, w: &Tensor) -> Tensor {
    let loss = y.gpu().zeros([]).unwrap();
    loss.with_backward("weighted_sum", &[y], &[w], |b| {
        let [w] = b.saved();
        vec![Some(w.clone())]
    })
}

/// `analytic` against central differences of `sum(w * forward(x))`.
#[track_caller]
pub(crate) fn check_reference(
    name: &str,
    x: &[Vec<f64>],
    forward: &impl Fn(&[Vec<f64>]) -> Vec<f64>,
    w: &[f64],
    analytic: &[Vec<f64>],
) {
    const STEP: f64 = 1e-5;
    let loss = |x: &[Vec<f64>]| forward(x).iter().zip(w).map(|(y, w)| y * w).sum::<f64>();
    let mut rng = Rng::new(77);
    let mut moved = x.to_vec();
    for (i, input) in x.iter().enumerate() {
        for k in 0..input.len().min(24) {
            let j = if input.len() <= 24 { k } else { rng.below(input.len() as u32) as usize };
            moved[i][j] = input[j] + STEP;
            let up = loss(&moved);
            moved[i][j] = input[j] - STEP;
            let down = loss(&moved);
            moved[i][j] = input[j];
            let (got, want) = ((up - down) / (2.0 * STEP), analytic[i][j]);
            assert!(
                FINITE_DIFFERENCE.allows(got, want),
                "{name}: reference gradient {i}[{j}] is {want}, central difference says {got}"
            );
        }
    }
}
