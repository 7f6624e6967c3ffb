//! Long sums cut into parts: how many, where a kernel writes them, and the pass that adds them up.

use crate::gpu::{Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("matmul/sum_splits.wgsl");
static SUM_SPLITS: Kernel = SOURCE.kernel("sum_splits");

uniforms! {
    struct Uniforms { n: u32, splits: u32, columns: u32, add_bias: u32, relu: u32 }
}

/// The last step for each element of a product before it is stored: `relu(x + bias[column])`, without bias or ReLU where they are
/// not set.
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    pub(super) bias: Option<&'a Tensor>,
    pub(super) relu: bool,
}

impl Epilogue<'_> {
    pub(super) fn is_none(&self) -> bool {
        self.bias.is_none() && !self.relu
    }
}

/// The number of parts that sums over `k` are cut into where a kernel has `groups` workgroups of `invocations` for whole sums:
/// [`Facts::parts`](crate::gpu::Facts::parts), and as many more as it takes to end before
/// [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations), since a kernel's inner loops may make ten iterations for each
/// step of `k`.
pub(super) fn splits(gpu: &Gpu, groups: u64, invocations: u32, k: u64) -> u32 {
    let longest = gpu.info().longest_loop(10) as u64;
    gpu.facts().parts(groups, invocations, k).max(k.div_ceil(longest)) as u32
}

/// The tensor that a kernel of `splits` parts writes: `y` itself, or as many copies of it, `[splits, y.len()]`.
pub(super) fn split_output(op: &str, y: &Tensor, splits: u32) -> Tensor {
    if splits == 1 {
        return y.clone();
    }
    Tensor::alloc(y.gpu(), op, &Shape::new(&[splits as usize, y.len()]), DType::F32)
}

/// Adds up the parts of [`split_output`] in fixed order; nothing is left to do where there is one.
pub(super) fn sum_splits(y: &Tensor, parts: &Tensor, splits: u32) {
    if splits > 1 {
        finish(y, parts, splits, Epilogue::default());
    }
}

/// Adds up `splits` parts, one or more, and applies the epilogue.
pub(super) fn finish(y: &Tensor, parts: &Tensor, splits: u32, epilogue: Epilogue<'_>) {
    let n = y.len() as u32;
    let columns = y.shape().last().map_or(1, |&columns| columns as u32);
    let [add_bias, relu] = [epilogue.bias.is_some(), epilogue.relu].map(u32::from);
    let bias = epilogue.bias.unwrap_or(parts);
    let work = Work::new((parts.bytes() + y.bytes()) as u64, parts.len() as u64);
    let p = Uniforms { n, splits, columns, add_bias, relu };
    y.gpu().run(&SUM_SPLITS, &[y, parts, bias], &p, Grid::items(n), work);
}
