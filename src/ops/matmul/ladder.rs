//! The rungs of `shaders/matmul/` and how each is launched. A further rung is one line in the table.

use super::job::{Job, Uniforms};
use super::matrix;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Means, Source, Work, source, uniforms};
use crate::ops::ladder::{Candidates, Family, Ladder, Rung as RungOf};
use crate::ops::split_sums::{Epilogue, finish};
use crate::ops::tune;
use crate::tensor::{DType, Tensor};

/// Matrix products.
pub(in crate::ops) struct Products;

/// The kernel of a file.
macro_rules! kernel {
    ($file:literal) => {{
        static SOURCE: Source = source!($file);
        static KERNEL: Kernel = SOURCE.kernel("matmul");
        &KERNEL
    }};
}

/// The kernels of a file by [`Forms`]; those of a file with blocks of several sizes, by size and [`Forms`].
macro_rules! kernels {
    ($file:literal) => {{
        static SOURCE: Source = source!($file);
        static FORMS: Forms = kernels!(@forms SOURCE);
        &FORMS
    }};
    ($file:literal, by size) => {{
        static SOURCE: Source = source!($file);
        static FORMS: [Forms; 3] = [
            kernels!(@forms SOURCE, "BM": 128.0, "BN": 128.0, "TM4": 2.0, "TN4": 2.0, "WG": 256.0),
            kernels!(@forms SOURCE, "BM": 64.0, "BN": 64.0, "TM4": 2.0, "TN4": 1.0, "WG": 128.0),
            kernels!(@forms SOURCE, "BM": 32.0, "BN": 32.0, "TM4": 1.0, "TN4": 1.0, "WG": 64.0),
        ];
        &FORMS
    }};
    (@forms $source:ident $(, $name:literal: $value:literal)*) => {
        [kernels!(@form $source, 1.0, 0.0 $(, $name: $value)*), kernels!(@form $source, 1.0, 1.0 $(, $name: $value)*),
         kernels!(@form $source, 0.0, 0.0 $(, $name: $value)*)]
    };
    (@form $source:ident, $a:literal, $b:literal $(, $name:literal: $value:literal)*) => {
        [$source.kernel("ragged").with(&[("A_ALONG_K", $a), ("B_ALONG_K", $b), ("VECTORS", 0.0) $(, ($name, $value))*]),
         $source.kernel("matmul").with(&[("A_ALONG_K", $a), ("B_ALONG_K", $b), ("VECTORS", 1.0) $(, ($name, $value))*])]
    };
}

type Rung = RungOf<Products>;

#[rustfmt::skip]
static LADDER: Ladder<Products> = Ladder { family: "matmul", rungs: &[
    Rung::new("1_naive", Means::Memory, |job| elements(job, kernel!("matmul/1_naive.wgsl"))),
    Rung::new("2_coalesced", Means::Memory, |job| elements(job, kernel!("matmul/2_coalesced.wgsl"))),
    Rung::new("3_workgroup", Means::Workgroup, |job| blocks(job, kernel!("matmul/3_workgroup.wgsl"), 16, 16)),
    Rung::new("4_row", Means::Workgroup, |job| blocks(job, kernel!("matmul/4_row.wgsl"), 64, 32)),
    Rung::new("5_block", Means::Workgroup, |job| blocks(job, kernel!("matmul/5_block.wgsl"), 128, 128)),
    Rung::new("6_vec4", Means::Workgroup, |job| blocks(job, of(kernels!("matmul/6_vec4.wgsl"), job), 128, 128)),
    Rung::new("7_double_buffer", Means::Workgroup, |job| tiled(job, kernels!("matmul/7_double_buffer.wgsl", by size))),
    Rung::new("8_subgroup", Means::Workgroup, |job| tiled(job, kernels!("matmul/8_subgroup.wgsl", by size))),
    Rung::new("9_register", Means::Registers, register),
    Rung::new("10_broadcast", Means::Shuffles, broadcast),
    Rung::new("11_matrix", Means::MatrixUnits, |job| plain(job, matrix::half)).rounds_to_f16(),
    Rung::new("12_split_f32", Means::MatrixUnits, |job| plain(job, matrix::split_f32)).splits_in_two(),
] };

