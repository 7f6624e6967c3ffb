//! `4_block_*`: implicit GEMMs with 2-D register blocking, in four sizes of tiles.

use super::{Gemm, Job, Pass, Stats};
use crate::gpu::{Grid, Kernel, Source, params};
use crate::ops::matmul::{split_output, splits, sum_splits};
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source =
    Source::new("conv/4_block_forward.wgsl", include_str!("../../../shaders/conv/4_block_forward.wgsl"));
static INPUT_SOURCE: Source = Source::new(
    "conv/4_block_input_gradient.wgsl",
    include_str!("../../../shaders/conv/4_block_input_gradient.wgsl"),
);
static WEIGHT_SOURCE: Source = Source::new(
    "conv/4_block_weight_gradient.wgsl",
    include_str!("../../../shaders/conv/4_block_weight_gradient.wgsl"),
);
/// By pass, then by tile: columns in multiples of 4.
static VECTORS: [[Kernel; 4]; 3] = [
    by_tile(&FORWARD_SOURCE, "forward"),
    by_tile(&INPUT_SOURCE, "input_gradient"),
    by_tile(&WEIGHT_SOURCE, "weight_gradient"),
];
/// The same for any number of columns.
static RAGGED: [[Kernel; 4]; 3] = [
    by_tile(&FORWARD_SOURCE, "forward_ragged"),
    by_tile(&INPUT_SOURCE, "input_gradient_ragged"),
    by_tile(&WEIGHT_SOURCE, "weight_gradient_ragged"),
];

type Constants = &'static [(&'static str, f64)];
const T128: Constants =
    &[("BM", 128.0), ("BN", 128.0), ("BK", 16.0), ("WG", 256.0), ("A_SIZE", 512.0), ("B_SIZE", 512.0)];
const T128X64: Constants =
    &[("BM", 128.0), ("BN", 64.0), ("BK", 8.0), ("WG", 128.0), ("A_SIZE", 256.0), ("B_SIZE", 128.0)];
const T64: Constants =
    &[("BM", 64.0), ("BN", 64.0), ("BK", 8.0), ("WG", 64.0), ("A_SIZE", 128.0), ("B_SIZE", 128.0)];
const T64X32: Constants =
    &[("BM", 64.0), ("BN", 32.0), ("BK", 4.0), ("WG", 32.0), ("A_SIZE", 64.0), ("B_SIZE", 32.0)];

const fn by_tile(source: &'static Source, entry: &'static str) -> [Kernel; 4] {
    [
        source.kernel(entry).with(T128),
        source.kernel(entry).with(T128X64),
        source.kernel(entry).with(T64),
        source.kernel(entry).with(T64X32),
    ]
}

/// Rows and columns of a workgroup's tile, in the order of [`by_tile`].
const TILES: [(u64, u64); 4] = [(128, 128), (128, 64), (64, 64), (64, 32)];

/// The largest tile of which not half the columns are idle and that, with sums cut into parts of 512 terms at least,
/// gives 256 workgroups; the smallest if there is none.
fn tile(gemm: &Gemm) -> usize {
    let fits = |&(rows, columns): &(u64, u64)| {
        2 * gemm.columns > columns && gemm.tiles(rows, columns) * (gemm.k / 512).max(1) >= 256
    };
    TILES.iter().position(fits).unwrap_or(if gemm.columns > 32 { 2 } else { 3 })
}

params! {
    struct ForwardSizes {
        n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
        kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32, strips: u32,
    }
}

pub(super) fn launch(job: &Job<'_>) -> Option<Stats> {
    let gpu = job.gpu();
    let gemm = job.gemm();
    let tile = tile(&gemm);
    let (tile_rows, tile_columns) = TILES[tile];
    let groups = gemm.tiles(tile_rows, tile_columns);
    let chunk = gemm.k.div_ceil(u64::from(splits(gpu.is_cpu(), groups, gemm.k)));
    let splits = gemm.k.div_ceil(chunk) as u32;
    let kernels = if gemm.columns.is_multiple_of(4) { &VECTORS } else { &RAGGED };
    let kernel = &kernels[job.pass as usize][tile];
    let grid = Grid::groups(groups * u64::from(splits));
    let part = split_output("conv2d", job.result, splits);
    let sizes = job.sizes.split(chunk as u32, splits);

    let mut stats = None;
    if job.pass == Pass::Forward {
        // A strip of statistics is the rows of a tile. Where sums are split no workgroup has them whole.
        let strips = if job.wants_stats && splits == 1 { gemm.rows.div_ceil(tile_rows) as u32 } else { 0 };
        let shape = [gemm.columns as usize, strips.max(1) as usize, 2];
        let parts = Tensor::alloc(gpu, "conv2d", &shape.into(), DType::F32);
        let sizes = sizes.with_strips(strips);
        gpu.run(kernel, &[&part, &parts, job.lhs, job.rhs], &sizes, grid, job.work());
        stats = (strips > 0).then_some(Stats { parts, rows: tile_rows as u32 });
    } else {
        gpu.run(kernel, &[&part, job.lhs, job.rhs], &sizes, grid, job.work());
    }
    sum_splits(job.result, &part, splits);
    stats
}

impl super::SplitSizes {
    /// With the number of strips whose statistics are wanted.
    fn with_strips(self, strips: u32) -> ForwardSizes {
        let Self { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw, chunk, splits } = self;
        ForwardSizes { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw, chunk, splits, strips }
    }
}
