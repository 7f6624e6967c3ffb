//! The specification of every op: plain loops over `f64` slices.

pub mod augment;
pub mod batch_norm;
pub mod binary;
pub mod contrastive;
pub mod conv2d;
pub mod covariance;
pub mod ema;
pub mod knn;
pub mod l2_normalize;
pub mod layer_norm;
pub mod layout;
pub mod lerp;
pub mod matmul;
pub mod optim;
pub mod philox;
pub mod pool2d;
pub mod reduce;
pub mod rows;
pub mod select;
pub mod softmax;
pub mod softmax_cross_entropy;
pub mod softsign;
pub mod split;
pub mod ssl;
pub mod unary;
