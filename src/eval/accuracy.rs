//! Accuracy of scores, and the simplest classifier: the mean of each class.

use crate::error::Result;
use crate::tensor::Tensor;

/// Rows whose one-hot labels are on the device at once.
const STRIP: usize = 4096;

/// Share of the rows of `scores` `[n, classes]` that are largest at their label; the first of equal scores counts.
///
/// # Errors
/// The device's first error.
///
/// # Panics
/// If there is not one label a row.
#[track_caller]
pub fn accuracy(scores: &Tensor, labels: &[u32]) -> Result<f64> {
    assert_eq!(scores.shape()[0], labels.len(), "accuracy: rows and labels");
    let found = scores.argmax().to_vec_u32()?;
    let right = found.iter().zip(labels).filter(|(found, label)| found == label).count();
    Ok(right as f64 / labels.len() as f64)
}

/// The mean row of each class, scaled to unit length: `[classes, d]` of `rows` `[n, d]`; 0 for a class without rows.
///
/// As weights of a linear layer on unit rows they classify by the nearest class mean, without a step of training: the
/// prototypes of Snell et al. 2017, "Prototypical Networks for Few-shot Learning", eq. 1, by cosine. Wu et al. 2018 learn
/// the rows as the weights of a classifier of images; their class means are those of a classifier of classes.
///
/// # Errors
/// Out of memory, or an earlier error of the device.
///
/// # Panics
/// If there is not one label below `classes` a row.
#[track_caller]
pub fn class_means(rows: &Tensor, labels: &[u32], classes: usize) -> Result<Tensor> {
    let (n, d) = (rows.shape()[0], rows.shape()[1]);
    assert_eq!(n, labels.len(), "class_means: rows and labels");
    let mut sums = rows.gpu().zeros([classes, d])?;
    for (strip, labels) in labels.chunks(STRIP).enumerate() {
        let mut one_hot = vec![0.0; labels.len() * classes];
        for (i, &label) in labels.iter().enumerate() {
            assert!((label as usize) < classes, "class_means: label {label} of {classes} classes");
            one_hot[i * classes + label as usize] = 1.0;
        }
        let one_hot = rows.gpu().tensor(&one_hot, [labels.len(), classes])?;
        sums = sums.add(&one_hot.matmul_tn(&rows.slice_rows(strip * STRIP, labels.len())));
    }
    Ok(sums.l2_normalize()) // the length of a sum is no matter
}
