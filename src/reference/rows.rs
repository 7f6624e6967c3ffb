//! Rows by index. A tensor is rows of `width` elements.

/// Row `indices[i]` of `x` as row `i`.
#[must_use]
pub fn gather_rows(x: &[f64], width: usize, indices: &[u32]) -> Vec<f64> {
    indices.iter().flat_map(|&row| x[row as usize * width..][..width].to_vec()).collect()
}

/// Each row of `dy` added to the one of `rows` rows it came from.
#[must_use]
pub fn gather_rows_backward(rows: usize, width: usize, indices: &[u32], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; rows * width];
    for (i, &row) in indices.iter().enumerate() {
        for c in 0..width {
            dx[row as usize * width + c] += dy[i * width + c];
        }
    }
    dx
}

/// `x` with row `indices[i]` replaced by row `i` of `rows`, in order.
#[must_use]
pub fn write_rows_at(x: &[f64], width: usize, indices: &[u32], rows: &[f64]) -> Vec<f64> {
    let mut y = x.to_vec();
    for (i, &row) in indices.iter().enumerate() {
        y[row as usize * width..][..width].copy_from_slice(&rows[i * width..][..width]);
    }
    y
}

/// Rows `start..start + count`.
#[must_use]
pub fn slice_rows(x: &[f64], width: usize, start: usize, count: usize) -> Vec<f64> {
    x[start * width..(start + count) * width].to_vec()
}

/// `dy` in rows `start..` of `rows` rows, 0 in the others.
#[must_use]
pub fn slice_rows_backward(rows: usize, width: usize, start: usize, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; rows * width];
    dx[start * width..][..dy.len()].copy_from_slice(dy);
    dx
}
