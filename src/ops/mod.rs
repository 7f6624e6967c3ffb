//! One file an op: shapes, kernels, forward and backward.

use crate::gpu::{AdapterInfo, Gpu, Means};

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
mod tune;
mod unary;

pub use batch_norm::BatchNormOptions;
pub use contrastive::{Contrastive, ContrastiveOutput};
pub use conv2d::{Conv2dOptions, Pair};
pub use softmax_cross_entropy::RowLosses;

/// Which rung of each ladder of kernels an adapter gets: family and file, as in `shaders/<family>/<file>.wgsl`.
///
/// Static, so that the same adapter always runs the same kernels. CPU adapters want tiles in registers and no workgroup
/// memory, GPUs the opposite. Where a rung does not fit a shape, the next of its class does. What
/// [`GpuBuilder::tune`](crate::GpuBuilder::tune) measured goes before this table, and what
/// [`GpuBuilder::kernel`](crate::GpuBuilder::kernel) names before both.
#[must_use]
pub fn ladders(adapter: &AdapterInfo) -> [(&'static str, &'static str); 3] {
    if adapter.facts.prefers(Means::Shuffles) && adapter.lacks(Means::Shuffles).is_none() {
        return [("matmul", "10_broadcast"), ("conv", "8_broadcast"), ("contrastive", "4_blocks")];
    }
    class_ladders(adapter.facts.prefers(Means::Registers))
}

/// The rungs of a class of adapters that run whatever the shape.
const fn class_ladders(registers: bool) -> [(&'static str, &'static str); 3] {
    if registers {
        [("matmul", "9_register"), ("conv", "2_register"), ("contrastive", "4_blocks")]
    } else {
        [("matmul", "8_subgroup"), ("conv", "4_block"), ("contrastive", "3_workgroup")]
    }
}

/// The rung of `family` that runs on `gpu`: the one that was chosen for it, or that of the adapter.
fn rung<'a>(gpu: &'a Gpu, family: &str) -> &'a str {
    gpu.kernel_choice(family).unwrap_or_else(|| of(ladders(gpu.info()), family))
}

/// The rung of `family` for a class of adapters.
fn class_rung(gpu: &Gpu, family: &str) -> &'static str {
    of(class_ladders(gpu.facts().prefers(Means::Registers)), family)
}

fn of(ladders: [(&'static str, &'static str); 3], family: &str) -> &'static str {
    let own = ladders.into_iter().find(|(name, _)| *name == family);
    own.map(|(_, file)| file).expect("a known family")
}

/// The kernel files of `family`, a name of [`ladders`], that run on `gpu`, lowest rung first.
///
/// # Panics
/// If there is no such family.
#[must_use]
pub fn rungs(family: &str, gpu: &Gpu) -> Vec<&'static str> {
    match family {
        "matmul" => matmul::rungs(gpu),
        "contrastive" => contrastive::RUNGS.to_vec(),
        "conv" => conv2d::rungs(gpu),
        _ => panic!("no ladder of kernels named {family}"),
    }
}
