//! The losses of self-supervised methods on `f64` slices, rows of width `d` (or `k` outputs) one after another.
//!
//! What a method holds constant (teacher, target, queue, bank) is an argument like any other here. The sources are named at the
//! functions of the same name in [`ssl`](crate::ssl). InfoNCE, NT-Xent and MoCo are cases of
//! [`contrastive`](super::contrastive).

use super::{covariance, l2_normalize, softmax};

/// Rows scaled to unit length.
#[must_use]
pub fn unit(x: &[f64], d: usize) -> Vec<f64> {
    l2_normalize::forward(x, d, 1e-12)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Row `i` of `x`.
fn row(x: &[f64], d: usize, i: usize) -> &[f64] {
    &x[i * d..(i + 1) * d]
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Mean over rows of `-ln e^(q_i . k_i / tau) / (e^(q_i . k_i / tau) + sum_j e^(q_i . queue_j / tau))`, `q` and `k` normalised.
#[must_use]
pub fn moco(q: &[f64], k: &[f64], queue: &[f64], d: usize, tau: f64) -> f64 {
    let (q, k, n) = (unit(q, d), unit(k, d), q.len() / d);
    let mut loss = 0.;
    for i in 0..n {
        let mut s = vec![dot(row(&q, d, i), row(&k, d, i))];
        s.extend(queue.chunks_exact(d).map(|key| dot(row(&q, d, i), key)));
        loss -= softmax::log_softmax(&s, s.len(), tau)[0] / n as f64;
    }
    loss
}

/// Mean over rows of `-ln e^(v_i . M_at(i) / tau) / sum_j e^(v_i . M_j / tau)`, `v = n(z)`.
#[must_use]
pub fn instance_discrimination(z: &[f64], bank: &[f64], at: &[usize], d: usize, tau: f64) -> f64 {
    let v = unit(z, d);
    let mut loss = 0.;
    for (v, &own) in v.chunks_exact(d).zip(at) {
        let s: Vec<f64> = bank.chunks_exact(d).map(|key| dot(v, key)).collect();
        loss -= softmax::log_softmax(&s, s.len(), tau)[own] / at.len() as f64;
    }
    loss
}

/// `ln Z`: the bank's size times the mean of `e^(v . M_j / tau)` over each row's own image and its negatives.
#[must_use]
pub fn nce_ln_z(z: &[f64], bank: &[f64], at: &[usize], negatives: &[usize], d: usize, tau: f64) -> f64 {
    let (v, m) = (unit(z, d), negatives.len() / at.len());
    let mut sum = 0.;
    for (i, v) in v.chunks_exact(d).enumerate() {
        for &j in negatives[i * m..(i + 1) * m].iter().chain([&at[i]]) {
            sum += (dot(v, row(bank, d, j)) / tau).exp();
        }
    }
    ((bank.len() / d) as f64 * sum / (at.len() * (m + 1)) as f64).ln()
}

/// Mean over rows of `-ln h(own) - sum_j ln(1 - h(j))`, `h = P / (P + m / M)` and `P = e^(v . M_j / tau) / Z`.
#[must_use]
pub fn nce(z: &[f64], bank: &[f64], at: &[usize], negatives: &[usize], d: usize, tau: f64, ln_z: f64) -> f64 {
    let (v, m) = (unit(z, d), negatives.len() / at.len());
    let noise = m as f64 / (bank.len() / d) as f64;
    let mut loss = 0.;
    for (i, v) in v.chunks_exact(d).enumerate() {
        // ln (P / noise), and ln (1 + e^-x) without overflow.
        let odds = |j: usize| dot(v, row(bank, d, j)) / tau - ln_z - noise.ln();
        let softplus = |x: f64| x.max(0.) + (-x.abs()).exp().ln_1p();
        loss += softplus(-odds(at[i]));
        loss += negatives[i * m..(i + 1) * m].iter().map(|&j| softplus(odds(j))).sum::<f64>();
    }
    loss / at.len() as f64
}

/// `-1/2 (mean cos(p1, z2) + mean cos(p2, z1))`.
#[must_use]
pub fn simsiam(p1: &[f64], z2: &[f64], p2: &[f64], z1: &[f64], d: usize) -> f64 {
    let n = (p1.len() / d) as f64;
    let cosines = |p: &[f64], z: &[f64]| dot(&unit(p, d), &unit(z, d)) / n;
    -0.5 * (cosines(p1, z2) + cosines(p2, z1))
}

/// `1/2 mean |p1 - z2|^2 + 1/2 mean |p2 - z1|^2`, means over rows.
#[must_use]
pub fn simsiam_squared(p1: &[f64], z2: &[f64], p2: &[f64], z1: &[f64], d: usize) -> f64 {
    let n = (p1.len() / d) as f64;
    0.5 * (squared_distance(p1, z2) + squared_distance(p2, z1)) / n
}

/// `mean (2 - 2 cos(p1, z2)) + mean (2 - 2 cos(p2, z1))`.
#[must_use]
pub fn byol(p1: &[f64], z2: &[f64], p2: &[f64], z1: &[f64], d: usize) -> f64 {
    4. + 4. * simsiam(p1, z2, p2, z1, d)
}

/// Invariance, variance and covariance terms of VICReg, unweighted.
#[must_use]
pub fn vicreg_terms(z1: &[f64], z2: &[f64], d: usize) -> [f64; 3] {
    let hinge = |z| covariance::hinge(z, d, 1., 1e-4)[0];
    let penalty = |z| covariance::penalty(z, d)[0];
    let invariance = squared_distance(z1, z2) / z1.len() as f64;
    [invariance, (hinge(z1) + hinge(z2)) / 2., penalty(z1) + penalty(z2)]
}

/// `sum (C_ii - 1)^2 + lambda sum_(i != j) C_ij^2` with `C = z1sᵀ z2s / n`, columns standardised with 1e-5 on the variance.
#[must_use]
pub fn barlow_twins(z1: &[f64], z2: &[f64], d: usize, lambda: f64) -> f64 {
    let n = z1.len() / d;
    let standard = |x: &[f64]| {
        let (mean, var) = super::batch_norm::moments(x, d);
        super::batch_norm::forward(x, &mean, &var, &vec![1.; d], &vec![0.; d], 1e-5)
    };
    let (z1, z2) = (standard(z1), standard(z2));
    let mut loss = 0.;
    for i in 0..d {
        for j in 0..d {
            let c = (0..n).map(|r| z1[r * d + i] * z2[r * d + j]).sum::<f64>() / n as f64;
            loss += if i == j { (c - 1.).powi(2) } else { lambda * c * c };
        }
    }
    loss
}

/// Mean over images and over pairs of a global view i and a view j != i of `-sum targets_i ln softmax(student_j / tau)`.
///
/// `targets` are those of the two global views `[2 n, k]`, `student` the logits of all views, the globals first.
#[must_use]
pub fn cross_view(targets: &[f64], student: &[f64], n: usize, k: usize, tau: f64) -> f64 {
    let log = softmax::log_softmax(student, k, tau);
    let views = student.len() / (n * k);
    let mut loss = 0.;
    for i in 0..2 {
        for j in (0..views).filter(|&j| j != i) {
            loss -= dot(row(targets, n * k, i), row(&log, n * k, j));
        }
    }
    loss / (n * 2 * (views - 1)) as f64
}

/// DINO's loss and the mean entropy of `t = softmax((teacher - center) / tau_t)`.
#[must_use]
pub fn dino(student: &[f64], teacher: &[f64], center: &[f64], n: usize, tau_s: f64, tau_t: f64) -> [f64; 2] {
    let k = center.len();
    let centred: Vec<f64> = teacher.iter().enumerate().map(|(i, v)| v - center[i % k]).collect();
    let ln_t = softmax::log_softmax(&centred, k, tau_t);
    let t: Vec<f64> = ln_t.iter().map(|v| v.exp()).collect();
    [cross_view(&t, student, n, k, tau_s), -dot(&t, &ln_t) / (2 * n) as f64]
}

/// Sinkhorn-Knopp as the authors of SwAV write it: `e^((s - max) / epsilon)`, columns to sum 1 / K, rows to sum 1 / B, at the end
/// rows to sum 1.
#[must_use]
pub fn sinkhorn(scores: &[f64], k: usize, epsilon: f64, iterations: usize) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut q: Vec<f64> = scores.iter().map(|s| ((s - top) / epsilon).exp()).collect();
    for _ in 0..iterations {
        for j in 0..k {
            let sum: f64 = q.iter().skip(j).step_by(k).sum();
            q.iter_mut().skip(j).step_by(k).for_each(|v| *v /= sum);
        }
        for row in q.chunks_exact_mut(k) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
    }
    q
}

/// Mean of InfoNCE(NN(z1), p2) and InfoNCE(NN(z2), p1), neighbours by cosine among the unit rows of `queue`.
#[must_use]
pub fn nnclr(z: [&[f64]; 2], p: [&[f64]; 2], queue: &[f64], d: usize, tau: f64) -> f64 {
    let n = z[0].len() / d;
    let mut loss = 0.;
    for view in 0..2 {
        let (z, p) = (unit(z[view], d), unit(p[1 - view], d));
        for i in 0..n {
            let near = |a: &&[f64], b: &&[f64]| dot(row(&z, d, i), a).total_cmp(&dot(row(&z, d, i), b));
            let neighbour = queue.chunks_exact(d).max_by(near).expect("a queue with rows");
            let s: Vec<f64> = p.chunks_exact(d).map(|key| dot(neighbour, key)).collect();
            loss -= softmax::log_softmax(&s, n, tau)[i] / (2 * n) as f64;
        }
    }
    loss
}

/// SupCon on two views stacked, `z` `[2 n, d]` with a label for each row: the mean over rows of the mean over its positives.
#[must_use]
pub fn sup_con(z: &[f64], labels: &[u32], d: usize, tau: f64) -> f64 {
    let (z, n) = (unit(z, d), labels.len());
    let mut loss = 0.;
    for i in 0..n {
        let others: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        let s: Vec<f64> = others.iter().map(|&j| dot(row(&z, d, i), row(&z, d, j))).collect();
        let log = softmax::log_softmax(&s, s.len(), tau);
        let positives: Vec<f64> =
            others.iter().zip(&log).filter(|(j, _)| labels[**j] == labels[i]).map(|(_, l)| *l).collect();
        loss -= positives.iter().sum::<f64>() / (positives.len() * n) as f64;
    }
    loss
}
