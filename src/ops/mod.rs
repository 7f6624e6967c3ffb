//! One file an op: shapes, kernels, forward and backward.

mod batch_norm;
mod binary;
mod bootstrap;
mod contrastive;
mod conv2d;
mod covariance;
mod knn;
mod l2_normalize;
mod layer_norm;
mod layout;
mod lerp;
mod matmul;
mod pool2d;
mod reduce;
mod row_kernel;
mod rows;
mod select;
mod softmax;
mod softmax_cross_entropy;
mod strips;
mod unary;

pub use batch_norm::BatchNormOptions;
pub use contrastive::{Contrastive, ContrastiveOutput};
pub use conv2d::{Conv2dOptions, Pair};
pub use softmax_cross_entropy::RowLosses;
