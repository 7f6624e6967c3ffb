//! One file an op: shapes, kernels, forward and backward.

use crate::gpu::{AdapterInfo, Gpu};

mod batch_norm;
mod binary;
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

/// Which rung of each ladder of kernels an adapter gets: family and file, as in `shaders/<family>/<file>.wgsl`.
///
/// Static, so that the same adapter always runs the same kernels. CPU adapters want tiles in registers and no workgroup
/// memory, GPUs the opposite.
#[must_use]
pub fn ladders(adapter: &AdapterInfo) -> [(&'static str, &'static str); 2] {
    match adapter {
        a if a.shuffles_in_register() => [("matmul", "10_broadcast"), ("conv", "8_broadcast")],
        a if a.is_cpu => [("matmul", "2_register"), ("conv", "2_register")],
        _ => [("matmul", "3_workgroup"), ("conv", "3_workgroup")],
    }
}

/// The rung of `family` that runs on `gpu`: the one that was chosen for it, or that of its class.
#[track_caller]
fn rung<'a>(gpu: &'a Gpu, family: &str) -> &'a str {
    let own = ladders(gpu.info()).into_iter().find(|(name, _)| *name == family);
    let file = gpu.kernel_choice(family).or(own.map(|(_, file)| file)).expect("a known family");
    assert!(
        !file.ends_with("_broadcast") || gpu.info().shuffles_in_register(),
        "shaders/{family}/{file}.wgsl wants a CPU adapter with subgroups of 8"
    );
    file
}
