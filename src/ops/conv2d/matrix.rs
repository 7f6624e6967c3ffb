//! Convolution on matrix units: f16 operands, f32 sums.

use super::job::{Gemm, Job, Pass, SHARE, Sizes, SplitSizes};
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
    debug_assert_eq!(columns, padded(cout));
    pack_rows("conv2d", &w, [kh * kw, cin * columns, padded(cin) * columns])
}

/// Channels as the kernel sees them: eight neighbours share a tap.
const fn padded(channels: u32) -> u32 {
    channels.next_multiple_of(8)
}

/// The GEMM that the kernel computes, and in which blocks.
fn plan(sizes: &Sizes, pass: Pass, tile: u32) -> (Gemm, Block) {
    let Sizes { cin, cout, .. } = *sizes;
    let gemm = match pass {
        Pass::Forward | Pass::WeightGradient => Sizes { cin: padded(cin), ..*sizes }.gemm(pass),
        Pass::InputGradient => Sizes { cout: padded(cout), ..*sizes }.gemm(pass),
    };
    // The smallest block would bring more pieces an invocation than registers hold on AMD's GPUs (make isa).
    (gemm, Block::of(&Block::ALL[..2], tile, gemm.rows, gemm.columns))
}

/// Runs one product; operands that are f32 are rounded to f16.
pub(super) fn launch(job: &Job<'_>) -> Option<Stats> {
    let gpu = job.gpu();
    let (lhs, _) = pack("conv2d", job.lhs);
    let rhs = match job.pass {
        Pass::WeightGradient => pack("conv2d", job.rhs).0,
        Pass::Forward | Pass::InputGradient => pack_weights(job.rhs, &job.sizes),
    };
    let (gemm, block) = plan(&job.sizes, job.pass, tile(gpu));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiply-adds of the matrix units over those of the definition, in every convolution of a ResNet-18 for images of 32 x 32:
    /// what blocks, steps of k and padded channels reach over the product.
    #[test]
    fn little_is_multiplied_in_vain() {
        let conv = |count: u64, side: u32, cin: u32, cout: u32, kernel: u32, stride: u32| {
            let out = side / stride;
            let pad = kernel / 2;
            let (kh, kw, sh, sw, ph, pw) = (kernel, kernel, stride, stride, pad, pad);
            (count, Sizes { n: 1024, h: side, w: side, cin, oh: out, ow: out, cout, kh, kw, sh, sw, ph, pw })
        };
        let mut network = vec![conv(1, 32, 3, 64, 3, 1), conv(4, 32, 64, 64, 3, 1)];
        for stage in 0..3 {
            let (side, cin) = (32 >> stage, 64 << stage);
            network.push(conv(1, side, cin, 2 * cin, 3, 2));
            network.push(conv(1, side, cin, 2 * cin, 1, 2));
            network.push(conv(3, side / 2, 2 * cin, 2 * cin, 3, 1));
        }
        assert_eq!(network.iter().map(|(count, _)| count).sum::<u64>(), 20);
        for (pass, most) in [(Pass::Forward, 1.02), (Pass::InputGradient, 1.0), (Pass::WeightGradient, 1.05)]
        {
            let (mut made, mut useful) = (0, 0);
            for (count, sizes) in &network {
                let first = sizes.cin == 3;
                if first && pass == Pass::InputGradient {
                    continue; // images have no gradient
                }
                let (gemm, block) = plan(sizes, pass, 16);
                let [rows, columns] = block.sides(16).map(u64::from);
                // Terms of all classes together: of an input gradient, those of each class's own taps.
                let Sizes { n, oh, ow, cin, cout, kh, kw, .. } = *sizes;
                let terms = match pass {
                    Pass::InputGradient => u64::from(kh * kw * padded(cout)),
                    Pass::Forward | Pass::WeightGradient => gemm.k.next_multiple_of(32),
                };
                made += count * gemm.tiles(rows, columns) / gemm.classes * rows * columns * terms;
                useful += count * [n, oh, ow, cin, cout, kh, kw].map(u64::from).iter().product::<u64>();
            }
            let share = made as f64 / useful as f64;
            assert!((1.0..=most).contains(&share), "{pass:?}: {share}");
        }
    }
}
