//! The rungs of `shaders/conv/`: what each needs, and how it is launched. A further rung is one entry in [`RUNGS`].

use super::{Job, Pass, Sizes, Stats, block, winograd};
use crate::gpu::{Gpu, Grid, Kernel, Means, Source};
use crate::ops::batch_norm::{BatchNormOptions, batch_stats};
use crate::ops::layout::{to_width, write_width};
use crate::ops::matmul::{matrix, split_output, splits, sum_splits};
use crate::ops::tune;
use crate::tensor::Tensor;

/// A way to run the three products.
pub(super) struct Rung {
    /// `shaders/conv/<file>.wgsl`, or `<file>_forward.wgsl` and its two siblings.
    pub(super) file: &'static str,
    /// What it needs of the adapter.
    pub(super) adapter: fn(&Gpu) -> bool,
    /// What it needs of the product; where it does not fit, the rung of the adapter's class runs instead.
    pub(super) fits: fn(&Job<'_>) -> bool,
    /// Computes `job.result`; also the statistics of its channels, if they are wanted and this is where they are cheap.
    pub(super) launch: fn(&Job<'_>) -> Option<Stats>,
}

/// Every rung, lowest first.
pub(super) static RUNGS: &[Rung] = &[
    Rung { file: "1_naive", adapter: any_adapter, fits: any_job, launch: naive },
    Rung { file: "2_register", adapter: any_adapter, fits: any_job, launch: register },
    Rung { file: "3_workgroup", adapter: any_adapter, fits: any_job, launch: workgroup },
    Rung { file: "4_block", adapter: any_adapter, fits: any_job, launch: block::launch },
    Rung { file: "5_winograd", adapter: any_adapter, fits: winograd::fits, launch: winograd::launch },
    Rung { file: "8_broadcast", adapter: shuffles, fits: whole_outputs, launch: broadcast },
];

fn any_adapter(_: &Gpu) -> bool {
    true
}

fn any_job(_: &Job<'_>) -> bool {
    true
}

fn shuffles(gpu: &Gpu) -> bool {
    gpu.info().lacks(Means::Shuffles).is_none()
}

/// Few input channels are filled up to a multiple of four: one would become four times the work, three become four thirds.
fn whole_outputs(job: &Job<'_>) -> bool {
    let Sizes { cin, cout, .. } = job.sizes;
    cout.is_multiple_of(4) && 4 * cin >= 3 * cin.next_multiple_of(4)
}

/// Not a rung among the others: it rounds operands that are not f16, so it runs for those that are, or when named.
static MATRIX: Rung =
    Rung { file: "9_matrix", adapter: any_adapter, fits: any_job, launch: super::matrix::launch };

/// Runs `job` on the rung that was chosen for its device: the one that is named, else the one that was measured, else that
/// of the static table.
#[track_caller]
pub(super) fn run(job: &Job<'_>) -> Option<Stats> {
    let rung = match job.gpu().kernel_choice("conv") {
        None => measured(job).unwrap_or_else(|| by_table(job)),
        Some("9_matrix") => &MATRIX,
        Some(file) => named(job, file),
    };
    (rung.launch)(job)
}

/// By the operands, the shape and the adapter.
fn by_table(job: &Job<'_>) -> &'static Rung {
    if matrix::fits(job.lhs, job.rhs) {
        return &MATRIX;
    }
    let by_shape = job.gpu().facts().prefers(Means::Registers) && winograd::pays(job) && winograd::fits(job);
    named(job, if by_shape { "5_winograd" } else { crate::ops::rung(job.gpu(), "conv") })
}

/// The rung of this name, or that of the adapter's class where it does not fit.
#[track_caller]
fn named(job: &Job<'_>, file: &str) -> &'static Rung {
    let gpu = job.gpu();
    let find = |file: &str| {
        let rung = RUNGS.iter().find(|rung| rung.file == file);
        let rung = rung.unwrap_or_else(|| panic!("conv2d: there is no shaders/conv/{file}.wgsl"));
        ((rung.adapter)(gpu) && (rung.fits)(job)).then_some(rung)
    };
    let rung = find(file).or_else(|| find(crate::ops::class_rung(gpu, "conv")));
    rung.expect("the rung of an adapter's class fits everything")
}

/// The rung that was measured to be the fastest, on a device that has such choices.
fn measured(job: &Job<'_>) -> Option<&'static Rung> {
    let gpu = job.gpu();
    if !gpu.has_tuned() {
        return None;
    }
    let own = by_table(job);
    let fits = |rung: &&Rung| (rung.adapter)(gpu) && (rung.fits)(job) && rung.file != own.file;
    let others = RUNGS.iter().rev().filter(fits);
    let rungs: Vec<&'static Rung> = std::iter::once(own).chain(others).collect();
    let files: Vec<_> = rungs.iter().map(|rung| rung.file).collect();
    let find = |file: &str| rungs.iter().copied().find(|rung| rung.file == file);
    let file = tune::choice(gpu, job.key(), &files, |key| {
        let (lhs, rhs, result) =
            (tune::like(job.lhs, 1)?, tune::like(job.rhs, 2)?, tune::like(job.result, 3)?);
        let job = Job { lhs: &lhs, rhs: &rhs, result: &result, ..*job };
        tune::fastest(key, &files, &[&lhs, &rhs], &result, |file| {
            let stats = (find(file).expect("a candidate").launch)(&job);
            // Statistics that are wanted and do not come along cost a pass of their own.
            if job.wants_stats && stats.is_none() {
                batch_stats(&result, &BatchNormOptions::train());
            }
        })
    });
    file.and_then(find)
}

static NAIVE_SOURCE: Source =
    Source::new("conv/1_naive.wgsl", include_str!("../../../shaders/conv/1_naive.wgsl"));
static NAIVE: [Kernel; 3] = [
    NAIVE_SOURCE.kernel("forward"),
    NAIVE_SOURCE.kernel("input_gradient"),
    NAIVE_SOURCE.kernel("weight_gradient"),
];

fn naive(job: &Job<'_>) -> Option<Stats> {
    let Sizes { n, oh, ow, .. } = job.sizes;
    // One invocation sums a whole weight gradient's pixels: cut, so that its loops end well under lavapipe's limit.
    let lines = if job.pass == Pass::WeightGradient { n * oh } else { 1 };
    let chunk = lines.min((16_384 / ow).max(1));
    let splits = lines.div_ceil(chunk);
    let part = split_output("conv2d", job.result, splits);
    let grid = Grid::items(part.len());
    let sizes = job.sizes.split(chunk, splits);
    job.gpu().run(&NAIVE[job.pass as usize], &[&part, job.lhs, job.rhs], &sizes, grid, job.work());
    sum_splits(job.result, &part, splits);
    None
}

static FORWARD_SOURCE: Source = Source::new(
    "conv/2_register_forward.wgsl",
    include_str!("../../../shaders/conv/2_register_forward.wgsl"),
);
static INPUT_SOURCE: Source = Source::new(
    "conv/2_register_input_gradient.wgsl",
    include_str!("../../../shaders/conv/2_register_input_gradient.wgsl"),
);
static WEIGHT_SOURCE: Source = Source::new(
    "conv/2_register_weight_gradient.wgsl",
    include_str!("../../../shaders/conv/2_register_weight_gradient.wgsl"),
);
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

fn register(job: &Job<'_>) -> Option<Stats> {
    let Sizes { n, oh, .. } = job.sizes;
    let kernels = if job.sizes.vectors() { &REGISTER } else { &RAGGED };
    let kernel = &kernels[job.pass as usize];
    let gemm = job.gemm();
    if job.pass == Pass::WeightGradient {
        // 8 tiles a workgroup; the sum is cut between lines of the output.
        let wanted = splits(job.gpu(), gemm.tiles(8, 8).div_ceil(8), 8, gemm.k);
        let chunk = (n * oh).div_ceil(wanted);
        let splits = (n * oh).div_ceil(chunk);
        let part = split_output("conv2d", job.result, splits);
        let grid = Grid::items(gemm.tiles(8, 8) * u64::from(splits));
        job.gpu().run(kernel, &[&part, job.lhs, job.rhs], &job.sizes.split(chunk, splits), grid, job.work());
        sum_splits(job.result, &part, splits);
    } else {
        // A workgroup takes 8 x 8 pixels and 8 channels.
        let grid = Grid::groups(gemm.tiles(64, 8));
        job.gpu().run(kernel, &[job.result, job.lhs, job.rhs], &job.sizes, grid, job.work());
    }
    None
}

static WORKGROUP_SOURCE: Source =
    Source::new("conv/3_workgroup.wgsl", include_str!("../../../shaders/conv/3_workgroup.wgsl"));
static WORKGROUP: [Kernel; 3] = [
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 0.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 1.0)]),
    WORKGROUP_SOURCE.kernel("conv").with(&[("PASS", 2.0)]),
];

fn workgroup(job: &Job<'_>) -> Option<Stats> {
    let gemm = job.gemm();
    let groups = gemm.tiles(64, 64);
    let chunk = gemm.k.div_ceil(u64::from(splits(job.gpu(), groups, 128, gemm.k)));
    let splits = gemm.k.div_ceil(chunk) as u32;
    let part = split_output("conv2d", job.result, splits);
    let grid = Grid::groups(groups * u64::from(splits));
    let sizes = job.sizes.split(chunk as u32, splits);
    job.gpu().run(&WORKGROUP[job.pass as usize], &[&part, job.lhs, job.rhs], &sizes, grid, job.work());
    sum_splits(job.result, &part, splits);
    None
}

static BROADCAST_FORWARD: Source = Source::new(
    "conv/8_broadcast_forward.wgsl",
    include_str!("../../../shaders/conv/8_broadcast_forward.wgsl"),
);
static BROADCAST_INPUT: Source = Source::new(
    "conv/8_broadcast_input_gradient.wgsl",
    include_str!("../../../shaders/conv/8_broadcast_input_gradient.wgsl"),
);
static BROADCAST_WEIGHT: Source = Source::new(
    "conv/8_broadcast_weight_gradient.wgsl",
    include_str!("../../../shaders/conv/8_broadcast_weight_gradient.wgsl"),
);
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

fn broadcast(job: &Job<'_>) -> Option<Stats> {
    if job.sizes.vectors() {
        whole_broadcast(job);
    } else {
        filled_broadcast(job);
    }
    None
}

/// The product with zeros for the channels that the input lacks, and without what it gives for them.
fn filled_broadcast(job: &Job<'_>) {
    let Sizes { n, h, w, cin, cout, kh, kw, .. } = job.sizes;
    let filled = cin.next_multiple_of(4);
    // Channels are the last axis of an image, and the last but one of the weights.
    let image = |x: &Tensor| to_width(&x.reshape([(n * h * w) as usize, cin as usize]), filled);
    let weights =
        |x: &Tensor| to_width(&x.reshape([(kh * kw) as usize, (cin * cout) as usize]), filled * cout);
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
    write_width(job.result, &result, [rows[1], rows[1] / filled * cin]);
}

fn whole_broadcast(job: &Job<'_>) {
    let Sizes { n, oh, .. } = job.sizes;
    let gemm = job.gemm();
    let (kernels, columns, rows) =
        if gemm.columns <= 8 { (&BROADCAST_8, 8, 96) } else { (&BROADCAST, 16, 64) };
    let kernel = &kernels[job.pass as usize];
    if job.pass == Pass::WeightGradient {
        // The sum is cut between lines of the output.
        let tiles = gemm.tiles(rows, columns);
        let wanted = splits(job.gpu(), tiles, 8, gemm.k);
        let chunk = (n * oh).div_ceil(wanted);
        let splits = (n * oh).div_ceil(chunk);
        let part = split_output("conv2d", job.result, splits);
        let grid = Grid::groups(tiles * u64::from(splits));
        job.gpu().run(kernel, &[&part, job.lhs, job.rhs], &job.sizes.split(chunk, splits), grid, job.work());
        sum_splits(job.result, &part, splits);
    } else {
        // A workgroup takes 8 x 8 pixels.
        let grid = Grid::groups(gemm.tiles(64, columns));
        job.gpu().run(kernel, &[job.result, job.lhs, job.rhs], &job.sizes, grid, job.work());
    }
}
