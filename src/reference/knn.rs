//! Nearest neighbours by dot product, and the weighted vote over them.
//!
//! Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4.

/// The `k` rows of `bank` `[m, d]` with the largest dot product with each row of `queries` `[n, d]`.
///
/// Returns similarities and indices, `[n, k]` each, best first. Equal similarities go to the lower index.
///
/// # Panics
///
/// If `k > m`.
#[must_use]
pub fn knn(queries: &[f64], bank: &[f64], d: usize, k: usize) -> (Vec<f64>, Vec<usize>) {
    assert!(k * d <= bank.len(), "knn: k = {k} of a bank of {} rows", bank.len() / d);
    let (mut similarity, mut index) = (Vec::new(), Vec::new());
    for q in queries.chunks(d) {
        let mut all: Vec<(f64, usize)> =
            bank.chunks(d).map(|b| q.iter().zip(b).map(|(q, b)| q * b).sum()).zip(0..).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (s, i) in &all[..k] {
            similarity.push(*s);
            index.push(*i);
        }
    }
    (similarity, index)
}

/// Class scores `[n, classes]` of neighbours `[n, k]`: the sum of `exp((similarity - 1) / tau)` over those of a class.
///
/// With unit vectors a similarity is at most 1, so no weight overflows at any `tau`.
#[must_use]
pub fn knn_vote(
    similarity: &[f64],
    index: &[usize],
    labels: &[u32],
    k: usize,
    classes: usize,
    tau: f64,
) -> Vec<f64> {
    let mut scores = vec![0.0; similarity.len() / k * classes];
    for (row, (s, i)) in similarity.iter().zip(index).enumerate() {
        scores[row / k * classes + labels[*i] as usize] += ((s - 1.0) / tau).exp();
    }
    scores
}
