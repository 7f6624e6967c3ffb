//! The rungs of `shaders/matmul/`: what each needs, and how it is launched. A further rung is one entry in [`RUNGS`].

use super::{Epilogue, Form, finish, matrix, split_output, splits};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Work, params};
use crate::ops::tune;
use crate::tensor::{DType, Tensor};

/// A product to compute: C = A B, A Bᵀ or Aᵀ B, `batch` of them, and what is done to its elements. No size is 0.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) op: &'a str,
    pub(super) form: Form,
    pub(super) batch: u32,
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    pub(super) c: &'a Tensor,
    pub(super) a: &'a Tensor,
    pub(super) b: &'a Tensor,
    pub(super) epilogue: Epilogue<'a>,
}

/// A way to compute a [`Job`].
pub(super) struct Rung {
    /// `shaders/matmul/<file>.wgsl`.
    pub(super) file: &'static str,
    /// What it needs of the adapter.
    pub(super) adapter: fn(&Gpu) -> bool,
    /// What it needs of the product; where it does not fit, the rung of the adapter's class runs instead.
    pub(super) fits: fn(&Job<'_>) -> bool,
    /// Whether it does `job.epilogue` too; else a pass of its own does.
    pub(super) fuses: bool,
    /// Computes `job.c`. [`blocks`] does that for a kernel that makes a block of C a workgroup.
    pub(super) launch: fn(&Job<'_>),
}

/// Every rung, lowest first.
#[rustfmt::skip]
pub(super) static RUNGS: &[Rung] = &[
    Rung { file: "1_naive", adapter: any_adapter, fits: any_job, fuses: false, launch: naive },
    Rung { file: "2_coalesced", adapter: any_adapter, fits: any_job, fuses: false, launch: coalesced },
    Rung { file: "3_workgroup", adapter: any_adapter, fits: any_job, fuses: false, launch: workgroup },
    Rung { file: "4_row", adapter: any_adapter, fits: any_job, fuses: false, launch: row },
    Rung { file: "5_block", adapter: any_adapter, fits: any_job, fuses: false, launch: block },
    Rung { file: "6_vec4", adapter: any_adapter, fits: any_job, fuses: false, launch: vec4 },
    Rung { file: "7_double_buffer", adapter: any_adapter, fits: any_job, fuses: true, launch: double_buffer },
    Rung { file: "8_subgroup", adapter: any_adapter, fits: any_job, fuses: true, launch: subgroup },
    Rung { file: "9_register", adapter: any_adapter, fits: any_job, fuses: true, launch: register },
    Rung { file: "10_broadcast", adapter: shuffles, fits: any_job, fuses: true, launch: broadcast },
    Rung { file: "13_split_f32", adapter: matrix_units, fits: any_job, fuses: false, launch: matrix::split_f32 },
];

/// Not a rung among the others: it rounds operands that are not f16, so it runs for those that are, or when named.
#[rustfmt::skip]
static MATRIX: Rung =
    Rung { file: "11_matrix", adapter: matrix_units, fits: any_job, fuses: false, launch: matrix::half };

fn any_adapter(_: &Gpu) -> bool {
    true
}

fn any_job(_: &Job<'_>) -> bool {
    true
}

fn shuffles(gpu: &Gpu) -> bool {
    gpu.info().lacks(crate::gpu::Means::Shuffles).is_none()
}

fn matrix_units(gpu: &Gpu) -> bool {
    !gpu.info().matrix_tiles.is_empty()
}

/// Runs `job` on the rung that was chosen for its device: the one that is named, else the one that was measured, else that
/// of the static table.
#[track_caller]
pub(super) fn run(job: &Job<'_>) {
    let rung = match job.gpu().kernel_choice("matmul") {
        None => measured(job).unwrap_or_else(|| by_table(job)),
        Some("11_matrix") => &MATRIX,
        // Where there are no matrix units it says so.
        Some("13_split_f32") => RUNGS.last().expect("a rung"),
        Some(_) => named(job),
    };
    launch(rung, job);
}

fn launch(rung: &Rung, job: &Job<'_>) {
    if rung.fuses || job.epilogue.is_none() {
        return (rung.launch)(job);
    }
    let sums = Tensor::alloc(job.gpu(), job.op, job.c.shape(), DType::F32);
    (rung.launch)(&Job { c: &sums, epilogue: Epilogue::default(), ..*job });
    finish(job.c, &sums, 1, job.epilogue);
}

fn by_table(job: &Job<'_>) -> &'static Rung {
    if matrix::fits(job.a, job.b) { &MATRIX } else { named(job) }
}

/// The rung that is named, or that of the adapter; the one of its class where that does not fit.
#[track_caller]
fn named(job: &Job<'_>) -> &'static Rung {
    let gpu = job.gpu();
    let find = |file: &str| {
        let rung = RUNGS.iter().find(|rung| rung.file == file);
        let rung = rung.unwrap_or_else(|| panic!("{}: there is no shaders/matmul/{file}.wgsl", job.op));
        ((rung.adapter)(gpu) && (rung.fits)(job)).then_some(rung)
    };
    find(crate::ops::rung(gpu, "matmul"))
        .or_else(|| find(crate::ops::class_rung(gpu, "matmul")))
        .expect("the rung of an adapter's class fits everything")
}

/// The rung that was measured to be the fastest, on a device that has such choices.
fn measured(job: &Job<'_>) -> Option<&'static Rung> {
    let gpu = job.gpu();
    if !gpu.has_tuned() {
        return None;
    }
    let own = by_table(job);
    // Not `13_split_f32`: how exact it is depends on the operands.
    let fits = |rung: &&Rung| (rung.adapter)(gpu) && (rung.fits)(job) && rung.file != "13_split_f32";
    let others = RUNGS.iter().rev().filter(fits).filter(|rung| rung.file != own.file);
    let rungs: Vec<&'static Rung> = std::iter::once(own).chain(others).collect();
    let files: Vec<_> = rungs.iter().map(|rung| rung.file).collect();
    let find = |file: &str| rungs.iter().copied().find(|rung| rung.file == file);
    let file = tune::choice(gpu, job.key(), &files, |key| {
        let (a, b) = (tune::like(job.a, 1)?, tune::like(job.b, 2)?);
        let bias = job.epilogue.bias.map(|bias| tune::like(bias, 3));
        let bias = if let Some(bias) = &bias { Some(bias.as_ref()?) } else { None };
        let c = tune::like(job.c, 4)?;
        let job = Job { a: &a, b: &b, c: &c, epilogue: Epilogue { bias, ..job.epilogue }, ..*job };
        tune::fastest(key, &files, &[&a, &b], &c, |file| launch(find(file).expect("a candidate"), &job))
    });
    file.and_then(find)
}

params! {
    #[derive(Default)]
    pub(super) struct Params {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
    }
}
params! {
    struct RegisterParams {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
        lanes_n: u32, add_bias: u32, relu: u32,
    }
}
params! {
    struct BroadcastParams {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
        add_bias: u32, relu: u32, transposed: u32,
    }
}

impl Job<'_> {
    pub(super) fn gpu(&self) -> &Gpu {
        self.c.gpu()
    }

    /// The sizes, and the strides that the form stands for. One split.
    pub(super) fn params(&self) -> Params {
        let &Job { form, batch, m, n, k, .. } = self;
        let (a_row, a_k) = if form == Form::Tn { (1, m) } else { (k, 1) };
        let (b_k, b_col) = if form == Form::Nt { (1, k) } else { (n, 1) };
        Params { batch, m, n, k, chunk: k, splits: 1, a_row, a_k, b_k, b_col }
    }

    /// Blocks of `rows` x `columns` that cover C.
    fn blocks(&self, rows: u32, columns: u32) -> u64 {
        u64::from(self.batch) * u64::from(self.m.div_ceil(rows)) * u64::from(self.n.div_ceil(columns))
    }

    /// Whether the last axes of A, B and C are whole vec4s.
    fn vectors(&self) -> bool {
        [self.a, self.b, self.c].iter().all(|t| t.shape()[t.shape().rank() - 1] % 4 == 0)
    }

    /// What [`tune`] keeps a choice by.
    fn key(&self) -> String {
        let &Job { form, batch, m, n, k, c, a, b, epilogue: Epilogue { bias, relu }, .. } = self;
        let bias = if bias.is_some() { " bias" } else { "" };
        let relu = if relu { " relu" } else { "" };
        let [a, b, c] = [a, b, c].map(Tensor::dtype);
        format!("matmul {form:?} {a:?} {b:?} {c:?} {batch}x{m}x{n}x{k}{bias}{relu}")
    }

    fn work(&self, part: &Tensor) -> Work {
        let flops = 2 * [self.batch, self.m, self.n, self.k].into_iter().map(u64::from).product::<u64>();
        Work::new((self.a.bytes() + self.b.bytes() + part.bytes()) as u64, flops)
    }
}

/// Cuts the sums over k into splits where `groups` workgroups, each of which makes its part of C, are too few: what a kernel
/// writes, (splits, ...), and its parameters.
fn cut(job: &Job<'_>, groups: u64, invocations: u32) -> (Tensor, Params) {
    let wanted = splits(job.gpu(), groups, invocations, u64::from(job.k));
    let chunk = job.k.div_ceil(wanted).next_multiple_of(4);
    let splits = job.k.div_ceil(chunk);
    (split_output(job.op, job.c, splits), Params { chunk, splits, ..job.params() })
}

/// [`cut`], `launch` with the output, the parameters and the number of workgroups, and the sum of the splits. The epilogue
/// comes with that sum; where there is none, it is the kernel's.
fn split(job: &Job<'_>, groups: u64, invocations: u32, launch: impl FnOnce(&Tensor, Params, Grid)) {
    let (part, p) = cut(job, groups, invocations);
    launch(&part, p, Grid::groups(groups * u64::from(p.splits)));
    if p.splits > 1 {
        finish(job.c, &part, p.splits, job.epilogue);
    }
}

/// What a kernel that fuses the epilogue binds as bias, and its parameters `add_bias` and `relu`: nothing to do where
/// splits are yet to be added.
fn fused<'a>(job: &Job<'a>, splits: u32) -> (&'a dyn Bind, [u32; 2]) {
    let Epilogue { bias, relu } = if splits == 1 { job.epilogue } else { Epilogue::default() };
    // Without a bias any words do, and no kernel reads them.
    let bound = bias.map_or(job.b.storage() as &dyn Bind, |bias| bias);
    (bound, [bias.is_some(), relu].map(u32::from))
}

/// [`split`] for a kernel that makes `rows` x `columns` of C a workgroup and takes [`Params`] alone.
fn blocks(job: &Job<'_>, kernel: &Kernel, rows: u32, columns: u32) {
    split(job, job.blocks(rows, columns), 256, |part, p, grid| {
        job.gpu().run(kernel, &[part, job.a, job.b], &p, grid, job.work(part));
    });
}

static NAIVE_SOURCE: Source =
    Source::new("matmul/1_naive.wgsl", include_str!("../../../shaders/matmul/1_naive.wgsl"));
static NAIVE: Kernel = NAIVE_SOURCE.kernel("matmul");
static COALESCED_SOURCE: Source =
    Source::new("matmul/2_coalesced.wgsl", include_str!("../../../shaders/matmul/2_coalesced.wgsl"));
static COALESCED: Kernel = COALESCED_SOURCE.kernel("matmul");

fn naive(job: &Job<'_>) {
    elements(job, &NAIVE);
}

fn coalesced(job: &Job<'_>) {
    elements(job, &COALESCED);
}

/// [`split`] for a kernel of an element an invocation.
fn elements(job: &Job<'_>, kernel: &Kernel) {
    split(job, job.blocks(1, 1).div_ceil(64), 64, |part, p, grid| {
        job.gpu().run(kernel, &[part, job.a, job.b], &p, grid, job.work(part));
    });
}

static WORKGROUP_SOURCE: Source =
    Source::new("matmul/3_workgroup.wgsl", include_str!("../../../shaders/matmul/3_workgroup.wgsl"));
static WORKGROUP: Kernel = WORKGROUP_SOURCE.kernel("matmul");
static ROW_SOURCE: Source =
    Source::new("matmul/4_row.wgsl", include_str!("../../../shaders/matmul/4_row.wgsl"));
static ROW: Kernel = ROW_SOURCE.kernel("matmul");
static BLOCK_SOURCE: Source =
    Source::new("matmul/5_block.wgsl", include_str!("../../../shaders/matmul/5_block.wgsl"));
static BLOCK: Kernel = BLOCK_SOURCE.kernel("matmul");

fn workgroup(job: &Job<'_>) {
    blocks(job, &WORKGROUP, 16, 16);
}

fn row(job: &Job<'_>) {
    blocks(job, &ROW, 64, 32);
}

fn block(job: &Job<'_>) {
    blocks(job, &BLOCK, 128, 128);
}

/// A kernel by form, and by whether there are only whole vec4s.
type Forms = [[Kernel; 2]; 3];

macro_rules! forms {
    ($source:ident $(, $name:literal: $value:literal)*) => {
        [forms!(@ $source, 1.0, 0.0 $(, $name: $value)*), forms!(@ $source, 1.0, 1.0 $(, $name: $value)*),
         forms!(@ $source, 0.0, 0.0 $(, $name: $value)*)]
    };
    (@ $source:ident, $a:literal, $b:literal $(, $name:literal: $value:literal)*) => {
        [$source.kernel("ragged").with(&[("A_ALONG_K", $a), ("B_ALONG_K", $b), ("VECTORS", 0.0) $(, ($name, $value))*]),
         $source.kernel("matmul").with(&[("A_ALONG_K", $a), ("B_ALONG_K", $b), ("VECTORS", 1.0) $(, ($name, $value))*])]
    };
}

static VEC4_SOURCE: Source =
    Source::new("matmul/6_vec4.wgsl", include_str!("../../../shaders/matmul/6_vec4.wgsl"));
static VEC4: Forms = forms!(VEC4_SOURCE);

fn vec4(job: &Job<'_>) {
    blocks(job, &VEC4[job.form as usize][usize::from(job.vectors())], 128, 128);
}

/// Sides of the blocks of C that a workgroup of the tiled kernels makes, and the kernels for them.
const SIDES: [u32; 3] = [128, 64, 32];
/// Invocations of those workgroups.
const WORKGROUPS: [u32; 3] = [256, 128, 64];

macro_rules! tiled {
    ($source:ident) => {
        [
            forms!($source, "BM": 128.0, "BN": 128.0, "TM4": 2.0, "TN4": 2.0, "WG": 256.0),
            forms!($source, "BM": 64.0, "BN": 64.0, "TM4": 2.0, "TN4": 1.0, "WG": 128.0),
            forms!($source, "BM": 32.0, "BN": 32.0, "TM4": 1.0, "TN4": 1.0, "WG": 64.0),
        ]
    };
}

static DOUBLE_BUFFER_SOURCE: Source =
    Source::new("matmul/7_double_buffer.wgsl", include_str!("../../../shaders/matmul/7_double_buffer.wgsl"));
static DOUBLE_BUFFER: [Forms; 3] = tiled!(DOUBLE_BUFFER_SOURCE);
static SUBGROUP_SOURCE: Source =
    Source::new("matmul/8_subgroup.wgsl", include_str!("../../../shaders/matmul/8_subgroup.wgsl"));
static SUBGROUP: [Forms; 3] = tiled!(SUBGROUP_SOURCE);

params! {
    struct TiledParams {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, first: u32, add_bias: u32, relu: u32,
    }
}

fn double_buffer(job: &Job<'_>) {
    tiled(job, &DOUBLE_BUFFER);
}

fn subgroup(job: &Job<'_>) {
    tiled(job, &SUBGROUP);
}

/// Runs a kernel of several block sizes, with the epilogue, in as many launches as
/// [`Facts::launch_multiply_adds`](crate::gpu::Facts::launch_multiply_adds) asks for.
fn tiled(job: &Job<'_>, kernels: &[Forms; 3]) {
    let size = block_size(job);
    let kernel = &kernels[size][job.form as usize][usize::from(job.vectors())];
    let side = SIDES[size];
    let groups = job.blocks(side, side);
    let (part, Params { batch, m, n, k, chunk, splits, .. }) = cut(job, groups, WORKGROUPS[size]);
    let (bias, [add_bias, relu]) = fused(job, splits);
    let groups = groups * u64::from(splits);
    let most = (job.gpu().facts().launch_multiply_adds / (u64::from(side * side) * u64::from(chunk))).max(1);
    let work = job.work(&part);
    for first in (0..groups).step_by(most as usize) {
        let count = most.min(groups - first);
        let share = |all: u64| (u128::from(all) * u128::from(count) / u128::from(groups)) as u64;
        let work = Work::new(share(work.bytes), share(work.flops));
        let p = TiledParams { batch, m, n, k, chunk, splits, first: first as u32, add_bias, relu };
        job.gpu().run(kernel, &[&part, job.a, job.b, bias], &p, Grid::groups(count), work);
    }
    if splits > 1 {
        finish(job.c, &part, splits, job.epilogue);
    }
}

/// Returns the index into [`SIDES`]: the largest of at most [`Facts::tile`](crate::gpu::Facts::tile) that does not compute much past the edges and gives workgroups enough, if need be with
/// the sums cut in parts of 128 or more; the smallest if none does. The thresholds are estimates for 30 to 150 cores.
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

static REGISTER_SOURCE: Source =
    Source::new("matmul/9_register.wgsl", include_str!("../../../shaders/matmul/9_register.wgsl"));
static REGISTER: [Kernel; 3] =
    [REGISTER_SOURCE.kernel("nn"), REGISTER_SOURCE.kernel("nt"), REGISTER_SOURCE.kernel("tn")];
static RAGGED: Kernel = REGISTER_SOURCE.kernel("ragged");

fn register(job: &Job<'_>) {
    let kernel = if job.vectors() { &REGISTER[job.form as usize] } else { &RAGGED };
    // Lanes lie along the columns as far as there are columns, the rest along the rows.
    let lanes_n = job.n.div_ceil(8).next_power_of_two().min(8);
    split(job, job.blocks(8 * (8 / lanes_n), 8 * lanes_n), 8, |part, p, grid| {
        let Params { batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col } = p;
        let (bias, [add_bias, relu]) = fused(job, splits);
        #[rustfmt::skip]
        let p = RegisterParams {
            batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col, lanes_n, add_bias, relu,
        };
        job.gpu().run(kernel, &[part, job.a, job.b, bias], &p, grid, job.work(part));
    });
}

static BROADCAST_SOURCE: Source =
    Source::new("matmul/10_broadcast.wgsl", include_str!("../../../shaders/matmul/10_broadcast.wgsl"));
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
        let Params { batch, mut m, mut n, k, chunk, splits, mut a_row, mut a_k, mut b_k, mut b_col } = p;
        let (mut a, mut b) = (job.a, job.b);
        if transposed {
            (m, n, a, b) = (n, m, b, a);
            (a_row, a_k, b_k, b_col) = (b_col, b_k, a_k, a_row);
        }
        let (bias, [add_bias, relu]) = fused(job, splits);
        let transposed = u32::from(transposed);
        #[rustfmt::skip]
        let p = BroadcastParams {
            batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col, add_bias, relu, transposed,
        };
        job.gpu().run(kernel, &[part, a, b, bias], &p, grid, job.work(part));
    });
}
