//! Evaluation of frozen features.

mod knn;
mod linear_probe;
mod metrics;
