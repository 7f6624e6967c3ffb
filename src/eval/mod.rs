//! Evaluation of frozen features: two accuracies, and measures of how an embedding uses its space.
//!
//! Accuracies ([`knn_accuracy`], [`linear_probe`]) are for an encoder's pooled output; a projector's output is made to
//! forget what its loss is invariant to, and is never used for them. The measures ([`embedding_std`], [`alignment`],
//! [`uniformity`], [`rankme`]) are for embeddings, where collapse shows first.

#![cfg(not(target_family = "wasm"))] // every measure reads its result

mod accuracy;
mod eigen;
mod knn;
mod linear_probe;
mod metrics;
mod neighbours;

pub use accuracy::{accuracy, class_means};
pub use knn::{Knn, knn_accuracy};
pub use linear_probe::{FittedProbe, LinearProbe, linear_probe};
pub use metrics::{alignment, batch_std, embedding_std, principal_plane, rankme, uniformity};
pub use neighbours::{Neighbour, neighbours};
