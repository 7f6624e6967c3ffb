//! contrastive.
