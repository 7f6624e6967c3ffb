//! The rungs of `shaders/conv/` and how each is launched. A further rung is one line in the table.

use super::job::{Done, Job, Pass, SHARE, Sizes, SplitSizes, WholeSizes};
use super::{block, matrix, winograd};
use crate::gpu::{Gpu, Grid, Kernel, Means, Source, source};
use crate::ops::batch_norm::{BatchNormOptions, batch_stats};
use crate::ops::ladder::{Candidates, Family, Ladder, Rung as RungOf};
use crate::ops::layout::{pad_columns, pad_columns_into};
use crate::ops::split_sums::{split_output, splits, sum_splits};
use crate::ops::tune;
use crate::tensor::{DType, Tensor};

/// Convolutions: values, gradients of images, gradients of weights.
pub(in crate::ops) struct Convolutions;

type Rung = RungOf<Convolutions>;

#[rustfmt::skip]
static LADDER: Ladder<Convolutions> = Ladder { family: "conv", rungs: &[
    Rung::new("1_naive", Means::Memory, naive),
    Rung::new("2_register", Means::Registers, register),
    Rung::new("3_workgroup", Means::Workgroup, workgroup),
    Rung::new("4_block", Means::Workgroup, block::launch),
    Rung::new("5_broadcast", Means::Shuffles, broadcast).fits(whole_outputs),
    Rung::new("6_winograd", Means::Registers, winograd::launch).fits(winograd::fits).pays(winograd::pays),
    Rung::new("7_matrix", Means::MatrixUnits, matrix::launch).rounds_to_f16(),
] };

impl Family for Convolutions {
    type Job<'a> = Job<'a>;
    /// Computes `job.result`.
    type Launch = fn(&Job<'_>) -> Done;
    const LADDER: &'static Ladder<Self> = &LADDER;

    fn gpu<'a>(job: &'a Job<'_>) -> &'a Gpu {
        job.gpu()
    }

    fn operands(job: &Job<'_>) -> DType {
        job.operands()
    }

    fn key(job: &Job<'_>) -> Option<String> {
        Some(job.key())
    }

    fn measure(job: &Job<'_>, key: &str, candidates: &Candidates<Self>) -> Option<&'static str> {
        let (lhs, rhs) = (tune::like(job.lhs, 1)?, tune::like(job.rhs, 2)?);
        let result = tune::like(job.result, 3)?;
        let job = Job { lhs: &lhs, rhs: &rhs, result: &result, plus: None, ..*job };
        tune::fastest(key, &candidates.files(), &[&lhs, &rhs], &result, |file| {
            let done = (candidates.rung(file).launch)(&job);
            // Statistics that are wanted and do not come along cost a pass of their own.
            if job.wants_stats && done.stats.is_none() {
                batch_stats(&result, &BatchNormOptions::train());
            }
        })
    }
}

/// Few input channels are filled up to a multiple of four: one would become four times the work, three become four thirds.
fn whole_outputs(job: &Job<'_>) -> bool {
    let Sizes { cin, cout, .. } = job.sizes;
    cout.is_multiple_of(4) && 4 * cin >= 3 * cin.next_multiple_of(4)
}

static NAIVE_SOURCE: Source = source!("conv/1_naive.wgsl");
static NAIVE: [Kernel; 3] = [
    NAIVE_SOURCE.kernel("forward"),
    NAIVE_SOURCE.kernel("input_gradient"),
    NAIVE_SOURCE.kernel("weight_gradient"),
];

fn naive(job: &Job<'_>) -> Done {
    let Sizes { n, oh, ow, .. } = job.sizes;
    // One invocation sums a whole weight gradient's pixels: cut, so that its loops end well under lavapipe's limit.
    let lines = if job.pass == Pass::WeightGradient { n * oh } else { 1 };
    let chunk = lines.min((16_384 / ow).max(1));
    let items = job.result.len() as u64;
    split(job, &NAIVE[job.pass as usize], lines.into(), chunk.into(), SHARE / 16.0, |splits| {
        Grid::items(items * splits)
    })
}

/// Launches a kernel whose sums over `length` terms, or lines of the output, are cut into chunks, and adds the parts up. It reaches a
/// `share` of the rate of multiply-adds.
fn split(
    job: &Job<'_>,
    kernel: &Kernel,
    length: u64,
    chunk: u64,
    share: f64,
    grid: impl FnOnce(u64) -> Grid,
) -> Done {
    let splits = length.div_ceil(chunk);
    let part = split_output("conv2d", job.result, splits as u32);
    let p = |first| SplitSizes { sizes: job.sizes, chunk: chunk as u32, splits: splits as u32, first };
    job.gpu().run_in_parts(kernel, &[&part, job.lhs, job.rhs], p, grid(splits), job.work(), share);
    sum_splits(job.result, &part, splits as u32);
    Done::default()
}

/// Launches a kernel that takes 8 x 8 pixels and `columns` channels a workgroup of 8 invocations. A weight gradient takes `groups`
/// of them, and its sum is cut between lines of the output.
fn by_lines(
    job: &Job<'_>,
    kernel: &Kernel,
    columns: u64,
    groups: u64,
    grid: impl FnOnce(u64) -> Grid,
) -> Done {
    let (gemm, lines) = (job.gemm(), u64::from(job.sizes.n * job.sizes.oh));
    if job.pass == Pass::WeightGradient {
        let wanted = u64::from(splits(job.gpu(), groups, 8, gemm.k));
        return split(job, kernel, lines, lines.div_ceil(wanted), SHARE, grid);
    }
    let grid = Grid::groups(gemm.tiles(64, columns));
    let p = |first| WholeSizes { sizes: job.sizes, first };
    job.gpu().run_in_parts(kernel, &[job.result, job.lhs, job.rhs], p, grid, job.work(), SHARE);
    Done::default()
}

static FORWARD_SOURCE: Source = source!("conv/2_register_forward.wgsl");
static INPUT_SOURCE: Source = source!("conv/2_register_input_gradient.wgsl");
static WEIGHT_SOURCE: Source = source!("conv/2_register_weight_gradient.wgsl");
static REGISTER: [Kernel; 3] = [
    FORWARD_SOURCE.kernel("forward"),
    INPUT_SOURCE.kernel("input_gradient"),
    WEIGHT_SOURCE.kernel("weight_gradient"),
];
static RAGGED: [Kernel; 3] = [
    FORWARD_SOURCE.kernel("forward_ragged"),
    INPUT_SOURCE.kernel("input_gradient_ragged"),
    WEIGHT_SOURCE.kernel("weight_gradient_ragged"),
];

fn register(job: &Job<'_>) -> Done {
    let kernels = if job.sizes.vectors() { &REGISTER } else { &RAGGED };
    let tiles = job.gemm().tiles(8, 8);
    by_lines(job, &kernels[job.pass as usize], 8, tiles.div_ceil(8), |splits| Grid::items(tiles * splits))
}

static WORKGROUP_SOURCE: Source = source!("conv/3_workgroup.wgsl");
static WORKGROUP: [Kernel; 3] = [
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 0.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 1.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 2.0)]),
];

