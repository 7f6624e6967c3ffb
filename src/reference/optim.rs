//! Optimiser steps on one parameter tensor, in `f64`.
//!
//! SGD and AdamW follow PyTorch's `torch.optim` (dampening 0, no AMSGrad); LARS follows You, Gitman & Ginsburg 2017 in
//! the form of the public VICReg and Barlow Twins code. `w`, the parameter, and the state are changed in place.

/// `g' = g + wd w`, `v = m v + g'`, `w -= lr (g' + m v if nesterov, else v)`; without momentum `w -= lr g'`.
pub fn sgd(
    w: &mut [f64],
    g: &[f64],
    v: &mut [f64],
    lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
) {
    for i in 0..w.len() {
        let g = g[i] + weight_decay * w[i];
        v[i] = momentum * v[i] + g;
        w[i] -= lr * if nesterov { g + momentum * v[i] } else { v[i] };
    }
}

/// AdamW (Loshchilov & Hutter 2019), `step` counted from 1.
///
/// `w *= 1 - lr wd`, `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `w -= lr m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + eps)`.
#[expect(clippy::too_many_arguments, reason = "the formula has this many symbols")]
pub fn adamw(
    w: &mut [f64],
    g: &[f64],
    m: &mut [f64],
    v: &mut [f64],
    step: i32,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
) {
    let (b1, b2) = betas;
    for i in 0..w.len() {
        m[i] = b1 * m[i] + (1.0 - b1) * g[i];
        v[i] = b2 * v[i] + (1.0 - b2) * g[i] * g[i];
        let denominator = (v[i] / (1.0 - b2.powi(step))).sqrt() + eps;
        w[i] -= lr * weight_decay * w[i];
        w[i] -= lr * m[i] / (1.0 - b1.powi(step)) / denominator;
    }
}

/// `u = g + wd w`, `u *= eta |w| / |u|` where both norms are positive, `v = m v + u`, `w -= lr v`.
///
/// `adapt` is false for the tensors that take neither weight decay nor the trust ratio (biases, normalisation).
#[expect(clippy::too_many_arguments, reason = "the formula has this many symbols")]
pub fn lars(
    w: &mut [f64],
    g: &[f64],
    v: &mut [f64],
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    eta: f64,
    adapt: bool,
) {
    let decay = if adapt { weight_decay } else { 0.0 };
    let u: Vec<f64> = g.iter().zip(&*w).map(|(g, w)| g + decay * w).collect();
    let (w_norm, u_norm) = (norm(w), norm(&u));
    let trust = if adapt && w_norm > 0.0 && u_norm > 0.0 { eta * w_norm / u_norm } else { 1.0 };
    for i in 0..w.len() {
        v[i] = momentum * v[i] + trust * u[i];
        w[i] -= lr * v[i];
    }
}

/// Scales all of `grads` by `min(1, max_norm / (norm + 1e-6))`, the norm taken over all of them; returns it.
pub fn clip_grad_norm(grads: &mut [&mut [f64]], max_norm: f64) -> f64 {
    let total = grads.iter().map(|g| norm(g).powi(2)).sum::<f64>().sqrt();
    let scale = max_norm / (total + 1e-6);
    let scale = if scale > 1.0 { 1.0 } else { scale }; // NaN stays
    for g in grads.iter_mut().flat_map(|g| g.iter_mut()) {
        *g *= scale;
    }
    total
}

/// The Euclidean norm.
#[must_use]
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
