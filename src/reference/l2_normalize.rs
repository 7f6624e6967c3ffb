//! Rows scaled to unit Euclidean length: `y = x / max(norm, eps)`, as `torch.nn.functional.normalize`.

/// `y` for `x [rows, c]`; all of a row is NaN if one element is.
pub fn forward(x: &[f64], c: usize, eps: f64) -> Vec<f64> {
    let mut y = vec![];
    for row in x.chunks_exact(c) {
        let length = if norm(row) < eps { eps } else { norm(row) };
        y.extend(row.iter().map(|v| v / length));
    }
    y
}

/// `dx = (dy - y sum y dy) / norm`; where `norm < eps` the divisor is a constant and `dx = dy / eps`.
pub fn backward(x: &[f64], c: usize, eps: f64, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![];
    for (row, d) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
        let norm = norm(row);
        if norm < eps {
            dx.extend(d.iter().map(|d| d / eps));
        } else {
            let dot = row.iter().zip(d).map(|(v, d)| v / norm * d).sum::<f64>();
            dx.extend(row.iter().zip(d).map(|(v, d)| (d - v / norm * dot) / norm));
        }
    }
    dx
}

fn norm(row: &[f64]) -> f64 {
    row.iter().map(|v| v * v).sum::<f64>().sqrt()
}
