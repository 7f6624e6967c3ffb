//! sgd.
