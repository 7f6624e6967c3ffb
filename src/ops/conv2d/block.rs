//! `4_block_*`: implicit GEMMs with 2-D register blocking, in four sizes of tiles.

use super::job::{Gemm, Job, Pass, SHARE, SplitSizes};
use crate::gpu::{Constant, Facts, Grid, Kernel, Source, source, uniforms};
use crate::ops::channel_stats::Stats;
use crate::ops::split_sums::{split_output, splits, sum_splits};
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source = source!("conv/4_block_forward.wgsl");
static INPUT_SOURCE: Source = source!("conv/4_block_input_gradient.wgsl");
static WEIGHT_SOURCE: Source = source!("conv/4_block_weight_gradient.wgsl");
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

const T128: &[Constant] =
    &[("BM", 128.0), ("BN", 128.0), ("BK", 16.0), ("WG", 256.0), ("A_SIZE", 512.0), ("B_SIZE", 512.0)];
const T128X64: &[Constant] =
    &[("BM", 128.0), ("BN", 64.0), ("BK", 8.0), ("WG", 128.0), ("A_SIZE", 256.0), ("B_SIZE", 128.0)];
const T64: &[Constant] =
    &[("BM", 64.0), ("BN", 64.0), ("BK", 8.0), ("WG", 64.0), ("A_SIZE", 128.0), ("B_SIZE", 128.0)];
const T64X32: &[Constant] =
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
/// Invocations of those workgroups.
const WORKGROUPS: [u32; 4] = [256, 128, 64, 32];

/// Returns the index into [`TILES`]: the largest of at most [`Facts::tile`] rows of which not half the columns are idle and that,
/// with sums cut into parts of 512 terms at least, gives [`Facts::fill`] invocations; the smallest if there is none.
fn tile(gemm: &Gemm, facts: &Facts) -> usize {
    let fits = |(&(rows, columns), &invocations): (&(u64, u64), &u32)| {
        let parts = (gemm.k / 512).max(1);
        rows <= u64::from(facts.tile)
            && 2 * gemm.columns > columns
            && facts.filled(gemm.tiles(rows, columns) * parts, invocations) >= 1.0
    };
    TILES.iter().zip(&WORKGROUPS).position(fits).unwrap_or(if gemm.columns > 32 { 2 } else { 3 })
}

uniforms! {
    /// `strips`: of the statistics that are wanted, or 0.
    struct ForwardSizes { split: SplitSizes, strips: u32 }
}

pub(super) fn launch(job: &Job<'_>) -> Option<Stats> {
    launch_tile(job, tile(&job.gemm(), job.gpu().facts()))
}

