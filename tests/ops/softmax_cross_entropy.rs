//! softmax_cross_entropy.
