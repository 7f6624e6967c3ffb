//! An op compared with its specification: for the tests, which panic, and the benches, which report what is wrong.
#![allow(dead_code, reason = "each program uses a part of this")]

use half::f16;
use wgrad::{DType, Gpu, Rng, Tensor};

/// Nothing, or what differs from the specification.
pub(crate) type Checked = Result<(), String>;

/// Values and shape of an input.
pub(crate) type Leaf = (Vec<f32>, Vec<usize>);

/// `n` values uniform in [-1, 1).
pub(crate) fn data(seed: u32, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

/// To the nearest values of f16.
pub(crate) fn to_half(x: &[f32]) -> Vec<f32> {
    x.iter().map(|&v| f16::from_f32(v).to_f32()).collect()
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

    /// The wider of both bounds.
    pub(crate) fn or(self, other: Tol) -> Self {
        Self::new(self.abs.max(other.abs), self.rel.max(other.rel))
    }

    fn allows(self, got: f64, want: f64) -> bool {
        (got - want).abs() <= self.abs + self.rel * want.abs()
    }
}

/// A few units in the last place: elementwise arithmetic in f32.
pub(crate) const F32: Tol = Tol::new(1e-6, 2e-6);

/// Central differences in f64 with step 1e-5: truncation O(h^2), cancellation eps / h.
const FINITE_DIFFERENCE: Tol = Tol::new(2e-6, 2e-5);

/// Compares every element and names the first and the worst.
pub(crate) fn compare(what: &str, got: &[f64], want: &[f64], tol: Tol) -> Checked {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, the specification has {}", got.len(), want.len()));
    }
    let bad: Vec<usize> = (0..got.len()).filter(|&i| !tol.allows(got[i], want[i])).collect();
    let Some(&first) = bad.first() else { return Ok(()) };
    let error = |i: usize| (got[i] - want[i]).abs();
    let worst = bad.iter().copied().max_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(first);
    Err(format!(
        "{what}: {} of {} elements differ beyond {tol:?}; first [{first}] got {} want {}; worst [{worst}] got {} want {}",
        bad.len(),
        got.len(),
        got[first],
        want[first],
        got[worst],
        want[worst]
    ))
}

/// The elements of a tensor of any type, or the device's error.
pub(crate) fn elements(what: &str, x: &Tensor) -> Result<Vec<f64>, String> {
    match x.dtype() {
        DType::U32 => x.to_vec_u32().map(|v| v.into_iter().map(f64::from).collect()),
        _ => x.to_vec().map(|v| f64s(&v)),
    }
    .map_err(|error| format!("{what}: {error}"))
}

/// Gradients for values of the leaves and the output's gradient.
type Backward<'a> = dyn Fn(&[Vec<f64>], &[f64]) -> Vec<Vec<f64>> + 'a;

/// An op, its specification, and how far they may differ.
pub(crate) struct Check<'a> {
    pub(crate) name: &'a str,
    /// The inputs that gradients are taken of.
    pub(crate) leaves: &'a [Leaf],
    pub(crate) op: &'a dyn Fn(&[Tensor]) -> Tensor,
    pub(crate) forward: &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    /// Gradients of the leaves for that of the output.
    pub(crate) backward: &'a Backward<'a>,
    pub(crate) value: Tol,
    pub(crate) grad: Tol,
    /// Whether the output's gradient is one that f16 holds exactly.
    pub(crate) half: bool,
    /// Whether the specification's gradients are compared with central differences of its value, at up to 24 coordinates an input.
    pub(crate) differences: bool,
}

impl Check<'_> {
    /// The value against `forward`, gradients against `backward`, and `backward` against central differences. The loss is
    /// `sum(w * op(x))` with fixed random `w`, so `dy = w`.
    pub(crate) fn on(&self, gpu: &Gpu) -> Checked {
        let name = self.name;
        let upload = |(data, shape): &Leaf| gpu.tensor(data, shape.as_slice()).map(|x| x.requires_grad());
        let leaves: Result<Vec<Tensor>, _> = self.leaves.iter().map(upload).collect();
        let leaves = leaves.map_err(|error| format!("{name}: {error}"))?;
        let y = (self.op)(&leaves);
        let x: Vec<Vec<f64>> = self.leaves.iter().map(|(data, _)| f64s(data)).collect();
        let want = (self.forward)(&x);
        compare(&format!("{name}: value"), &elements(name, &y)?, &want, self.value)?;
        if leaves.is_empty() {
            return Ok(());
        }
        let w = data(9973, want.len());
        let w = if self.half { to_half(&w) } else { w };
        let weights = gpu.tensor(&w, y.shape()).map_err(|error| format!("{name}: {error}"))?;
        let grads = weighted_sum(&y, &weights).backward();
        let w = f64s(&w);
        let want = (self.backward)(&x, &w);
        assert_eq!(want.len(), leaves.len(), "{name}: the reference returns a gradient a leaf");
        for (i, leaf) in leaves.iter().enumerate() {
            let what = format!("{name}: gradient {i}");
            let got = grads.get(leaf).ok_or_else(|| format!("{what} is missing"))?;
            if got.shape() != leaf.shape() {
                return Err(format!("{what} has shape {}, not {}", got.shape(), leaf.shape()));
            }
            compare(&what, &elements(&what, got)?, &want[i], self.grad)?;
        }
        if self.differences { finite_differences(name, &x, self.forward, &w, &want) } else { Ok(()) }
    }
}

/// `sum(w * y)` as an op of its own whose backward is there already: checks need no other op to be right, and a timing of a gradient
/// is the op's own backward alone.
pub(crate) fn weighted_sum(y: &Tensor, w: &Tensor) -> Tensor {
    let loss = Tensor::empty(y.gpu(), "weighted_sum", [], DType::F32);
    loss.with_backward("weighted_sum", &[y], &[w], |b| {
        let [w] = b.saved();
        vec![Some(w.clone())]
    })
}

/// `analytic` against central differences of `sum(w * forward(x))`.
pub(crate) fn finite_differences(
    name: &str,
    x: &[Vec<f64>],
    forward: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    w: &[f64],
    analytic: &[Vec<f64>],
) -> Checked {
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
            if !FINITE_DIFFERENCE.allows(got, want) {
                return Err(format!(
                    "{name}: reference gradient {i}[{j}] is {want}, central difference says {got}"
                ));
            }
        }
    }
    Ok(())
}
