//! Transposition.

/// `(batch, rows, cols)` to `(batch, cols, rows)`. Its gradient is itself with `rows` and `cols` exchanged.
#[must_use]
pub fn transpose(x: &[f64], batch: usize, rows: usize, cols: usize) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for b in 0..batch {
        for i in 0..rows {
            for j in 0..cols {
                y[(b * cols + j) * rows + i] = x[(b * rows + i) * cols + j];
            }
        }
    }
    y
}
