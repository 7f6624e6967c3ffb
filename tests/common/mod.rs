//! Test support: a device for each test, data, comparison that fails on NaN, and the check every op goes through.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

use std::cell::OnceCell;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use wgrad::{Gpu, Tensor};

pub(crate) mod check;

use check::{Check, compare, finite_differences};
pub(crate) use check::{F32, Tol, data, f64s};

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

/// Compares every element and names the worst.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64], tol: Tol) {
    compare(what, &f64s(got), want, tol).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Checks an op whose inputs all have gradients: [`Check::on`] this test's device.
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
    let (op, forward, backward) = (&op, &forward, &backward);
    let check =
        Check { name, leaves: inputs, op, forward, backward, value, grad, half: false, differences: true };
    check.on(gpu()).unwrap_or_else(|wrong| panic!("{wrong}"));
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
    finite_differences(name, x, forward, w, analytic).unwrap_or_else(|wrong| panic!("{wrong}"));
}
