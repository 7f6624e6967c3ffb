//! Matrix products. `a` and `b` are row-major, batches are called one by one.

/// `C[i, j] = sum_l A[i, l] B[l, j]` for A `(m, k)`, B `(k, n)`.
#[must_use]
pub fn matmul(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        }
    }
    c
}

/// Transpose of a `(rows, columns)` matrix.
#[must_use]
pub fn transpose(a: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    assert_eq!(a.len(), rows * columns);
    (0..rows * columns).map(|at| a[at % rows * columns + at / rows]).collect()
}

/// `(dA, dB)` of [`matmul`]: `dA = dC Bᵀ`, `dB = Aᵀ dC`.
#[must_use]
pub fn matmul_backward(a: &[f64], b: &[f64], dc: &[f64], [m, n, k]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    (matmul(dc, &transpose(b, k, n), [m, k, n]), matmul(&transpose(a, m, k), dc, [k, n, m]))
}

/// A Bᵀ for A `(m, k)`, B `(n, k)`.
#[must_use]
pub fn matmul_nt(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    matmul(a, &transpose(b, n, k), [m, n, k])
}

/// `(dA, dB)` of [`matmul_nt`].
#[must_use]
pub fn matmul_nt_backward(a: &[f64], b: &[f64], dc: &[f64], [m, n, k]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let (da, dbt) = matmul_backward(a, &transpose(b, n, k), dc, [m, n, k]);
    (da, transpose(&dbt, k, n))
}

/// Aᵀ B for A `(k, m)`, B `(k, n)`.
#[must_use]
pub fn matmul_tn(a: &[f64], b: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    matmul(&transpose(a, k, m), b, [m, n, k])
}

/// `(dA, dB)` of [`matmul_tn`].
#[must_use]
pub fn matmul_tn_backward(a: &[f64], b: &[f64], dc: &[f64], [m, n, k]: [usize; 3]) -> (Vec<f64>, Vec<f64>) {
    let (dat, db) = matmul_backward(&transpose(a, k, m), b, dc, [m, n, k]);
    (transpose(&dat, m, k), db)
}

/// `y[i, j] = sum_l X[i, l] W[l, j] + bias[j]` for X `(m, k)`, W `(k, n)`; with `relu`, 0 where that is negative.
#[must_use]
pub fn linear(x: &[f64], w: &[f64], bias: &[f64], relu: bool, [m, n, k]: [usize; 3]) -> Vec<f64> {
    let sums = matmul(x, w, [m, n, k]);
    let activate = |z: f64| if relu && z < 0.0 { 0.0 } else { z };
    sums.iter().enumerate().map(|(at, z)| activate(z + bias[at % n])).collect()
}

/// `(dX, dW, dbias)` of [`linear`]: those of [`matmul`], and the columns of dy added up, all with dy 0 where the ReLU was.
#[must_use]
pub fn linear_backward(
    x: &[f64],
    w: &[f64],
    bias: &[f64],
    dy: &[f64],
    relu: bool,
    [m, n, k]: [usize; 3],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let y = linear(x, w, bias, relu, [m, n, k]);
    let dz: Vec<f64> = dy.iter().zip(&y).map(|(&dy, &y)| if relu && y <= 0.0 { 0.0 } else { dy }).collect();
    let (dx, dw) = matmul_backward(x, w, &dz, [m, n, k]);
    (dx, dw, (0..n).map(|j| (0..m).map(|i| dz[i * n + j]).sum()).collect())
}
