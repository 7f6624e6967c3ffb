//! Eigenvalues of small symmetric matrices on the CPU, in `f64`.

/// Eigenvalues of a symmetric matrix `[n, n]`, largest first.
///
/// Householder reduction to tridiagonal form, then QL with implicit shifts (Golub & Van Loan, sections 8.3.1 and 8.3.3):
/// 4/3 n^3 multiply-adds, so a few thousand columns are still seconds.
///
/// # Panics
/// If `a` is not `[n, n]`.
#[must_use]
pub(super) fn eigenvalues(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    assert_eq!(a.len(), n * n, "eigenvalues: matrix of {} values for n = {n}", a.len());
    let (mut diagonal, mut off) = tridiagonal(&mut a, n);
    ql(&mut diagonal, &mut off);
    diagonal.sort_by(|x, y| y.total_cmp(x));
    diagonal
}

/// Reduces `a` to tridiagonal form: its diagonal `[n]` and sub-diagonal `[n]` (the last entry is 0).
fn tridiagonal(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut off = vec![0.0; n];
    for k in 0..n.saturating_sub(2) {
        // The reflection H = I - 2 v v^T / v^T v maps column k below the diagonal to (alpha, 0, ..., 0).
        let mut v: Vec<f64> = (k + 1..n).map(|i| a[i * n + k]).collect();
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let alpha = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= alpha;
        let squared = v.iter().map(|x| x * x).sum::<f64>();
        off[k] = alpha;
        if squared == 0.0 {
            continue;
        }
        // A <- H A H on the trailing block: A - v w^T - w v^T with p = 2 A v / v^T v, w = p - (v^T p / v^T v) v.
        let block = |i: usize| (k + 1 + i) * n + k + 1;
        let p: Vec<f64> = (0..v.len())
            .map(|i| {
                let row = &a[block(i)..][..v.len()];
                2.0 / squared * row.iter().zip(&v).map(|(a, v)| a * v).sum::<f64>()
            })
            .collect();
        let share = p.iter().zip(&v).map(|(p, v)| p * v).sum::<f64>() / squared;
        let w: Vec<f64> = p.iter().zip(&v).map(|(p, v)| p - share * v).collect();
        for i in 0..v.len() {
            let (vi, wi) = (v[i], w[i]);
            let row = &mut a[block(i)..][..v.len()];
            for ((a, v), w) in row.iter_mut().zip(&v).zip(&w) {
                *a -= vi * w + wi * v;
            }
        }
    }
    if n >= 2 {
        off[n - 2] = a[(n - 1) * n + n - 2];
    }
    ((0..n).map(|i| a[i * n + i]).collect(), off)
}

/// QL with implicit shifts on a tridiagonal matrix; leaves the eigenvalues in `d`.
fn ql(d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    for l in 0..n {
        // Each eigenvalue takes two or three sweeps; the bound only guards against NaN.
        for _ in 0..100 {
            let small = |m: usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(|&m| small(m)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let r = g.hypot(1.0);
            let mut g = d[m] - d[l] + e[l] / (g + r.copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
}

/// Covariance of the columns of `rows` `[n, d]` (divided by n), and their means.
pub(super) fn covariance(rows: &[f32], d: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (rows.len() / d).max(1) as f64;
    let mut mean = vec![0.0; d];
    for row in rows.chunks(d) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x) / n);
    }
    (gram(rows, &mean, d).into_iter().map(|x| x / n).collect(), mean)
}

/// `(X - shift)^T (X - shift)` of `rows` X `[n, d]`.
pub(super) fn gram(rows: &[f32], shift: &[f64], d: usize) -> Vec<f64> {
    let mut gram = vec![0.0; d * d];
    let mut x = vec![0.0; d];
    for row in rows.chunks(d) {
        x.iter_mut().zip(row).zip(shift).for_each(|((x, v), s)| *x = f64::from(*v) - s);
        for (i, out) in gram.chunks_mut(d).enumerate() {
            let xi = x[i];
            out.iter_mut().zip(&x).for_each(|(g, x)| *g += xi * x);
        }
    }
    gram
}

/// The two leading eigenvectors of a covariance `[d, d]`, by orthogonal iteration from fixed starting vectors.
pub(super) fn leading_axes(covariance: &[f64], d: usize) -> [Vec<f64>; 2] {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let unit = |mut v: Vec<f64>| {
        let norm = dot(&v, &v).sqrt().max(f64::MIN_POSITIVE);
        v.iter_mut().for_each(|x| *x /= norm);
        v
    };
    let mut axes = [
        unit((0..d).map(|i| 1.0 + (i as f64).sin()).collect()),
        unit((0..d).map(|i| (1.7 * i as f64 + 0.3).cos()).collect()),
    ];
    for _ in 0..200 {
        let [a, b] = axes.map(|v| covariance.chunks(d).map(|row| dot(row, &v)).collect::<Vec<f64>>());
        let a = unit(a);
        let along = dot(&a, &b);
        let b = b.iter().zip(&a).map(|(b, a)| b - along * a).collect();
        axes = [a, unit(b)];
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_known_matrices() {
        assert_eq!(eigenvalues(vec![], 0), Vec::<f64>::new());
        assert_eq!(eigenvalues(vec![3.0], 1), [3.0]);
        let two = eigenvalues(vec![2.0, 1.0, 1.0, 2.0], 2);
        assert!((two[0] - 3.0).abs() < 1e-14 && (two[1] - 1.0).abs() < 1e-14);
        // The second-difference matrix: 2 - 2 cos(k pi / (n + 1)).
        for n in [3_usize, 7, 64] {
            let a = (0..n * n).map(|i| match (i / n).abs_diff(i % n) {
                0 => 2.0,
                1 => -1.0,
                _ => 0.0,
            });
            let found = eigenvalues(a.collect(), n);
            for (k, got) in found.iter().enumerate() {
                let want = 2.0 - 2.0 * ((n - k) as f64 * std::f64::consts::PI / (n as f64 + 1.0)).cos();
                assert!((got - want).abs() < 1e-12, "n {n}, k {k}: {got} {want}");
            }
        }
    }

    #[test]
    fn eigenvalues_of_a_dense_matrix_keep_its_trace_and_norm() {
        let n = 33;
        let entry = |i: usize, j: usize| ((i * j + i + j) as f64).sin();
        let a: Vec<f64> = (0..n * n).map(|t| entry(t / n, t % n)).collect();
        let trace: f64 = (0..n).map(|i| entry(i, i)).sum();
        let norm: f64 = a.iter().map(|x| x * x).sum();
        let found = eigenvalues(a, n);
        assert!((found.iter().sum::<f64>() - trace).abs() < 1e-11);
        assert!((found.iter().map(|x| x * x).sum::<f64>() - norm).abs() < 1e-10);
    }

    #[test]
    fn leading_axes_of_a_diagonal() {
        let covariance = [1.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 9.0];
        let [a, b] = leading_axes(&covariance, 3);
        assert!(a[2].abs() > 1.0 - 1e-9 && b[1].abs() > 1.0 - 1e-9);
    }
}
