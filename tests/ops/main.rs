//! Every op against its specification: values, gradients, ragged shapes.
#[path = "../cases/mod.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/files.rs"]
mod files;

use common::check;

#[cfg(feature = "data")]
mod augment;
mod batch_norm;
mod binary;
mod classes;
mod contrastive;
mod contrastive_digits;
mod contrastive_matrix;
mod conv2d;
mod conv2d_matrix;
mod covariance;
mod ema;
mod emulated;
mod folding;
mod half;
mod knn;
mod l2_normalize;
mod layer_norm;
mod layout;
mod lerp;
mod matmul;
mod matmul_matrix;
mod optim;
mod parts;
mod philox;
mod pool2d;
mod reduce;
mod rows;
mod scaler;
mod select;
mod softmax;
mod softmax_cross_entropy;
mod softsign;
mod specification;
mod unary;
