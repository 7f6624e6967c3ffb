//! The rungs of `shaders/matmul/` and how each is launched. A further rung is one line in the table.

use super::job::{Cut, Job, Strides, forms};
use super::matrix;
use crate::gpu::{Bind, Constant, Gpu, Grid, Kernel, Means, Source, source, uniforms};
use crate::ops::ladder::{Candidates, Family, Ladder, Rung as RungOf};
use crate::ops::split_sums::{Epilogue, finish, split_output};
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
        static FORMS: Forms = by_form(&SOURCE, &[]);
        &FORMS
    }};
    ($file:literal, by size) => {{
        static SOURCE: Source = source!($file);
        static FORMS: [Forms; 3] = [
            by_form(&SOURCE, &[("BM", 128.0), ("BN", 128.0), ("TM4", 2.0), ("TN4", 2.0), ("WG", 256.0)]),
            by_form(&SOURCE, &[("BM", 64.0), ("BN", 64.0), ("TM4", 2.0), ("TN4", 1.0), ("WG", 128.0)]),
            by_form(&SOURCE, &[("BM", 32.0), ("BN", 32.0), ("TM4", 1.0), ("TN4", 1.0), ("WG", 64.0)]),
        ];
        &FORMS
    }};
}

/// Kernels by whether there are only whole vec4s, and by form.
type Forms = [[Kernel; 3]; 2];

const fn by_form(source: &'static Source, constants: &'static [Constant]) -> Forms {
    [
        forms(source, "ragged", &[constants, &[("VECTORS", 0.0)]]),
        forms(source, "matmul", &[constants, &[("VECTORS", 1.0)]]),
    ]
}

