//! One file an op: shapes, kernels, forward and backward.

use crate::gpu::{AdapterInfo, Gpu};
use crate::tensor::DType;

mod batch_norm;
mod binary;
mod channel_stats;
mod contrastive;
mod conv2d;
mod covariance;
mod elementwise;
mod knn;
mod l2_normalize;
mod ladder;
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
mod softsign;
mod split_sums;
mod strips;
mod tune;
mod unary;

use contrastive::ladder::Losses;
use conv2d::ladder::Convolutions;
use ladder::Family;
use matmul::ladder::Products;

pub use batch_norm::BatchNormOptions;
pub use contrastive::{Contrastive, ContrastiveOutput};
pub use conv2d::{Conv2dOptions, Pair};
pub use softmax_cross_entropy::RowLosses;

/// The rung of each ladder of kernels that an adapter usually gets: family and file, as in `shaders/<family>/<file>.wgsl`.
///
/// It follows from the adapter's [`Facts`](crate::gpu::Facts), so that the same adapter always runs the same kernels. CPU adapters
/// want tiles in registers and no workgroup memory, GPUs the opposite. A job that a rung does not compute goes to the next below
/// it, and some rungs are for jobs of certain shapes or types alone. A rung that
/// [`GpuBuilder::tune`](crate::GpuBuilder::tune) measured goes before this table, and one that
/// [`GpuBuilder::kernel`](crate::GpuBuilder::kernel) names before both.
#[must_use]
pub fn ladders(adapter: &AdapterInfo) -> [(&'static str, &'static str); 3] {
    [
        (Products::LADDER.family, Products::LADDER.usual(adapter)),
        (Convolutions::LADDER.family, Convolutions::LADDER.usual(adapter)),
        (Losses::LADDER.family, Losses::LADDER.usual(adapter)),
    ]
}

/// The kernel files of `family`, a name of [`ladders`], that `gpu` runs for operands of a float type, lowest rung first: those that
/// multiply them as they are.
///
/// # Panics
/// If there is no such family.
#[must_use]
pub fn rungs(family: &str, gpu: &Gpu, operands: DType) -> Vec<&'static str> {
    match family {
        "matmul" => Products::LADDER.files(gpu.info(), operands),
        "conv" => Convolutions::LADDER.files(gpu.info(), operands),
        "contrastive" => Losses::LADDER.files(gpu.info(), operands),
        _ => panic!("no ladder of kernels named {family}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Convolutions, Family, Losses, Products};
    use crate::gpu::FAMILIES;

    /// The files under `shaders/`, by which names are checked when a device opens, are those of the ladders.
    #[test]
    fn every_rung_has_its_file_and_every_file_its_rung() {
        let of = |family: &str| FAMILIES.iter().find(|(known, _)| *known == family).unwrap().1.to_vec();
        assert_eq!(Products::LADDER.all(), of("matmul"));
        assert_eq!(Convolutions::LADDER.all(), of("conv"));
        assert_eq!(Losses::LADDER.all(), of("contrastive"));
        assert_eq!(FAMILIES.len(), 3);
    }
}
