//! `4_block_*`: implicit GEMMs with 2-D register blocking, in four sizes of tiles.

use super::job::{Done, Gemm, Job, Pass, SHARE, Sizes, SplitSizes, unread};
use crate::gpu::{Bind, Constant, Facts, Grid, Kernel, Source, source, uniforms};
use crate::ops::channel_stats::Stats;
use crate::ops::split_sums::{split_output, splits, sum_splits};
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source = source!("conv/4_block_forward.wgsl");
static INPUT_SOURCE: Source = source!("conv/4_block_input_gradient.wgsl");
static WEIGHT_SOURCE: Source = source!("conv/4_block_weight_gradient.wgsl");
/// By pass, then by tile, then by whether columns come in multiples of 4, then by [`Reading`].
static KERNELS: [[[[Kernel; 3]; 2]; 4]; 3] = [
    by_tile(&FORWARD_SOURCE, ["forward_ragged", "forward"], false),
    by_tile(&INPUT_SOURCE, ["input_gradient_ragged", "input_gradient"], true),
    by_tile(&WEIGHT_SOURCE, ["weight_gradient_ragged", "weight_gradient"], false),
];

const T128: &[Constant] = &[("BM", 128.0), ("BN", 128.0), ("BK", 16.0), ("WG", 256.0)];
const T128X64: &[Constant] = &[("BM", 128.0), ("BN", 64.0), ("BK", 8.0), ("WG", 128.0)];
const T64: &[Constant] = &[("BM", 64.0), ("BN", 64.0), ("BK", 8.0), ("WG", 64.0)];
const T64X32: &[Constant] = &[("BM", 64.0), ("BN", 32.0), ("BK", 4.0), ("WG", 32.0)];

/// How the kernels read the operand whose rows are pixels, or taps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Value by value.
    Scalars,
    /// Vec4s of channels.
    Vectors,
    /// The same, and the sums are whole steps long, each step in one tap.
    Whole,
}

const A_SCALARS: &[Constant] = &[("A_VECTORS", 0.0), ("WHOLE", 0.0)];
const A_VECTORS: &[Constant] = &[("A_VECTORS", 1.0), ("WHOLE", 0.0)];
const A_WHOLE: &[Constant] = &[("A_VECTORS", 1.0), ("WHOLE", 1.0)];
const B_SCALARS: &[Constant] = &[("B_VECTORS", 0.0)];
const B_VECTORS: &[Constant] = &[("B_VECTORS", 1.0)];
const A_LIKE: [&[Constant]; 3] = [B_SCALARS, B_VECTORS, B_VECTORS];

/// `alike`: vec4s of both operands run along the same channels, not B's along the columns.
const fn by_tile(source: &'static Source, entries: [&'static str; 2], alike: bool) -> [[[Kernel; 3]; 2]; 4] {
    let [ragged, vectors] = entries;
    let (ragged_b, vectors_b) = if alike { (A_LIKE, A_LIKE) } else { ([B_SCALARS; 3], [B_VECTORS; 3]) };
    [
        [by_reading(source, ragged, T128, ragged_b), by_reading(source, vectors, T128, vectors_b)],
        [by_reading(source, ragged, T128X64, ragged_b), by_reading(source, vectors, T128X64, vectors_b)],
        [by_reading(source, ragged, T64, ragged_b), by_reading(source, vectors, T64, vectors_b)],
        [by_reading(source, ragged, T64X32, ragged_b), by_reading(source, vectors, T64X32, vectors_b)],
    ]
}

