//! Products on matrix units: f16 operands as they are (`11_matrix`), f32 operands as two f16 each (`12_split_f32`).

use super::job::{Cut, Form, Job, forms};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::split_sums::{split_output, sum_splits};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static MATRIX_SOURCE: Source = source!("matmul/11_matrix.wgsl");
static MATRIX: [Kernel; 3] = forms(&MATRIX_SOURCE, "matmul", &[]);
static PACK_SOURCE: Source = source!("matmul/pack.wgsl");
static PACK: Kernel = PACK_SOURCE.kernel("pack");
static PACK_F16: Kernel = PACK_SOURCE.kernel("pack_f16");
static SPLIT_F32_SOURCE: Source = source!("matmul/12_split_f32.wgsl");
static SPLIT_F32: [Kernel; 3] = forms(&SPLIT_F32_SOURCE, "matmul", &[]);
static SPLIT_SOURCE: Source = source!("matmul/split.wgsl");
static SCALES: Kernel = SPLIT_SOURCE.kernel("scales");
static SPLIT: Kernel = SPLIT_SOURCE.kernel("split");

uniforms! {
    /// `lda` and `ldb`: lengths of the last axes of A and B.
    struct MatrixUniforms { cut: Cut, lda: u32, ldb: u32 }
}
uniforms! {
    struct PackUniforms { rows: u32, columns: u32 }
}
uniforms! {
    struct ScalesUniforms { count: u32, rows: u32, k: u32, step: u32, k_step: u32, lanes: u32 }
}
uniforms! {
    struct SplitUniforms { count: u32, columns: u32, k: u32, along_k: u32 }
}

/// Invocations of a workgroup of `split.wgsl`.
const WG: u32 = 64;

/// C = A B with f16 operands and f32 sums; operands that are f32 are rounded to f16.
pub(super) fn half(job: &Job<'_>) {
    let (a, lda) = pack(job.op, job.a);
    let (b, ldb) = pack(job.op, job.b);
    run(job, &MATRIX[job.form as usize], 8, [lda, ldb], &[&a, &b]);
}

/// C = A B with the accuracy of f32, in three products of f16.
pub(super) fn split_f32(job: &Job<'_>) {
    let &Job { op, form, batch, m, n, k, .. } = job;
    let (a, ea, lda) = split(op, job.a, batch, m, k, form != Form::Tn);
    let (b, eb, ldb) = split(op, job.b, batch, n, k, form == Form::Nt);
    run(job, &SPLIT_F32[form as usize], 4, [lda, ldb], &[&a, &b, &ea, &eb]);
}

/// Launches a kernel that makes `tiles` by `tiles` tiles of C a workgroup, and adds up its splits.
fn run(job: &Job<'_>, kernel: &Kernel, tiles: u32, ld: [u32; 2], inputs: &[&Tensor]) {
    let &Job { op, batch, m, n, k, c, .. } = job;
    let product = Product::of(c.gpu(), tiles * tile(c.gpu()), [batch, m, n, k], ld);
    let part = split_output(op, c, product.uniforms.cut.splits);
    product.launch(kernel, &part, inputs);
    sum_splits(c, &part, product.uniforms.cut.splits);
}

/// Invocations of a workgroup of `shaders/lib/matrix.wgsl`: four subgroups.
pub(in crate::ops) fn workgroup(gpu: &Gpu) -> u32 {
    4 * gpu.tested().matrix_subgroup
}

/// Side of the matrix unit's tile.
///
/// # Panics
/// If the adapter has none: the ladder chooses no rung for matrix units there.
pub(in crate::ops) fn tile(gpu: &Gpu) -> u32 {
    *gpu.info().matrix_tiles.first().expect("an adapter with matrix units")
}

/// A B for f16 matrices whose last axes are `lda` and `ldb` long, as f32 splits `[splits, M, N]` that are yet to be added up.
pub(in crate::ops) fn parts(
    op: &str,
    form: Form,
    tile: u32,
    [m, n, k]: [u32; 3],
    [lda, ldb]: [u32; 2],
    a: &Tensor,
    b: &Tensor,
) -> (Tensor, u32) {
    let product = Product::of(a.gpu(), 8 * tile, [1, m, n, k], [lda, ldb]);
    let splits = product.uniforms.cut.splits;
    let shape = [splits, m, n].map(|length| length as usize);
    let part = Tensor::alloc(a.gpu(), op, &Shape::new(&shape), DType::F32);
    product.launch(&MATRIX[form as usize], &part, &[a, b]);
    (part, splits)
}

