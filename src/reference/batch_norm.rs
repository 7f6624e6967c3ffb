//! batch_norm.