const fn by_reading(
    source: &'static Source,
    entry: &'static str,
    tile: &'static [Constant],
    b: [&'static [Constant]; 3],
) -> [Kernel; 3] {
    [
        source.kernel(entry).with(tile).with(A_SCALARS).with(b[0]),
        source.kernel(entry).with(tile).with(A_VECTORS).with(b[1]),
        source.kernel(entry).with(tile).with(A_WHOLE).with(b[2]),
    ]
}

/// Rows and columns of a workgroup's tile, in the order of [`by_tile`].
const TILES: [(u64, u64); 4] = [(128, 128), (128, 64), (64, 64), (64, 32)];
/// Invocations of those workgroups.
const WORKGROUPS: [u32; 4] = [256, 128, 64, 32];
/// Terms of their steps.
const STEPS: [u64; 4] = [16, 8, 8, 4];

/// How the rows of a job are read in steps of `step` terms.
fn reading(job: &Job<'_>, step: u64) -> Reading {
    let Sizes { cin, ow, cout, kh, kw, .. } = job.sizes;
    // The taps that a pixel has something under are kept in 15 bits. The rows of a weight gradient are taps themselves, and its
    // terms are pixels, of which a block has 4 of one line.
    let (channels, taps) = match job.pass {
        Pass::Forward => (cin, kh + kw),
        Pass::InputGradient => (cout, kh + kw),
        Pass::WeightGradient => (cin, 0),
    };
    let whole = match job.pass {
        Pass::WeightGradient => ow.is_multiple_of(4) && job.gemm().k.is_multiple_of(step),
        _ => u64::from(channels).is_multiple_of(step),
    };
    match channels.is_multiple_of(4) && taps <= 15 {
        true if whole => Reading::Whole,
        true => Reading::Vectors,
        false => Reading::Scalars,
    }
}

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
uniforms! {
    /// `plus`: whether there is something to add to dx.
    struct InputSizes { split: SplitSizes, plus: u32 }
}

pub(super) fn launch(job: &Job<'_>) -> Done {
    launch_tile(job, tile(&job.gemm(), job.gpu().facts()))
}

fn launch_tile(job: &Job<'_>, tile: usize) -> Done {
    let gpu = job.gpu();
    let gemm = job.gemm();
    let (tile_rows, tile_columns) = TILES[tile];
    let groups = gemm.tiles(tile_rows, tile_columns);
    let reading = reading(job, STEPS[tile]);
    // A cut lies between vec4s, or between steps.
    let unit = if reading == Reading::Whole { STEPS[tile] } else { 4 };
    let chunk =
        gemm.k.div_ceil(u64::from(splits(gpu, groups, WORKGROUPS[tile], gemm.k))).next_multiple_of(unit);
    let splits = gemm.k.div_ceil(chunk) as u32;
    let vectors = usize::from(gemm.columns.is_multiple_of(4));
    let kernel = &KERNELS[job.pass as usize][tile][vectors][reading as usize];
    let grid = Grid::groups(groups * u64::from(splits));
    let part = split_output("conv2d", job.result, splits);
    let split = |first| SplitSizes { sizes: job.sizes, chunk: chunk as u32, splits, first };

    let mut done = Done::default();
    match job.pass {
        Pass::Forward => {
            // A strip of statistics is the rows of a tile. Where sums are split no workgroup has them whole.
            let strips =
                if job.wants_stats && splits == 1 { gemm.rows.div_ceil(tile_rows) as u32 } else { 0 };
            let shape = [gemm.columns as usize, strips.max(1) as usize, 2];
            let parts = Tensor::alloc(gpu, "conv2d", &shape.into(), DType::F32);
            let sizes = |first| ForwardSizes { split: split(first), strips };
            gpu.run_in_parts(kernel, &[&part, &parts, job.lhs, job.rhs], sizes, grid, job.work(), SHARE);
            done.stats = (strips > 0).then_some(Stats { parts, rows: tile_rows as u32 });
        }
        Pass::InputGradient => {
            let plus = job.plus.filter(|_| splits == 1 && vectors == 1);
            done.has_plus = plus.is_some();
            let sizes = |first| InputSizes { split: split(first), plus: u32::from(plus.is_some()) };
            let plus = plus.map_or_else(|| unread(&part), Tensor::clone);
            let bound: [&dyn Bind; 4] = [&part, job.lhs, job.rhs, &plus];
            // Only the kernels for vec4s add.
            gpu.run_in_parts(kernel, &bound[..3 + vectors], sizes, grid, job.work(), SHARE);
        }
        Pass::WeightGradient => {
            gpu.run_in_parts(kernel, &[&part, job.lhs, job.rhs], split, grid, job.work(), SHARE);
        }
    }
    sum_splits(job.result, &part, splits);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Gpu;
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

    fn sizes(case: &Conv) -> Sizes {
        let Conv { n, input: [h, w], cin, cout, kernel: [kh, kw], stride: [sh, sw], padding: [ph, pw] } =
            *case;
        let [oh, ow] = case.output();
        let [n, h, w, cin, oh, ow, cout] = [n, h, w, cin, oh, ow, cout].map(|d| d as u32);
        let [kh, kw, sh, sw, ph, pw] = [kh, kw, sh, sw, ph, pw].map(|d| d as u32);
        Sizes { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw }
    }

    /// The gradient of one channel has a row that begins at each element, 65,535 and all.
    #[test]
    fn every_row_of_an_input_gradient_is_stored() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let case = Conv {
            n: 1,
            input: [256, 257],
            cin: 1,
            cout: 1,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
        };
        let dy = data(256 * 257, 37);
        let [lhs, rhs] = [(&dy, [1, 256, 257, 1]), (&vec![2.0], [1, 1, 1, 1])]
            .map(|(x, shape)| gpu.tensor(x, shape).unwrap());
        for (tile, name) in TILES.iter().enumerate() {
            let result = lhs.full_like(7.0);
            let (pass, sizes) = (Pass::InputGradient, sizes(&case));
            let job =
                Job { pass, sizes, result: &result, lhs: &lhs, rhs: &rhs, wants_stats: false, plus: None };
            launch_tile(&job, tile);
            let wrong = result.to_vec().unwrap().iter().zip(&dy).position(|(got, dy)| *got != 2.0 * dy);
            assert_eq!(wrong, None, "tile {name:?}");
        }
    }

    /// What does not count is read at the first place of an operand, and a NaN there is no one else's.
    #[test]
    fn a_nan_at_the_first_place_is_not_read_for_padding() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        for (cin, cout) in [(16, 24), (4, 12), (3, 5)] {
            let case =
                Conv { n: 2, input: [5, 8], cin, cout, kernel: [3, 3], stride: [1, 1], padding: [1, 1] };
            let [mut x, k, mut dy] = [80 * cin, 9 * cin * cout, 80 * cout].map(|len| data(len, 37));
            (x[0], dy[0]) = (f32::NAN, f32::NAN);
            let y = conv2d(&f64s(&x), &f64s(&k), &case);
            let zeros = vec![0.0; dy.len()];
            let (dx, _) = conv2d_backward(&f64s(&data(x.len(), 37)), &f64s(&k), &f64s(&dy), &case);
            let (_, dw) = conv2d_backward(&f64s(&x), &f64s(&k), &zeros, &case);
            let images = gpu.tensor(&x, [2, 5, 8, cin]).unwrap();
            let weights = gpu.tensor(&k, [3, 3, cin, cout]).unwrap();
            let [dy, zeros] = [dy, vec![0.0; zeros.len()]].map(|v| gpu.tensor(&v, [2, 5, 8, cout]).unwrap());
            for tile in [2, 3] {
                for (pass, like, lhs, rhs, want) in [
                    (Pass::Forward, &dy, &images, &weights, &y),
                    (Pass::InputGradient, &images, &dy, &weights, &dx),
                    (Pass::WeightGradient, &weights, &images, &zeros, &dw),
                ] {
                    let result = like.full_like(7.0);
                    let sizes = sizes(&case);
                    launch_tile(
                        &Job { pass, sizes, result: &result, lhs, rhs, wants_stats: false, plus: None },
                        tile,
                    );
                    for (i, (got, want)) in result.to_vec().unwrap().iter().zip(want).enumerate() {
                        assert_eq!(got.is_nan(), want.is_nan(), "{pass:?} {cin} {cout} tile {tile} [{i}]");
                    }
                }
            }
        }
    }

    /// The tiles that only large products get, against the specification; the statistics against y itself.
    #[test]
    fn large_tiles() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let conv = |stride, input, cin, cout, side| Conv {
            n: 2,
            input,
            cin,
            cout,
            kernel: [side; 2],
            stride: [stride; 2],
            padding: [1, 1],
        };
        // Vec4s, vec4s, whole steps, and for the images values, since a pixel may have more than 15 bits of taps.
        let cases = [
            conv(1, [9, 10], 4, 132, 3),
            conv(2, [9, 10], 12, 68, 3),
            conv(1, [9, 16], 16, 144, 3),
            conv(2, [9, 14], 8, 68, 8),
        ];
        for case in cases {
            let Conv { n, input: [h, w], cin, cout, kernel: [kh, kw], .. } = case;
            let [oh, ow] = case.output();
            let [x, k, dy] = [n * h * w * cin, kh * kw * cin * cout, n * oh * ow * cout]
                .map(|len| data(len, 37 + len % 7));
            let y = conv2d(&f64s(&x), &f64s(&k), &case);
            let (dx, dw) = conv2d_backward(&f64s(&x), &f64s(&k), &f64s(&dy), &case);
            let x = gpu.tensor(&x, [n, h, w, cin]).unwrap();
            let k = gpu.tensor(&k, [kh, kw, cin, cout]).unwrap();
            let dy = gpu.tensor(&dy, [n, oh, ow, cout]).unwrap();
            let sizes = sizes(&case);
            for (tile, name) in TILES.iter().enumerate().take(2) {
                for (pass, like, lhs, rhs, want) in [
                    (Pass::Forward, &dy, &x, &k, &y),
                    (Pass::InputGradient, &x, &dy, &k, &dx),
                    (Pass::WeightGradient, &k, &x, &dy, &dw),
                ] {
                    let result = like.full_like(7.0);
                    let job = Job { pass, sizes, result: &result, lhs, rhs, wants_stats: true, plus: None };
                    let stats = launch_tile(&job, tile).stats;
                    let what = format!("{pass:?} {case:?}, tile {name:?}");
                    assert_close(&what, &result.to_vec().unwrap(), want);
                    if let Some(stats) = stats {
                        check_stats(&what, &stats, &f64s(&result.to_vec().unwrap()), cout);
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
