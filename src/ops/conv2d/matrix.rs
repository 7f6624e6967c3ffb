//! Convolution on matrix units: f16 operands, f32 sums.

use super::job::{Job, Pass, SHARE, Sizes, SplitSizes, product};
use crate::gpu::{Grid, Kernel, Source, source};
use crate::ops::channel_stats::Stats;
use crate::ops::matmul::matrix::{pack, tile, workgroup};
use crate::ops::split_sums::{split_output, splits, sum_splits};

static SOURCE: Source = source!("conv/7_matrix.wgsl");
/// With [`Pass`] as index.
static CONV: [Kernel; 3] = [
    SOURCE.kernel("conv").with(&[("PASS", 0.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]),
    SOURCE.kernel("conv").with(&[("PASS", 1.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]),
    SOURCE.kernel("conv").with(&[("PASS", 2.0), ("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)]),
];

/// Runs one product; operands that are f32 are rounded to f16.
pub(super) fn launch(job: &Job<'_>) -> Option<Stats> {
    let gpu = job.gpu();
    let tile = tile(gpu);
    let Sizes { n, h, w, cin, oh, ow, cout, kh, kw, .. } = job.sizes;
    let padded = |channels: u32| channels.next_multiple_of(4);
    let (rows, columns, k) = match job.pass {
        Pass::Forward => (product(&[n, oh, ow]), cout, product(&[kh, kw, padded(cin)])),
        Pass::InputGradient => (product(&[n, h, w]), cin, product(&[kh, kw, padded(cout)])),
        Pass::WeightGradient => (product(&[kh, kw, padded(cin)]), cout, product(&[n, oh, ow])),
    };
    let side = 8 * tile;
    let groups = rows.div_ceil(u64::from(side)) * u64::from(columns.div_ceil(side));
    let wanted = if job.pass == Pass::WeightGradient { splits(gpu, groups, workgroup(gpu), k) } else { 1 };
    let chunk = k.div_ceil(u64::from(wanted)).next_multiple_of(32) as u32;
    let splits = k.div_ceil(u64::from(chunk)) as u32;

    let ((lhs, _), (rhs, _)) = (pack("conv2d", job.lhs), pack("conv2d", job.rhs));
    let part = split_output("conv2d", job.result, splits);
    let grid = Grid::groups(groups * u64::from(splits));
    let p = |first| SplitSizes { sizes: job.sizes, chunk, splits, first };
    gpu.run_in_parts(&CONV[job.pass as usize], &[&part, &lhs, &rhs], p, grid, job.work(), SHARE);
    sum_splits(job.result, &part, splits);
    None
}
