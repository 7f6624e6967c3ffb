//! Measures of an embedding: does it spread, does it agree over views, how many dimensions does it use.

use super::eigen;
use crate::error::Result;
use crate::tensor::Tensor;

/// Rows that the pairwise and spectral measures use: a sample of this size settles them, and all pairs of it are one small
/// matrix.
const SAMPLE: usize = 2048;

fn sample(z: &Tensor) -> Tensor {
    z.stop_gradient().slice_rows(0, SAMPLE.min(z.shape()[0]))
}

/// Mean over dimensions of the standard deviation of the l2-normalised rows of `z` `[n, d]`.
///
/// `1 / sqrt(d)` for rows spread evenly over the sphere, 0 for a collapsed embedding (Chen & He 2021, "Exploring Simple
/// Siamese Representation Learning", section 4.1).
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If `z` is not a matrix.
#[track_caller]
pub fn embedding_std(z: &Tensor) -> Result<f64> {
    let d = z.shape()[1];
    let (covariance, _) = eigen::covariance(&z.l2_normalize().to_vec()?, d);
    Ok((0..d).map(|i| covariance[i * d + i].max(0.0).sqrt()).sum::<f64>() / d as f64)
}

/// [`embedding_std`] of a batch as a scalar on the device, for a loop that does not wait.
///
/// # Panics
/// If `z` is not a matrix.
#[track_caller]
#[must_use]
pub fn batch_std(z: &Tensor) -> Tensor {
    let unit = z.stop_gradient().l2_normalize();
    unit.sub(&unit.mean(&[0])).square().mean(&[0]).sqrt().mean_all()
}

/// Mean squared distance of positive pairs: row `i` of `a` and of `b`, `[n, d]` each, l2-normalised here.
///
/// 0 if the views agree, 2 if they know nothing of each other. Wang & Isola 2020, "Understanding Contrastive Representation
/// Learning through Alignment and Uniformity on the Hypersphere", eq. 4 with alpha = 2.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn alignment(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.shape(), b.shape(), "alignment: two shapes");
    let difference = a.stop_gradient().l2_normalize().sub(&b.stop_gradient().l2_normalize());
    Ok(f64::from(difference.square().sum_all().item()?) / a.shape()[0] as f64)
}

/// Logarithm of the mean of `exp(-2 |x - y|^2)` over pairs of different rows of `z` `[n, d]`, l2-normalised here, of which
/// the first 2048 are used.
///
/// 0 for a collapsed embedding, near -4 for many dimensions used evenly. Wang & Isola 2020, eq. 5 with t = 2.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If `z` is not a matrix.
#[track_caller]
pub fn uniformity(z: &Tensor) -> Result<f64> {
    let z = sample(z).l2_normalize();
    let n = z.shape()[0] as f64;
    // On unit vectors -2 |x - y|^2 = 4 (x.y - 1). One sum a row, so that the total is added in f64.
    let rows = z.matmul_nt(&z).affine(4.0, -4.0).exp().sum(&[1]).to_vec()?;
    let own = z.square().sum(&[1]).affine(4.0, -4.0).exp().to_vec()?;
    let pairs: f64 = rows.iter().zip(&own).map(|(row, own)| f64::from(*row) - f64::from(*own)).sum();
    Ok((pairs / (n * (n - 1.0))).ln())
}

/// Effective rank of the rows of `z` `[n, d]`: the exponential of the entropy of its singular values over their sum.
///
/// Between 1 and min(n, d). As in the paper the rows are neither centred nor normalised; the first 2048 are used.
/// Garrido et al. 2023, "RankMe: Assessing the downstream performance of pretrained self-supervised representations by their
/// rank", eq. 1.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If `z` is not a matrix.
#[track_caller]
pub fn rankme(z: &Tensor) -> Result<f64> {
    let d = z.shape()[1];
    let rows = sample(z).to_vec()?;
    let values = eigen::eigenvalues(eigen::gram(&rows, &vec![0.0; d], d), d);
    let singular: Vec<f64> = values.iter().map(|v| v.max(0.0).sqrt()).collect();
    let sum = singular.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let entropy = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    Ok(singular.iter().map(|s| entropy(s / sum)).sum::<f64>().exp())
}

/// Coordinates of the rows of `x` `[n, d]` on their first two principal axes.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If `x` is not a matrix.
#[track_caller]
pub fn principal_plane(x: &Tensor) -> Result<Vec<(f64, f64)>> {
    let d = x.shape()[1];
    let rows = x.to_vec()?;
    let (covariance, mean) = eigen::covariance(&rows, d);
    let [a, b] = eigen::leading_axes(&covariance, d);
    let along = |row: &[f32], axis: &[f64]| {
        row.iter().zip(&mean).zip(axis).map(|((x, mean), axis)| (f64::from(*x) - mean) * axis).sum::<f64>()
    };
    Ok(rows.chunks(d).map(|row| (along(row, &a), along(row, &b))).collect())
}
