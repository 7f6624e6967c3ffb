//! The check every loss goes through.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use wgrad::nn::{NamedTensor, read_safetensors};
use wgrad::{Rng, Tensor};

use crate::common::{data, f64s, gpu};

const EPS: f64 = f32::EPSILON as f64;

/// Temperatures of every test, in thousandths.
pub(crate) const TAUS: [u16; 3] = [5, 70, 500];

/// A matrix of test data: rows, width, values.
pub(crate) type Matrix = (Vec<f32>, [usize; 2]);

/// Values uniform in [-1, 1).
pub(crate) fn matrix(seed: u32, rows: usize, width: usize) -> Matrix {
    (data(seed, rows * width), [rows, width])
}

/// Rows of unit length.
pub(crate) fn unit_matrix(seed: u32, rows: usize, width: usize) -> Matrix {
    let (x, shape) = matrix(seed, rows, width);
    let unit = wgrad::reference::ssl::unit(&f64s(&x), width);
    (unit.iter().map(|&v| v as f32).collect(), shape)
}

pub(crate) fn tensor((values, shape): &Matrix) -> Tensor {
    gpu().tensor(values, *shape).unwrap()
}

pub(crate) fn indices(values: &[u32]) -> Tensor {
    gpu().tensor_u32(values, [values.len()]).unwrap()
}

/// `|L - L64| <= 1e-5 |L64| + 8 eps / tau + 2e-6`.
#[track_caller]
pub(crate) fn assert_loss(case: &str, tau: f64, got: f32, want: f64) {
    let got = f64::from(got);
    let slack = 1e-5 * want.abs() + 8.0 * EPS / tau + 2e-6;
    assert!((got - want).abs() <= slack, "{case}: loss {got}, expected {want} +- {slack:e}");
}

/// `|g - g64| <= (1e-4 + 8 eps / tau) |g64| + 8 eps / (tau sqrt N)`, lengths of whole gradients.
#[track_caller]
pub(crate) fn assert_gradient(case: &str, tau: f64, n: usize, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{case}");
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let off = length(&mut got.iter().zip(want).map(|(&g, w)| f64::from(g) - w));
    let eps = 8.0 * EPS / tau;
    let slack = (1e-4 + eps) * length(&mut want.iter().copied()) + eps / (n as f64).sqrt();
    assert!(off <= slack, "{case}: gradient is off by {off:e}, allowed {slack:e}");
}

/// Checks a loss of several matrices against `spec`: its value, its gradients for the first `trained` inputs by central
/// differences of `spec`, and that the others have none.
#[track_caller]
pub(crate) fn check_loss(
    name: &str,
    tau: f64,
    inputs: &[Matrix],
    trained: usize,
    loss: impl Fn(&[Tensor]) -> Tensor,
    spec: impl Fn(&[Vec<f64>]) -> f64,
) {
    let n = inputs[0].1[0];
    let case = format!("{name}, tau {tau}, {n} rows");
    let leaves: Vec<Tensor> = inputs.iter().map(|x| tensor(x).requires_grad()).collect();
    let mut x: Vec<Vec<f64>> = inputs.iter().map(|(values, _)| f64s(values)).collect();
    let value = loss(&leaves);
    assert_loss(&case, tau, value.item().unwrap(), spec(&x));
    let grads = value.backward();
    for (i, leaf) in leaves.iter().enumerate() {
        if i >= trained {
            assert!(grads.get(leaf).is_none(), "{case}: input {i} has a gradient");
            continue;
        }
        let got = grads.get(leaf).unwrap_or_else(|| panic!("{case}: no gradient for input {i}"));
        let want = numerical_gradient(&mut x, i, &spec);
        assert_gradient(&format!("{case}, input {i}"), tau, n, &got.to_vec().unwrap(), &want);
    }
}

/// Central differences with a step far below any temperature: truncation about (1e-6 / tau)^2.
fn numerical_gradient(x: &mut [Vec<f64>], input: usize, spec: &impl Fn(&[Vec<f64>]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-6;
    let mut gradient = vec![];
    for j in 0..x[input].len() {
        let at = x[input][j];
        x[input][j] = at + STEP;
        let up = spec(x);
        x[input][j] = at - STEP;
        let down = spec(x);
        x[input][j] = at;
        gradient.push((up - down) / (2.0 * STEP));
    }
    gradient
}

/// Inputs and results of `tests/reference/losses.py`.
pub(crate) struct Fixture(HashMap<String, NamedTensor>);

pub(crate) fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ssl.safetensors");
        Fixture(read_safetensors(path).unwrap().0.into_iter().map(|t| (t.name.clone(), t)).collect())
    })
}

impl Fixture {
    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        gpu().tensor(&self.0[name].data, self.0[name].shape.as_slice()).unwrap()
    }

    pub(crate) fn indices(&self, name: &str) -> Tensor {
        let values: Vec<u32> = self.0[name].data.iter().map(|&v| v as u32).collect();
        indices(&values)
    }

    /// Value and gradients of `loss` against the case `name` at `thousandths`.
    #[track_caller]
    pub(crate) fn check(
        &self,
        name: &str,
        thousandths: u16,
        leaves: &[&str],
        loss: impl Fn(&[Tensor]) -> Tensor,
    ) {
        let case = format!("{name}.{thousandths}");
        let tau = f64::from(thousandths) / 1000.0;
        let leaves: Vec<Tensor> = leaves.iter().map(|leaf| self.tensor(leaf).requires_grad()).collect();
        let value = loss(&leaves);
        assert_loss(&case, tau, value.item().unwrap(), f64::from(self.0[&format!("{case}.loss")].data[0]));
        let grads = value.backward();
        for (i, leaf) in leaves.iter().enumerate() {
            let got = grads.get(leaf).unwrap().to_vec().unwrap();
            let case = format!("{case}.d{i}");
            assert_gradient(&case, tau, leaf.shape()[0], &got, &f64s(&self.0[&case].data));
        }
    }
}

/// For state that a test overwrites.
pub(crate) fn rng() -> Rng {
    Rng::new(11)
}

/// As the f32 temperature that a loss gets.
pub(crate) fn tau(thousandths: u16) -> f32 {
    f32::from(thousandths) / 1000.0
}