/// How a product is cut into workgroups and splits.
struct Product {
    uniforms: MatrixUniforms,
    groups: u64,
}

impl Product {
    /// In blocks of `side` x `side`.
    fn of(gpu: &Gpu, side: u32, [batch, m, n, k]: [u32; 4], [lda, ldb]: [u32; 2]) -> Self {
        let blocks = u64::from(batch) * u64::from(m.div_ceil(side)) * u64::from(n.div_ceil(side));
        let cut = Cut::of(gpu, (blocks, workgroup(gpu)), [batch, m, n, k], 32);
        Self { uniforms: MatrixUniforms { cut, lda, ldb }, groups: blocks * u64::from(cut.splits) }
    }

    fn launch(&self, kernel: &Kernel, part: &Tensor, inputs: &[&Tensor]) {
        let Cut { batch, m, n, k, .. } = self.uniforms.cut;
        let bytes = (inputs.iter().map(|t| t.bytes()).sum::<usize>() + part.bytes()) as u64;
        let flops = 2 * [batch, m, n, k].into_iter().map(u64::from).product::<u64>();
        let mut tensors: Vec<&dyn Bind> = vec![part];
        tensors.extend(inputs.iter().map(|&t| t as &dyn Bind));
        let p = |first| MatrixUniforms { cut: Cut { first, ..self.uniforms.cut }, ..self.uniforms };
        let (grid, work) = (Grid::groups(self.groups), Work::new(bytes, flops));
        part.gpu().run_in_parts(kernel, &tensors, p, grid, work, 1.0);
    }
}

/// Length of the last axis, and of all others together.
fn rows_columns(x: &Tensor) -> (u32, u32) {
    let columns = x.shape()[x.shape().rank() - 1];
    ((x.len() / columns) as u32, columns as u32)
}

/// `x` as f16 with its last axis padded to a multiple of 4, and that multiple. Returns `x` itself where it has both.
pub(in crate::ops) fn pack(op: &str, x: &Tensor) -> (Tensor, u32) {
    let (rows, columns) = rows_columns(x);
    let padded = columns.next_multiple_of(4);
    let half = x.dtype() == DType::F16;
    if half && padded == columns {
        return (x.clone(), columns);
    }
    let y = Tensor::alloc(x.gpu(), op, &Shape::new(&[rows as usize, padded as usize]), DType::F16);
    let work = Work::new((x.bytes() + y.bytes()) as u64, 0_u64);
    let kernel = if half { &PACK_F16 } else { &PACK };
    x.gpu().run(kernel, &[&y, x], &PackUniforms { rows, columns }, Grid::items(rows * padded / 4), work);
    (y, padded)
}

/// `x` as two f16 a value, the exponents of its `rows` rows (or columns, where k is not its last axis) a batch, and the
/// padded length of its last axis.
fn split(op: &str, x: &Tensor, batch: u32, rows: u32, k: u32, along_k: bool) -> (Tensor, Tensor, u32) {
    let gpu = x.gpu();
    let count = batch * rows;
    let e = Tensor::alloc(gpu, op, &Shape::new(&[count as usize]), DType::U32);
    let (step, k_step, lanes) = if along_k { (k, 1, WG) } else { (1, rows, 8) };
    let p = ScalesUniforms { count, rows, k, step, k_step, lanes };
    let grid = Grid::groups(u64::from(count.div_ceil(WG / lanes)));
    gpu.run(&SCALES, &[&e, x], &p, grid, Work::new((x.bytes() + e.bytes()) as u64, x.len() as u64));

    let (count, columns) = rows_columns(x);
    let padded = columns.next_multiple_of(4);
    let y = Tensor::alloc(gpu, op, &Shape::new(&[2, count as usize, padded as usize]), DType::F16);
    let p = SplitUniforms { count, columns, k, along_k: u32::from(along_k) };
    let work = Work::new((x.bytes() + y.bytes() + e.bytes()) as u64, 6 * x.len() as u64);
    gpu.run(&SPLIT, &[&y, x, &e], &p, Grid::items(count * padded / 4), work);
    (y, e, padded)
}