impl Family for Products {
    type Job<'a> = Job<'a>;
    type Launch = fn(&Job<'_>);
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
        let (a, b) = (tune::like(job.a, 1)?, tune::like(job.b, 2)?);
        let bias = job.epilogue.bias.map(|bias| tune::like(bias, 3));
        let bias = if let Some(bias) = &bias { Some(bias.as_ref()?) } else { None };
        let c = tune::like(job.c, 4)?;
        let job = Job { a: &a, b: &b, c: &c, epilogue: Epilogue { bias, ..job.epilogue }, ..*job };
        tune::fastest(key, &candidates.files(), &[&a, &b], &c, |file| (candidates.rung(file).launch)(&job))
    }
}

/// [`Job::cut`], `launch` with the output, the parameters and the number of workgroups, and the sum of the splits. The epilogue
/// comes with that sum; where there is none, it is the kernel's.
fn split(job: &Job<'_>, groups: u64, invocations: u32, launch: impl FnOnce(&Tensor, Uniforms, Grid)) {
    let (part, p) = job.cut(groups, invocations);
    launch(&part, p, Grid::groups(groups * u64::from(p.splits)));
    if p.splits > 1 {
        finish(job.c, &part, p.splits, job.epilogue);
    }
}

/// The bias and the parameters `add_bias` and `relu` for a kernel that applies the epilogue: none of them where splits are yet to be
/// added up.
fn fused<'a>(job: &Job<'a>, splits: u32) -> (&'a dyn Bind, [u32; 2]) {
    let Epilogue { bias, relu } = if splits == 1 { job.epilogue } else { Epilogue::default() };
    // Bindings cannot be absent: without a bias B is bound, and not read.
    let bound = bias.map_or(job.b.storage() as &dyn Bind, |bias| bias);
    (bound, [bias.is_some(), relu].map(u32::from))
}

/// Launches a rung that leaves the epilogue to a pass of its own.
fn plain(job: &Job<'_>, launch: impl FnOnce(&Job<'_>)) {
    if job.epilogue.is_none() {
        return launch(job);
    }
    let sums = Tensor::alloc(job.gpu(), job.op, job.c.shape(), DType::F32);
    launch(&Job { c: &sums, epilogue: Epilogue::default(), ..*job });
    finish(job.c, &sums, 1, job.epilogue);
}

/// Launches a kernel that takes [`Uniforms`] alone, of workgroups of `invocations`.
fn whole(job: &Job<'_>, kernel: &Kernel, groups: u64, invocations: u32) {
    plain(job, |job| {
        split(job, groups, invocations, |part, p, grid| {
            job.gpu().run(kernel, &[part, job.a, job.b], &p, grid, job.work(part));
        });
    });
}

/// [`whole`] for a kernel that makes `rows` x `columns` of C a workgroup.
fn blocks(job: &Job<'_>, kernel: &Kernel, rows: u32, columns: u32) {
    whole(job, kernel, job.blocks(rows, columns), 256);
}

/// [`whole`] for a kernel that makes an element of C an invocation.
fn elements(job: &Job<'_>, kernel: &Kernel) {
    whole(job, kernel, job.blocks(1, 1).div_ceil(64), 64);
}

uniforms! {
    struct RegisterUniforms {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
        lanes_n: u32, add_bias: u32, relu: u32,
    }
}
uniforms! {
    struct BroadcastUniforms {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
        add_bias: u32, relu: u32, transposed: u32,
    }
}

/// A kernel by form, and by whether there are only whole vec4s.
type Forms = [[Kernel; 2]; 3];

fn of<'a>(kernels: &'a Forms, job: &Job<'_>) -> &'a Kernel {
    &kernels[job.form as usize][usize::from(job.vectors())]
}

/// Sides of the blocks of C that a workgroup of the tiled kernels makes, and the kernels for them.
const SIDES: [u32; 3] = [128, 64, 32];
/// Invocations of those workgroups.
const WORKGROUPS: [u32; 3] = [256, 128, 64];

uniforms! {
    struct TiledUniforms {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, add_bias: u32, relu: u32,
    }
}

/// Runs a kernel of several block sizes, with the epilogue, in as many launches as
/// [`Facts::launch_multiply_adds`](crate::gpu::Facts::launch_multiply_adds) asks for.
fn tiled(job: &Job<'_>, kernels: &[Forms; 3]) {
    let size = block_size(job);
    let kernel = of(&kernels[size], job);
    let side = SIDES[size];
    let groups = job.blocks(side, side);
    let (part, Uniforms { batch, m, n, k, chunk, splits, .. }) = job.cut(groups, WORKGROUPS[size]);
    let (bias, [add_bias, relu]) = fused(job, splits);
    let groups = groups * u64::from(splits);
    let most = (job.gpu().facts().launch_multiply_adds / (u64::from(side * side) * u64::from(chunk))).max(1);
    let work = job.work(&part);
    for first in (0..groups).step_by(most as usize) {
        let count = most.min(groups - first);
        let share = |all: u64| (u128::from(all) * u128::from(count) / u128::from(groups)) as u64;
        let work = Work::new(share(work.bytes), share(work.flops));
        let p = TiledUniforms { batch, m, n, k, chunk, splits, first: first as u32, add_bias, relu };
        job.gpu().run(kernel, &[&part, job.a, job.b, bias], &p, Grid::groups(count), work);
    }
    if splits > 1 {
        finish(job.c, &part, splits, job.epilogue);
    }
}

