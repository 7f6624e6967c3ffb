//! Cross-entropy between views, as DINO and SwAV use it.

use crate::tensor::Tensor;

/// Mean over images and over pairs of a global view and another view of `-sum_k targets_k ln softmax(student / tau)_k`.
///
/// `targets` `[2 N, K]` are those of the two global views, without a graph; `student` `[V N, K]` holds the logits of all V
/// views, one after another, the globals first. Each view meets the sum of the targets of the others, so that its
/// log-softmax is taken once.
pub(super) fn cross_entropy(targets: &Tensor, student: &Tensor, tau: f32) -> Tensor {
    let n = targets.shape()[0] / 2;
    let views = student.shape()[0] / n;
    let (first, second) = (targets.slice_rows(0, n), targets.slice_rows(n, n));
    let both = first.add(&second);
    let mut others = vec![&second, &first];
    others.resize(views, &both);
    let pairs = 2 * (views - 1);
    let agreement = student.log_softmax(tau).mul(&Tensor::concat_rows(&others)).sum_all();
    agreement.mul_scalar(-1.0 / (n * pairs) as f32)
}

/// Panics unless `student` is `[V N, K]` and `targets` `[2 N, K]`, V at least 2 and N at least 1.
#[track_caller]
pub(super) fn check(name: &str, targets: &Tensor, student: &Tensor) {
    let (t, s) = (targets.shape(), student.shape());
    let matrices = t.rank() == 2 && s.rank() == 2 && t[1] == s[1] && !targets.is_empty();
    assert!(
        matrices && t[0].is_multiple_of(2) && s[0].is_multiple_of(t[0] / 2) && s[0] >= t[0],
        "{name}: student {s} and targets {t} must be [V N, K] and [2 N, K], V > 1"
    );
}