fn workgroup(job: &Job<'_>) -> Done {
    let gemm = job.gemm();
    let groups = gemm.tiles(64, 64);
    let chunk = gemm.k.div_ceil(u64::from(splits(job.gpu(), groups, 128, gemm.k)));
    split(job, &WORKGROUP[job.pass as usize], gemm.k, chunk, SHARE, |splits| Grid::groups(groups * splits))
}

static BROADCAST_FORWARD: Source = source!("conv/5_broadcast_forward.wgsl");
static BROADCAST_INPUT: Source = source!("conv/5_broadcast_input_gradient.wgsl");
static BROADCAST_WEIGHT: Source = source!("conv/5_broadcast_weight_gradient.wgsl");
static BROADCAST: [Kernel; 3] = [
    BROADCAST_FORWARD.kernel("forward"),
    BROADCAST_INPUT.kernel("input_gradient"),
    BROADCAST_WEIGHT.kernel("weight_gradient"),
];
static BROADCAST_8: [Kernel; 3] = [
    BROADCAST_FORWARD.kernel("forward_8"),
    BROADCAST_INPUT.kernel("input_gradient_8"),
    BROADCAST_WEIGHT.kernel("weight_gradient_8"),
];

fn broadcast(job: &Job<'_>) -> Done {
    if job.sizes.vectors() { whole_broadcast(job) } else { filled_broadcast(job) }
}

/// The product with channels of zeros that make the input's a multiple of four; their part of the result is cut off.
fn filled_broadcast(job: &Job<'_>) -> Done {
    let Sizes { n, h, w, cin, cout, kh, kw, .. } = job.sizes;
    let filled = cin.next_multiple_of(4);
    // Channels are the last axis of an image, and the last but one of the weights.
    let image = |x: &Tensor| pad_columns(&x.reshape([(n * h * w) as usize, cin as usize]), filled);
    let weights =
        |x: &Tensor| pad_columns(&x.reshape([(kh * kw) as usize, (cin * cout) as usize]), filled * cout);
    let (lhs, rhs) = match job.pass {
        Pass::Forward => (image(job.lhs), weights(job.rhs)),
        Pass::InputGradient => (job.lhs.clone(), weights(job.rhs)),
        Pass::WeightGradient => (image(job.lhs), job.rhs.clone()),
    };
    let sizes = Sizes { cin: filled, ..job.sizes };
    let run = |result: &Tensor| whole_broadcast(&Job { sizes, result, lhs: &lhs, rhs: &rhs, ..*job });
    let rows = match job.pass {
        Pass::Forward => return run(job.result),
        Pass::InputGradient => [n * h * w, filled],
        Pass::WeightGradient => [kh * kw, filled * cout],
    };
    let result = Tensor::alloc(job.gpu(), "conv2d", &rows.map(|d| d as usize).into(), job.result.dtype());
    run(&result);
    pad_columns_into(job.result, &result, [rows[1], rows[1] / filled * cin]);
    Done::default()
}

fn whole_broadcast(job: &Job<'_>) -> Done {
    let gemm = job.gemm();
    let (kernels, columns, rows) =
        if gemm.columns <= 8 { (&BROADCAST_8, 8, 96) } else { (&BROADCAST, 16, 64) };
    let groups = gemm.tiles(rows, columns);
    by_lines(job, &kernels[job.pass as usize], columns, groups, |splits| Grid::groups(groups * splits))
}
