//! Choosing elements: by a mask, the largest, the index of the largest.

/// `a` where the mask is not 0, else `b`.
#[must_use]
pub fn where_mask(mask: &[u32], a: &[f64], b: &[f64]) -> Vec<f64> {
    mask.iter().zip(a.iter().zip(b)).map(|(&m, (&a, &b))| if m != 0 { a } else { b }).collect()
}

/// Gradients of `a` and `b`: `dy` where each was taken, else 0.
#[must_use]
pub fn where_mask_backward(mask: &[u32], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let zeros = vec![0.0; dy.len()];
    (where_mask(mask, dy, &zeros), where_mask(mask, &zeros, dy))
}

/// The `k` largest of each row of `cols` in falling order, ties to the lower index: values and indices.
#[must_use]
pub fn topk(x: &[f64], cols: usize, k: usize) -> (Vec<f64>, Vec<u32>) {
    let (mut values, mut indices) = (vec![], vec![]);
    for row in x.chunks_exact(cols) {
        let mut order: Vec<usize> = (0..cols).collect();
        order.sort_by(|&i, &j| row[j].total_cmp(&row[i])); // stable: ties stay in index order
        values.extend(order[..k].iter().map(|&i| row[i]));
        indices.extend(order[..k].iter().map(|&i| i as u32));
    }
    (values, indices)
}

/// `dy` where the values came from, else 0.
#[must_use]
pub fn topk_backward(indices: &[u32], cols: usize, k: usize, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; indices.len() / k * cols];
    for (i, &index) in indices.iter().enumerate() {
        dx[i / k * cols + index as usize] = dy[i];
    }
    dx
}

/// Index of the first largest element of each row of `cols`.
#[must_use]
pub fn argmax(x: &[f64], cols: usize) -> Vec<u32> {
    topk(x, cols, 1).1
}
