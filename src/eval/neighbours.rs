//! The nearest rows of chosen rows of one set.

use crate::error::Result;
use crate::tensor::Tensor;

/// A row near another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Index of the row.
    pub index: u32,
    /// Cosine with the other.
    pub cosine: f32,
}

/// The `k` nearest rows by cosine of each of the rows `queries` of `rows` `[n, d]`, nearest first, itself left out. Memory
/// grows with the number of queries times `k`, not with all pairs ([`Tensor::knn`]).
///
/// # Errors
/// Out of memory, or an earlier error of the device.
///
/// # Panics
/// If `rows` is no matrix of more than `k` rows, `k` is 0, or a query is out of range.
#[track_caller]
pub fn neighbours(rows: &Tensor, queries: &[u32], k: usize) -> Result<Vec<Vec<Neighbour>>> {
    let n = rows.shape()[0];
    assert!((1..n).contains(&k), "neighbours: k = {k} of {n} rows");
    assert!(queries.iter().all(|&q| (q as usize) < n), "neighbours: a query out of {n} rows");
    if queries.is_empty() {
        return Ok(vec![]);
    }
    let unit = rows.stop_gradient().l2_normalize();
    let asked = unit.gather_rows(&rows.gpu().tensor_u32(queries, [queries.len()])?);
    let (cosine, index) = asked.knn(&unit, k + 1);
    let (cosine, index) = (cosine.to_vec()?, index.to_vec_u32()?);
    let found = queries.iter().zip(index.chunks(k + 1).zip(cosine.chunks(k + 1)));
    let near = found.map(|(&query, (index, cosine))| {
        let near = index.iter().zip(cosine).map(|(&index, &cosine)| Neighbour { index, cosine });
        near.filter(|near| near.index != query && near.index != u32::MAX).take(k).collect()
    });
    Ok(near.collect())
}