/// Returns the index into [`SIDES`]: the largest of at most [`Facts::tile`](crate::gpu::Facts::tile) that computes few elements
/// past the edges and gives 128 workgroups, or 256 with the sums cut into parts of 128 terms; the smallest if none does. The
/// thresholds are estimates for 30 to 150 cores.
fn block_size(job: &Job<'_>) -> usize {
    let computed = |side: u32| job.blocks(side, side) * u64::from(side * side);
    let snug = |&size: &usize| 4 * computed(SIDES[size]) <= 5 * computed(32);
    let groups = |size: usize| job.blocks(SIDES[size], SIDES[size]);
    let allowed = (0..SIDES.len()).filter(|&size| SIDES[size] <= job.gpu().facts().tile);
    let snug: Vec<usize> = allowed.filter(snug).collect();
    let whole = snug.iter().find(|&&size| groups(size) >= 128);
    let in_parts = || snug.iter().find(|&&size| groups(size) * u64::from(job.k / 128).max(1) >= 256);
    whole.or_else(in_parts).copied().unwrap_or(SIDES.len() - 1)
}

static REGISTER_SOURCE: Source = source!("matmul/9_register.wgsl");
static REGISTER: [Kernel; 3] =
    [REGISTER_SOURCE.kernel("nn"), REGISTER_SOURCE.kernel("nt"), REGISTER_SOURCE.kernel("tn")];
static RAGGED: Kernel = REGISTER_SOURCE.kernel("ragged");

fn register(job: &Job<'_>) {
    let kernel = if job.vectors() { &REGISTER[job.form as usize] } else { &RAGGED };
    // Of a workgroup's 8 invocations as many lie along the columns as there are columns for, and the others along the rows.
    let lanes_n = job.n.div_ceil(8).next_power_of_two().min(8);
    split(job, job.blocks(8 * (8 / lanes_n), 8 * lanes_n), 8, |part, p, grid| {
        let Uniforms { batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col } = p;
        let (bias, [add_bias, relu]) = fused(job, splits);
        #[rustfmt::skip]
        let p = RegisterUniforms {
            batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col, lanes_n, add_bias, relu,
        };
        job.gpu().run(kernel, &[part, job.a, job.b, bias], &p, grid, job.work(part));
    });
}

static BROADCAST_SOURCE: Source = source!("matmul/10_broadcast.wgsl");
static BROADCAST: [Kernel; 3] =
    [BROADCAST_SOURCE.kernel("nn"), BROADCAST_SOURCE.kernel("nt"), BROADCAST_SOURCE.kernel("tn")];
static BROADCAST_RAGGED: Kernel = BROADCAST_SOURCE.kernel("ragged");

fn broadcast(job: &Job<'_>) {
    const ROWS: u32 = 16;
    const COLUMNS: u32 = 64;
    let kernel = if job.vectors() { &BROADCAST[job.form as usize] } else { &BROADCAST_RAGGED };
    let transposed = !job.vectors() && job.n <= ROWS && job.m > ROWS;
    let groups = if transposed { job.blocks(COLUMNS, ROWS) } else { job.blocks(ROWS, COLUMNS) };
    split(job, groups, 8, |part, p, grid| {
        let Uniforms { batch, mut m, mut n, k, chunk, splits, mut a_row, mut a_k, mut b_k, mut b_col } = p;
        let (mut a, mut b) = (job.a, job.b);
        if transposed {
            (m, n, a, b) = (n, m, b, a);
            (a_row, a_k, b_k, b_col) = (b_col, b_k, a_k, a_row);
        }
        let (bias, [add_bias, relu]) = fused(job, splits);
        let transposed = u32::from(transposed);
        #[rustfmt::skip]
        let p = BroadcastUniforms {
            batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col, add_bias, relu, transposed,
        };
        job.gpu().run(kernel, &[part, a, b, bias], &p, grid, job.work(part));
    });
}
