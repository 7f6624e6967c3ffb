//! Training or evaluation.

/// The purpose of a forward pass, which decides the statistics that batch normalisation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, and the running ones are updated.
    Train,
    /// Running statistics, nothing is updated.
    Eval,
}