fn launch_tile(job: &Job<'_>, tile: usize) -> Option<Stats> {
    let gpu = job.gpu();
    let gemm = job.gemm();
    let (tile_rows, tile_columns) = TILES[tile];
    let groups = gemm.tiles(tile_rows, tile_columns);
    // A cut lies between vec4s.
    let chunk = gemm.k.div_ceil(u64::from(splits(gpu, groups, WORKGROUPS[tile], gemm.k))).next_multiple_of(4);
    let splits = gemm.k.div_ceil(chunk) as u32;
    let kernels = if gemm.columns.is_multiple_of(4) { &VECTORS } else { &RAGGED };
    let kernel = &kernels[job.pass as usize][tile];
    let grid = Grid::groups(groups * u64::from(splits));
    let part = split_output("conv2d", job.result, splits);
    let split = |first| SplitSizes { sizes: job.sizes, chunk: chunk as u32, splits, first };

    let mut stats = None;
    if job.pass == Pass::Forward {
        // A strip of statistics is the rows of a tile. Where sums are split no workgroup has them whole.
        let strips = if job.wants_stats && splits == 1 { gemm.rows.div_ceil(tile_rows) as u32 } else { 0 };
        let shape = [gemm.columns as usize, strips.max(1) as usize, 2];
        let parts = Tensor::alloc(gpu, "conv2d", &shape.into(), DType::F32);
        let sizes = |first| ForwardSizes { split: split(first), strips };
        gpu.run_in_parts(kernel, &[&part, &parts, job.lhs, job.rhs], sizes, grid, job.work(), SHARE);
        stats = (strips > 0).then_some(Stats { parts, rows: tile_rows as u32 });
    } else {
        gpu.run_in_parts(kernel, &[&part, job.lhs, job.rhs], split, grid, job.work(), SHARE);
    }
    sum_splits(job.result, &part, splits);
    stats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Gpu;
    use crate::ops::conv2d::job::Sizes;
    use crate::reference::conv2d::{Conv, conv2d, conv2d_backward};

    fn data(n: usize, factor: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * factor + 11) % 127) as f32 / 64.0 - 1.0).collect()
    }

    fn f64s(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&v| f64::from(v)).collect()
    }

    #[track_caller]
    fn assert_close(what: &str, got: &[f32], want: &[f64]) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            let (got, tol) = (f64::from(got), 1e-4 + 2e-5 * want.abs());
            assert!(!((got - want).abs() > tol || got.is_nan()), "{what} [{i}]: {got} want {want}");
        }
    }

    /// The tiles that only large products get, against the specification; the statistics against y itself.
    #[test]
    fn large_tiles() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let conv = |stride, cin, cout| Conv {
            n: 2,
            input: [9, 10],
            cin,
            cout,
            kernel: [3, 3],
            stride: [stride; 2],
            padding: [1, 1],
        };
        for case in [conv(1, 4, 132), conv(2, 12, 68)] {
            let Conv { n, input: [h, w], cin, cout, .. } = case;
            let [oh, ow] = case.output();
            let [x, k, dy] =
                [n * h * w * cin, 9 * cin * cout, n * oh * ow * cout].map(|len| data(len, 37 + len % 7));
            let y = conv2d(&f64s(&x), &f64s(&k), &case);
            let (dx, dw) = conv2d_backward(&f64s(&x), &f64s(&k), &f64s(&dy), &case);
            let x = gpu.tensor(&x, [n, h, w, cin]).unwrap();
            let k = gpu.tensor(&k, [3, 3, cin, cout]).unwrap();
            let dy = gpu.tensor(&dy, [n, oh, ow, cout]).unwrap();
            let s = case.stride[0] as u32;
            let [n, h, w, cin, oh, ow, cout] = [n, h, w, cin, oh, ow, cout].map(|d| d as u32);
            let sizes = Sizes { n, h, w, cin, oh, ow, cout, kh: 3, kw: 3, sh: s, sw: s, ph: 1, pw: 1 };
            for (tile, name) in TILES.iter().enumerate().take(2) {
                for (pass, like, lhs, rhs, want) in [
                    (Pass::Forward, &dy, &x, &k, &y),
                    (Pass::InputGradient, &x, &dy, &k, &dx),
                    (Pass::WeightGradient, &k, &x, &dy, &dw),
                ] {
                    let result = like.full_like(7.0);
                    let job = Job { pass, sizes, result: &result, lhs, rhs, wants_stats: true };
                    let stats = launch_tile(&job, tile);
                    let what = format!("{pass:?} {case:?}, tile {name:?}");
                    assert_close(&what, &result.to_vec().unwrap(), want);
                    if let Some(stats) = stats {
                        check_stats(&what, &stats, &f64s(&result.to_vec().unwrap()), cout as usize);
                    }
                }
            }
        }
    }

    #[track_caller]
    fn check_stats(what: &str, stats: &Stats, y: &[f64], c: usize) {
        let mut want = vec![];
        for channel in 0..c {
            let column: Vec<f64> = y.iter().skip(channel).step_by(c).copied().collect();
            for strip in column.chunks(stats.rows as usize) {
                let mean = strip.iter().sum::<f64>() / strip.len() as f64;
                want.extend([mean, strip.iter().map(|v| (v - mean).powi(2)).sum()]);
            }
        }
        assert_close(&format!("{what}, statistics"), &stats.parts.to_vec().unwrap(), &want);
    }
}