fn of<'a>(kernels: &'a Forms, job: &Job<'_>) -> &'a Kernel {
    &kernels[usize::from(job.vectors())][job.form as usize]
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

/// Launches a kernel whose `groups` workgroups of `invocations` each make C, with its sums over k cut, and adds up the splits. The
/// epilogue comes with that sum; where there is none, it is the kernel's.
fn split(job: &Job<'_>, groups: u64, invocations: u32, launch: impl FnOnce(&Tensor, Cut, Grid)) {
    let cut = Cut::of(job.gpu(), (groups, invocations), [job.batch, job.m, job.n, job.k], 4);
    let part = split_output(job.op, job.c, cut.splits);
    launch(&part, cut, Grid::groups(groups * u64::from(cut.splits)));
    if cut.splits > 1 {
        finish(job.c, &part, cut.splits, job.epilogue);
    }
}

uniforms! {
    /// Whether the kernel adds a bias, and cuts off what is below 0.
    struct Fused { add_bias: u32, relu: u32 }
}

/// The bias and uniforms for a kernel that applies the epilogue: none of it where splits are yet to be added up.
fn fused<'a>(job: &Job<'a>, splits: u32) -> (&'a dyn Bind, Fused) {
    let Epilogue { bias, relu } = if splits == 1 { job.epilogue } else { Epilogue::default() };
    // Bindings cannot be absent: without a bias B is bound, and not read.
    let bound = bias.map_or(job.b.storage() as &dyn Bind, |bias| bias);
    (bound, Fused { add_bias: bias.is_some().into(), relu: relu.into() })
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

/// Share of the rate of multiply-adds that rungs reach at least, but for those that make an element an invocation.
const SHARE: f64 = 0.25;

uniforms! { struct WholeUniforms { cut: Cut, strides: Strides } }

/// Launches a kernel without epilogue, of workgroups of `invocations`.
fn whole(job: &Job<'_>, kernel: &Kernel, groups: u64, invocations: u32, share: f64) {
    plain(job, |job| {
        split(job, groups, invocations, |part, cut, grid| {
            let p = |first| WholeUniforms { cut: Cut { first, ..cut }, strides: job.strides() };
            job.gpu().run_in_parts(kernel, &[part, job.a, job.b], p, grid, job.work(part), share);
        });
    });
}

/// [`whole`] for a kernel that makes `rows` x `columns` of C a workgroup.
fn blocks(job: &Job<'_>, kernel: &Kernel, rows: u32, columns: u32) {
    whole(job, kernel, job.blocks(rows, columns), 256, SHARE);
}

/// [`whole`] for a kernel that makes an element of C an invocation.
fn elements(job: &Job<'_>, kernel: &Kernel) {
    whole(job, kernel, job.blocks(1, 1).div_ceil(64), 64, SHARE / 16.0);
}

/// Sides of the blocks of C that a workgroup of the tiled kernels makes, and the kernels for them.
const SIDES: [u32; 3] = [128, 64, 32];
/// Invocations of those workgroups.
const WORKGROUPS: [u32; 3] = [256, 128, 64];

uniforms! { struct TiledUniforms { cut: Cut, fused: Fused } }

/// Runs a kernel of several block sizes, with the epilogue.
fn tiled(job: &Job<'_>, kernels: &[Forms; 3]) {
    let size = block_size(job);
    let kernel = of(&kernels[size], job);
    let side = SIDES[size];
    let groups = job.blocks(side, side);
    split(job, groups, WORKGROUPS[size], |part, cut, grid| {
        let (bias, fused) = fused(job, cut.splits);
        let p = |first| TiledUniforms { cut: Cut { first, ..cut }, fused };
        job.gpu().run_in_parts(kernel, &[part, job.a, job.b, bias], p, grid, job.work(part), SHARE);
    });
}

/// Returns the index into [`SIDES`]: the largest of at most [`Facts::tile`](crate::gpu::Facts::tile) that computes few elements
/// past the edges and gives half of [`Facts::fill`](crate::gpu::Facts::fill) invocations, or with the sums cut all of it; the
/// smallest if none does.
fn block_size(job: &Job<'_>) -> usize {
    let computed = |side: u32| job.blocks(side, side) * u64::from(side * side);
    let snug = |&size: &usize| 4 * computed(SIDES[size]) <= 5 * computed(32);
    let facts = job.gpu().facts();
    let filled = |size: usize| facts.filled(job.blocks(SIDES[size], SIDES[size]), WORKGROUPS[size]);
    let allowed = (0..SIDES.len()).filter(|&size| SIDES[size] <= facts.tile);
    let snug: Vec<usize> = allowed.filter(snug).collect();
    let whole = snug.iter().find(|&&size| filled(size) >= 0.5);
    let parts = f64::from((job.k / facts.part).max(1));
    let in_parts = || snug.iter().find(|&&size| parts * filled(size) >= 1.0);
    whole.or_else(in_parts).copied().unwrap_or(SIDES.len() - 1)
}

static REGISTER_SOURCE: Source = source!("matmul/9_register.wgsl");
static REGISTER: [Kernel; 3] =
    [REGISTER_SOURCE.kernel("nn"), REGISTER_SOURCE.kernel("nt"), REGISTER_SOURCE.kernel("tn")];
static RAGGED: Kernel = REGISTER_SOURCE.kernel("ragged");

uniforms! { struct RegisterUniforms { cut: Cut, strides: Strides, lanes_n: u32, fused: Fused } }

fn register(job: &Job<'_>) {
    let kernel = if job.vectors() { &REGISTER[job.form as usize] } else { &RAGGED };
    // Of a workgroup's 8 invocations as many lie along the columns as there are columns for, and the others along the rows.
    let lanes_n = job.n.div_ceil(8).next_power_of_two().min(8);
    split(job, job.blocks(8 * (8 / lanes_n), 8 * lanes_n), 8, |part, cut, grid| {
        let (bias, fused) = fused(job, cut.splits);
        let p = |first| {
            let cut = Cut { first, ..cut };
            RegisterUniforms { cut, strides: job.strides(), lanes_n, fused }
        };
        job.gpu().run_in_parts(kernel, &[part, job.a, job.b, bias], p, grid, job.work(part), SHARE);
    });
}

static BROADCAST_SOURCE: Source = source!("matmul/10_broadcast.wgsl");
static BROADCAST: [Kernel; 3] =
    [BROADCAST_SOURCE.kernel("nn"), BROADCAST_SOURCE.kernel("nt"), BROADCAST_SOURCE.kernel("tn")];
static BROADCAST_RAGGED: Kernel = BROADCAST_SOURCE.kernel("ragged");

uniforms! { struct BroadcastUniforms { cut: Cut, strides: Strides, fused: Fused, transposed: u32 } }

fn broadcast(job: &Job<'_>) {
    const ROWS: u32 = 16;
    const COLUMNS: u32 = 64;
    let kernel = if job.vectors() { &BROADCAST[job.form as usize] } else { &BROADCAST_RAGGED };
    let transposed = !job.vectors() && job.n <= ROWS && job.m > ROWS;
    let groups = if transposed { job.blocks(COLUMNS, ROWS) } else { job.blocks(ROWS, COLUMNS) };
    split(job, groups, 8, |part, mut cut, grid| {
        let (mut a, mut b, mut strides) = (job.a, job.b, job.strides());
        if transposed {
            (cut.m, cut.n, a, b) = (cut.n, cut.m, b, a);
            let Strides { a_row, a_k, b_k, b_col } = strides;
            strides = Strides { a_row: b_col, a_k: b_k, b_k: a_k, b_col: a_row };
        }
        let (bias, fused) = fused(job, cut.splits);
        let transposed = transposed.into();
        let p = |first| BroadcastUniforms { cut: Cut { first, ..cut }, strides, fused, transposed };
        job.gpu().run_in_parts(kernel, &[part, a, b, bias], p, grid, job.work(part), SHARE);
    });
}
