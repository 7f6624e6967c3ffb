//! Products on matrix units: f16 operands as they are (`11_matrix`), f32 operands as two f16 each (`12_split_f32`).

use super::job::{Cut, Form, Job, forms};
use crate::gpu::{Bind, Constant, Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::split_sums::{split_output, sum_splits};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static MATRIX_SOURCE: Source = source!("matmul/11_matrix.wgsl");
/// By [`Form`].
static MATRIX: [ByBlock; 3] = [
    by_block(&MATRIX_SOURCE, "matmul", &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]),
    by_block(&MATRIX_SOURCE, "matmul", &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]),
    by_block(&MATRIX_SOURCE, "matmul", &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)]),
];
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
    /// `padded`: length of a row of the copy.
    struct PackUniforms { rows: u32, columns: u32, padded: u32 }
}
uniforms! {
    struct ScalesUniforms { count: u32, rows: u32, k: u32, step: u32, k_step: u32, lanes: u32 }
}
uniforms! {
    struct SplitUniforms { count: u32, columns: u32, k: u32, along_k: u32 }
}

/// Terms of a step of `shaders/lib/matrix.wgsl`: `BK`.
const STEP: u32 = 32;
/// Invocations of a workgroup of `split.wgsl`.
const WG: u32 = 64;

/// The block of C that a workgroup of `shaders/lib/matrix.wgsl` makes, in patches of 4 x 4 tiles along M and along N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Block {
    TwoByTwo,
    TwoByOne,
    One,
}

/// Kernels by [`Block`], then for rows of C in whole vec4s, for any, and for products that are whole blocks and steps.
pub(in crate::ops) type ByBlock = [[Kernel; 3]; 3];

/// The kernels of `source`.
pub(in crate::ops) const fn by_block(
    source: &'static Source,
    entry: &'static str,
    constants: &'static [Constant],
) -> ByBlock {
    const fn kernel(
        source: &'static Source,
        entry: &'static str,
        constants: &'static [Constant],
        block: Block,
    ) -> Kernel {
        source.kernel(entry).with(constants).with(block.constants())
    }
    macro_rules! each {
        ($block:expr) => {
            [
                kernel(source, entry, constants, $block),
                kernel(source, entry, constants, $block).lib("result", "result_scalars"),
                kernel(source, entry, constants, $block).with(&[("WHOLE", 1.0)]),
            ]
        };
    }
    [each!(Block::TwoByTwo), each!(Block::TwoByOne), each!(Block::One)]
}

impl Block {
    /// Largest first.
    pub(in crate::ops) const ALL: [Self; 3] = [Self::TwoByTwo, Self::TwoByOne, Self::One];

    const fn patches(self) -> [u32; 2] {
        match self {
            Self::TwoByTwo => [2, 2],
            Self::TwoByOne => [2, 1],
            Self::One => [1, 1],
        }
    }

    const fn constants(self) -> &'static [Constant] {
        match self {
            Self::TwoByTwo => &[("DOWN", 2.0), ("ACROSS", 2.0)],
            Self::TwoByOne => &[("DOWN", 2.0), ("ACROSS", 1.0)],
            Self::One => &[("DOWN", 1.0), ("ACROSS", 1.0)],
        }
    }

    /// The one of `blocks`, largest first, for products of `rows` x `columns`: the largest of which at most an eighth lies outside C, or else the one of which
    /// the least does.
    pub(in crate::ops) fn of(blocks: &[Self], tile: u32, rows: u64, columns: u64) -> Self {
        let area = |block: &Self| {
            let [down, across] = block.sides(tile).map(u64::from);
            rows.next_multiple_of(down) * columns.next_multiple_of(across)
        };
        let fits = |block: &&Self| 8 * area(block) <= 9 * rows * columns;
        let least = || blocks.iter().min_by_key(|block| area(block)).expect("one at least");
        *blocks.iter().find(fits).unwrap_or_else(least)
    }

    /// Its kernel of `kernels` for products of `rows` x `columns` with sums cut into chunks of `chunk` of `k` terms.
    pub(in crate::ops) fn kernel(
        self,
        kernels: &'static ByBlock,
        tile: u32,
        [rows, columns]: [u64; 2],
        [k, chunk]: [u64; 2],
    ) -> &'static Kernel {
        let [down, across] = self.sides(tile).map(u64::from);
        let step = u64::from(STEP);
        let whole = rows.is_multiple_of(down)
            && columns.is_multiple_of(across)
            && k.is_multiple_of(step)
            && chunk.is_multiple_of(step);
        let last_axis = if whole { 2 } else { usize::from(!columns.is_multiple_of(4)) };
        &kernels[self as usize][last_axis]
    }

    /// Rows and columns of C, with tiles of `tile` squared.
    pub(in crate::ops) fn sides(self, tile: u32) -> [u32; 2] {
        self.patches().map(|patches| 4 * patches * tile)
    }

    /// Invocations of a workgroup: a subgroup for each patch, and no fewer than terms in a step.
    pub(in crate::ops) fn invocations(self, gpu: &Gpu) -> u32 {
        (self.patches().iter().product::<u32>() * gpu.tested().matrix_subgroup).max(STEP)
    }
}

/// C = A B with f16 operands and f32 sums; operands that are f32 are rounded to f16.
pub(super) fn half(job: &Job<'_>) {
    let &Job { op, form, batch, m, n, k, c, .. } = job;
    let (a, lda) = pack(op, job.a);
    let (b, ldb) = pack(op, job.b);
    let product = Product::of_half(c.gpu(), form, [batch, m, n, k], [lda, ldb]);
    let part = split_output(op, c, product.uniforms.cut.splits);
    product.launch(&part, &[&a, &b]);
    sum_splits(c, &part, product.uniforms.cut.splits);
}

