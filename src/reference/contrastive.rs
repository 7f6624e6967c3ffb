//! Contrastive cross-entropy, with the logits written out.
//!
//! Logits `s_ij = q_i . k_j / tau`; the loss of row `i` is `ln sum_j exp(s_ij) - s_i,positive`, over the keys that the row
//! does not leave out: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4.
//! NT-Xent is Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1; the extra
//! positive is He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", eq. 1.

/// What is positive and what is left out.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// Width of a row.
    pub d: usize,
    /// Temperature.
    pub tau: f64,
    /// Key index of each row's positive; not read if there are extra positives.
    pub positive: &'a [usize],
    /// Key index that each row leaves out, if any.
    pub excluded: &'a [Option<usize>],
    /// `[N, d]`: one more candidate a row, its positive.
    pub extra: Option<&'a [f64]>,
}

/// Values of the loss.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Mean over rows.
    pub loss: f64,
    /// Loss of each row.
    pub row_losses: Vec<f64>,
    /// Log-sum-exp of each row.
    pub lse: Vec<f64>,
}

/// Gradients of the mean loss.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// Of the queries `[N, d]`.
    pub queries: Vec<f64>,
    /// Of the keys `[M, d]`.
    pub keys: Vec<f64>,
    /// Of the extra positives `[N, d]`; empty without them.
    pub extra: Vec<f64>,
}

/// Logits of row `i`, the extra positive last. A key that is left out has none.
fn logits(q: &[f64], k: &[f64], i: usize, spec: &Spec<'_>) -> Vec<Option<f64>> {
    let d = spec.d;
    let row = &q[i * d..(i + 1) * d];
    let dot = |key: &[f64]| row.iter().zip(key).map(|(a, b)| a * b).sum::<f64>() / spec.tau;
    let keys = k.chunks_exact(d).enumerate();
    let mut s: Vec<Option<f64>> =
        keys.map(|(j, key)| (spec.excluded[i] != Some(j)).then(|| dot(key))).collect();
    s.extend(spec.extra.map(|e| Some(dot(&e[i * d..(i + 1) * d]))));
    s
}

/// Of a row's logits the maximum, the sum of `exp(s - maximum)`, and the part of it that is not the positive's. Kept apart, since
/// a row that is all but certain would lose its digits in one log-sum-exp, and in `softmax - 1`.
struct Softmax {
    top: f64,
    sum: f64,
    wrong: f64,
}

fn softmax(s: &[Option<f64>], aim: usize) -> Softmax {
    let top = s.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp = |(j, s): (usize, &Option<f64>)| s.filter(|_| j != aim).map(|s| (s - top).exp());
    let wrong = s.iter().enumerate().filter_map(exp).sum::<f64>();
    let right = s[aim].expect("the positive is not left out");
    Softmax { top, sum: wrong + (right - top).exp(), wrong }
}

/// Index of row `i`'s positive among its logits.
fn positive(i: usize, candidates: usize, spec: &Spec<'_>) -> usize {
    if spec.extra.is_some() { candidates - 1 } else { spec.positive[i] }
}

/// Loss of queries `[N, d]` against keys `[M, d]`.
///
/// # Panics
/// If a row leaves out its positive.
#[must_use]
pub fn contrastive(q: &[f64], k: &[f64], spec: &Spec<'_>) -> Loss {
    let n = q.len() / spec.d;
    let mut loss = Loss { loss: 0.0, row_losses: vec![], lse: vec![] };
    for i in 0..n {
        let s = logits(q, k, i, spec);
        let aim = positive(i, s.len(), spec);
        let Softmax { top, sum, wrong } = softmax(&s, aim);
        let under = top - s[aim].expect("the positive is not left out");
        loss.row_losses.push(if under == 0.0 { wrong.ln_1p() } else { under + sum.ln() });
        loss.lse.push(top + sum.ln());
    }
    loss.loss = loss.row_losses.iter().sum::<f64>() / n as f64;
    loss
}

/// Gradients of `dloss` times the mean loss: `ds_ij = (softmax_ij - [j is positive]) / N`, carried to the rows.
///
/// # Panics
/// If a row leaves out its positive.
#[must_use]
pub fn contrastive_backward(q: &[f64], k: &[f64], spec: &Spec<'_>, dloss: f64) -> Gradients {
    let (d, n) = (spec.d, q.len() / spec.d);
    let m = k.len() / d;
    let mut g = Gradients {
        queries: vec![0.0; q.len()],
        keys: vec![0.0; k.len()],
        extra: vec![0.0; spec.extra.map_or(0, <[f64]>::len)],
    };
    for i in 0..n {
        let s = logits(q, k, i, spec);
        let aim = positive(i, s.len(), spec);
        let Softmax { top, sum, wrong } = softmax(&s, aim);
        for (j, s) in s.iter().enumerate() {
            let Some(s) = s else { continue };
            let weight = if j == aim { -wrong / sum } else { (s - top).exp() / sum };
            let ds = dloss / (n as f64 * spec.tau) * weight;
            for c in 0..d {
                let (key, dkey) = match spec.extra {
                    Some(extra) if j == m => (extra[i * d + c], &mut g.extra[i * d + c]),
                    _ => (k[j * d + c], &mut g.keys[j * d + c]),
                };
                g.queries[i * d + c] += ds * key;
                *dkey += ds * q[i * d + c];
            }
        }
    }
    g
}
