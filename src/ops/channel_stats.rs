//! Statistics of an image's channels that the kernel which made it has taken.

use crate::tensor::Tensor;

/// Statistics of the channels of y `[.., c]`, for strips of `rows` rows (pixels) of it, of which the last may be shorter.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    /// Mean, and sum of squares about that mean, of each strip: `[c, strips, 2]`.
    pub(super) parts: Tensor,
    /// Rows of a strip.
    pub(super) rows: u32,
}