/// C = A B with the accuracy of f32, in three products of f16.
pub(super) fn split_f32(job: &Job<'_>) {
    let &Job { op, form, batch, m, n, k, c, .. } = job;
    let (a, ea, lda) = split(op, job.a, batch, m, k, form != Form::Tn);
    let (b, eb, ldb) = split(op, job.b, batch, n, k, form == Form::Nt);
    let (gpu, side) = (c.gpu(), 4 * tile(c.gpu()));
    let invocations = 4 * gpu.tested().matrix_subgroup;
    let product =
        Product::of(gpu, &SPLIT_F32[form as usize], ([side; 2], invocations), [batch, m, n, k], [lda, ldb]);
    let part = split_output(op, c, product.uniforms.cut.splits);
    product.launch(&part, &[&a, &b, &ea, &eb]);
    sum_splits(c, &part, product.uniforms.cut.splits);
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
    [m, n, k]: [u32; 3],
    [lda, ldb]: [u32; 2],
    a: &Tensor,
    b: &Tensor,
) -> (Tensor, u32) {
    let product = Product::of_half(a.gpu(), form, [1, m, n, k], [lda, ldb]);
    let splits = product.uniforms.cut.splits;
    let shape = [splits, m, n].map(|length| length as usize);
    let part = Tensor::alloc(a.gpu(), op, &Shape::new(&shape), DType::F32);
    product.launch(&part, &[a, b]);
    (part, splits)
}

/// A kernel, and how its product is cut into workgroups and splits.
struct Product {
    kernel: &'static Kernel,
    uniforms: MatrixUniforms,
    groups: u64,
}

impl Product {
    /// Of `11_matrix`.
    fn of_half(gpu: &Gpu, form: Form, sizes: [u32; 4], ld: [u32; 2]) -> Self {
        let [_, m, n, k] = sizes.map(u64::from);
        let tile = tile(gpu);
        let block = Block::of(&Block::ALL, tile, m, n);
        let blocks = (block.sides(tile), block.invocations(gpu));
        // Chunks are whole steps.
        let kernel = block.kernel(&MATRIX[form as usize], tile, [m, n], [k, u64::from(STEP)]);
        Self::of(gpu, kernel, blocks, sizes, ld)
    }

    /// Of a kernel whose workgroups have so many rows and columns of C, and so many invocations.
    fn of(
        gpu: &Gpu,
        kernel: &'static Kernel,
        ([down, across], invocations): ([u32; 2], u32),
        [batch, m, n, k]: [u32; 4],
        [lda, ldb]: [u32; 2],
    ) -> Self {
        let blocks = u64::from(batch) * u64::from(m.div_ceil(down)) * u64::from(n.div_ceil(across));
        let cut = Cut::of(gpu, (blocks, invocations), [batch, m, n, k], STEP);
        let groups = blocks * u64::from(cut.splits);
        Self { kernel, uniforms: MatrixUniforms { cut, lda, ldb }, groups }
    }

    fn launch(&self, part: &Tensor, inputs: &[&Tensor]) {
        let Cut { batch, m, n, k, .. } = self.uniforms.cut;
        let bytes = (inputs.iter().map(|t| t.bytes()).sum::<usize>() + part.bytes()) as u64;
        let flops = 2 * [batch, m, n, k].into_iter().map(u64::from).product::<u64>();
        let mut tensors: Vec<&dyn Bind> = vec![part];
        tensors.extend(inputs.iter().map(|&t| t as &dyn Bind));
        let p = |first| MatrixUniforms { cut: Cut { first, ..self.uniforms.cut }, ..self.uniforms };
        let (grid, work) = (Grid::groups(self.groups), Work::new(bytes, flops));
        part.gpu().run_in_parts(self.kernel, &tensors, p, grid, work, 1.0);
    }
}

/// Length of the last axis, and of all others together.
fn rows_columns(x: &Tensor) -> (u32, u32) {
    let columns = x.shape()[x.shape().rank() - 1];
    ((x.len() / columns) as u32, columns as u32)
}

/// `x` as f16 with its last axis padded to a multiple of 8, and that multiple. Returns `x` itself where it has both.
pub(in crate::ops) fn pack(op: &str, x: &Tensor) -> (Tensor, u32) {
    let (rows, columns) = rows_columns(x);
    let padded = columns.next_multiple_of(8);
    (pack_rows(op, x, [rows, columns, padded]), padded)
}

/// `x`, taken as rows of `columns` values, as f16 rows of `padded` values. Returns `x` itself where it is that.
pub(in crate::ops) fn pack_rows(op: &str, x: &Tensor, [rows, columns, padded]: [u32; 3]) -> Tensor {
    let half = x.dtype() == DType::F16;
    if half && padded == columns {
        return x.clone();
    }
    let y = Tensor::alloc(x.gpu(), op, &Shape::new(&[rows as usize, padded as usize]), DType::F16);
    let work = Work::new((x.bytes() + y.bytes()) as u64, 0_u64);
    let kernel = if half { &PACK_F16 } else { &PACK };
    let p = PackUniforms { rows, columns, padded };
    x.gpu().run(kernel, &[&y, x], &p, Grid::items(rows * padded / 4), work);
    y
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
    let padded = columns.next_multiple_of(8);
    let y = Tensor::alloc(gpu, op, &Shape::new(&[2, count as usize, padded as usize]), DType::F16);
    let p = SplitUniforms { count, columns, k, along_k: u32::from(along_k) };
    let work = Work::new((x.bytes() + y.bytes() + e.bytes()) as u64, 6 * x.len() as u64);
    gpu.run(&SPLIT, &[&y, x, &e], &p, Grid::items(count * padded / 4), work);
    (y, e, padded)
}
