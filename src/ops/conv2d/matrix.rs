//! Convolution on matrix units: f16 operands, f32 sums.

use super::job::{Job, Pass, SHARE, Sizes, SplitSizes};
use crate::gpu::{Grid, Kernel, Source, source, uniforms};
use crate::ops::channel_stats::Stats;
use crate::ops::matmul::matrix::{Block, by_block, pack, pack_rows, tile};
use crate::ops::split_sums::{split_output, splits, sum_splits};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("conv/7_matrix.wgsl");
/// With [`Pass`] as index, and last those of forward passes with statistics.
static CONV: [[[Kernel; 2]; 3]; 4] = [
    by_block(&SOURCE, "conv", &[("PASS", 0.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]),
    by_block(&SOURCE, "conv", &[("PASS", 1.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]),
    by_block(&SOURCE, "conv", &[("PASS", 2.0), ("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)]),
    by_block(&SOURCE, "conv", &[("PASS", 0.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("STATS", 1.0)]),
];

uniforms! {
    /// `strips`: of the statistics that are wanted, or 0.
    struct MatrixSizes { split: SplitSizes, strips: u32 }
}

/// The weights `[KH, KW, Cin, Cout]` with both kinds of channels padded.
fn pack_weights(w: &Tensor, sizes: &Sizes) -> Tensor {
    let Sizes { kh, kw, cin, cout, .. } = *sizes;
    let (w, columns) = pack("conv2d", w);
    debug_assert_eq!(columns, cout.next_multiple_of(8));
    pack_rows("conv2d", &w, [kh * kw, cin * columns, cin.next_multiple_of(8) * columns])
}

/// Runs one product; operands that are f32 are rounded to f16.
pub(super) fn launch(job: &Job<'_>) -> Option<Stats> {
    let gpu = job.gpu();
    let (lhs, _) = pack("conv2d", job.lhs);
    let rhs = match job.pass {
        Pass::WeightGradient => pack("conv2d", job.rhs).0,
        Pass::Forward | Pass::InputGradient => pack_weights(job.rhs, &job.sizes),
    };
    // The product of the padded channels.
    let Sizes { cin, cout, .. } = job.sizes;
    let [padded_cin, padded_cout] = [cin, cout].map(|channels| channels.next_multiple_of(8));
    let mut gemm = job.gemm();
    match job.pass {
        Pass::Forward => gemm.k = gemm.k / u64::from(cin) * u64::from(padded_cin),
        Pass::InputGradient => gemm.k = gemm.k / u64::from(cout) * u64::from(padded_cout),
        Pass::WeightGradient => gemm.rows = gemm.rows / u64::from(cin) * u64::from(padded_cin),
    }
    // The smallest would bring more pieces an invocation than registers hold on AMD's GPUs (make isa).
    let block = Block::of(&Block::ALL[..2], tile(gpu), gemm.rows, gemm.columns);
    let [rows, columns] = block.sides(tile(gpu));
    let groups = gemm.tiles(rows.into(), columns.into());
    let wanted = match job.pass {
        Pass::WeightGradient => splits(gpu, groups, block.invocations(gpu), gemm.k),
        Pass::Forward | Pass::InputGradient => 1,
    };
    let chunk = gemm.k.div_ceil(u64::from(wanted)).next_multiple_of(32) as u32;
    let splits = gemm.k.div_ceil(u64::from(chunk)) as u32;

    // A strip of statistics is the rows of a block.
    let with_stats = job.pass == Pass::Forward && job.wants_stats;
    let strips = if with_stats { gemm.rows.div_ceil(rows.into()) as u32 } else { 0 };
    let shape = [gemm.columns as usize, strips.max(1) as usize, 2];
    let stats = Tensor::alloc(gpu, "conv2d", &shape.into(), DType::F32);
    let part = split_output("conv2d", job.result, splits);
    let kernels = &CONV[if with_stats { 3 } else { job.pass as usize }];
    let kernel = &kernels[block as usize][usize::from(!gemm.columns.is_multiple_of(4))];
    let p = |first| MatrixSizes { split: SplitSizes { sizes: job.sizes, chunk, splits, first }, strips };
    let grid = Grid::groups(groups * u64::from(splits));
    gpu.run_in_parts(kernel, &[&part, &stats, &lhs, &rhs], p, grid, job.work(), SHARE);
    sum_splits(job.result, &part, splits);
    with_stats.then_some(Stats { parts: stats, rows })
}
