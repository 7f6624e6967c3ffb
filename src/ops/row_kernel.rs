//! Kernels that give a row of a matrix to several invocations (`shaders/lib/row.wgsl`), and how many.

use super::elementwise::assert_float;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Means, Source, Uniforms, Work};
use crate::tensor::{DType, Tensor};

/// How a row is shared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Width {
    lanes: u32,
    workgroup: u32,
    /// Whether the lanes add up by shuffles, `lib/sums_shuffle.wgsl`.
    shuffled: bool,
    /// Cells of a row that each lane keeps in registers, at most [`HELD`].
    keep: u32,
}

impl Width {
    /// Whether the rows' lanes can add up so: by shuffles where no subgroup is smaller than a row's lanes.
    fn runs_on(self, gpu: &Gpu) -> bool {
        let info = gpu.info();
        !self.shuffled || (info.subgroups && info.subgroup_size.0 >= self.lanes)
    }
}

/// Cells of a row that a lane has registers for: `HELD` of `lib/row.wgsl`.
pub(super) const HELD: usize = 8;

/// For CPUs.
const fn cached(lanes: u32, workgroup: u32, shuffled: bool) -> Width {
    Width { lanes, workgroup, shuffled, keep: 0 }
}

/// For GPUs.
const fn held(lanes: u32, workgroup: u32, shuffled: bool, keep: u32) -> Width {
    Width { lanes, workgroup, shuffled, keep }
}

/// Of CPUs: one invocation a row; 8 a row, which add up in workgroup memory or by shuffles. Of GPUs: 256 a row; 4 and, for short rows
/// and longer ones, 32 a row, again in workgroup memory or by shuffles.
const WIDTHS: [Width; WAYS] = [
    cached(1, 8, false),
    cached(8, 32, false),
    cached(8, 32, true),
    held(256, 256, false, 8),
    held(4, 64, false, 4),
    held(4, 64, true, 4),
    held(32, 64, false, 2),
    held(32, 64, true, 2),
    held(32, 64, false, 8),
    held(32, 64, true, 8),
];
const WAYS: usize = 10;

/// The index of the longest rows.
const LONG: usize = 3;

/// Returns the index into [`WIDTHS`] for `rows` rows of `cells` cells, each of `cell` elements that a lane takes together.
///
/// Where [`Facts::lone_rows`](crate::gpu::Facts::lone_rows) is set an invocation takes a row alone, so that a SIMD register holds
/// eight rows and nothing is shared; with shuffles 8 lanes take a row of 128 elements or more, and read it side by side. Rows
/// too few to fill the cores are split too, and rows too long for [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations): a
/// kernel passes over its row up to three times. Elsewhere a row has the least lanes that leave each about 32 elements at most, and
/// they shuffle where a subgroup has them all.
fn choose(gpu: &Gpu, rows: usize, cells: usize, cell: usize) -> usize {
    if !gpu.facts().lone_rows {
        let by_memory = match cells * cell {
            1025.. => return LONG,
            65.. if cells > 64 => 8,
            65.. => 6,
            _ => 4,
        };
        let by_shuffles = by_memory + 1;
        return if WIDTHS[by_shuffles].runs_on(gpu) { by_shuffles } else { by_memory };
    }
    let shuffles = gpu.info().lacks(Means::Shuffles).is_none() && gpu.facts().prefers(Means::Shuffles);
    let split = if shuffles { 2 } else { 1 };
    let longest = gpu.info().longest_loop(3);
    match cells {
        _ if cells > longest.saturating_mul(8) => LONG,
        _ if cells > longest => split,
        _ if shuffles && cells * cell >= SIDE_BY_SIDE => 2,
        _ if rows < 64 && cells >= 16 => split,
        _ => 0,
    }
}

/// Elements of a row from which eight lanes that shuffle are faster than one.
const SIDE_BY_SIDE: usize = 128;

/// One entry point compiled for each of `WIDTHS`, and again for cells of four elements where its rows have lanes
/// (`shaders/lib/lane_4.wgsl`); the pipelines are made when first used.
pub(super) struct RowKernel {
    narrow: [Kernel; WAYS],
    wide: Option<[Kernel; WAYS]>,
}

impl RowKernel {
    /// An entry point that takes its rows element by element.
    pub(super) const fn new(source: &'static Source, entry: &'static str) -> Self {
        Self { narrow: widths(source, entry, false), wide: None }
    }

    /// One that takes them cell by cell: four elements where the rows are a multiple of four long.
    pub(super) const fn lanes(source: &'static Source, entry: &'static str) -> Self {
        Self { narrow: widths(source, entry, false), wide: Some(widths(source, entry, true)) }
    }

    /// How many invocations would share one of `rows` rows of `c` elements, and how many cells it has.
    pub(super) fn sharing(&self, gpu: &Gpu, rows: usize, c: usize) -> (usize, usize) {
        let (_, lane) = self.cells(c);
        (WIDTHS[choose(gpu, rows, c / lane, lane)].lanes as usize, c / lane)
    }

    /// The kernels for rows of `c` elements, and the elements of a cell.
    fn cells(&self, c: usize) -> (&[Kernel; WAYS], usize) {
        match &self.wide {
            Some(wide) if c.is_multiple_of(4) => (wide, 4),
            _ => (&self.narrow, 1),
        }
    }

    /// Launches it over `rows` rows of `c` elements.
    #[track_caller]
    pub(super) fn run<P: Uniforms>(
        &self,
        gpu: &Gpu,
        tensors: &[&dyn Bind],
        uniforms: &P,
        (rows, c): (usize, usize),
        work: Work,
    ) {
        let (kernels, lane) = self.cells(c);
        let i = choose(gpu, rows, c / lane, lane);
        launch(&kernels[i], WIDTHS[i], gpu, tensors, uniforms, rows, work);
    }

    /// Launches it over the columns of a matrix of `rows` by `c`, a cell of them at a time.
    #[track_caller]
    pub(super) fn run_columns<P: Uniforms>(
        &self,
        gpu: &Gpu,
        tensors: &[&dyn Bind],
        uniforms: &P,
        (rows, c): (usize, usize),
        work: Work,
    ) {
        let (kernels, lane) = self.cells(c);
        let i = choose(gpu, c / lane, rows, 1);
        launch(&kernels[i], WIDTHS[i], gpu, tensors, uniforms, c / lane, work);
    }

    /// Calls `check` for every form that runs on `gpu`: each width, with cells of one element, and of four where `c` is a
    /// multiple of four. It gets the form's name, the number of elements of a row that its lanes take at a time, and a launch.
    #[cfg(test)]
    pub(super) fn each_form<P: Uniforms>(
        &self,
        gpu: &Gpu,
        uniforms: &P,
        (rows, c): (usize, usize),
        mut check: impl FnMut(&str, usize, &dyn Fn(&[&dyn Bind])),
    ) {
        let wide = self.wide.as_ref().filter(|_| c.is_multiple_of(4));
        for (kernels, lane) in [(Some(&self.narrow), 1), (wide, 4)] {
            for (kernel, width) in kernels.into_iter().flatten().zip(WIDTHS) {
                if width.runs_on(gpu) {
                    let name = format!("{width:?}, cells of {lane}, {rows} x {c}");
                    check(&name, lane * width.lanes as usize, &|tensors| {
                        launch(kernel, width, gpu, tensors, uniforms, rows, Work::default());
                    });
                }
            }
        }
    }
}

#[track_caller]
fn launch<P: Uniforms>(
    kernel: &Kernel,
    width: Width,
    gpu: &Gpu,
    tensors: &[&dyn Bind],
    uniforms: &P,
    rows: usize,
    work: Work,
) {
    let groups = rows.div_ceil((width.workgroup / width.lanes) as usize);
    gpu.run(kernel, tensors, uniforms, Grid::groups(groups as u64), work);
}

const fn widths(source: &'static Source, entry: &'static str, wide: bool) -> [Kernel; WAYS] {
    [
        of_width::<0>(source, entry, wide),
        of_width::<1>(source, entry, wide),
        of_width::<2>(source, entry, wide),
        of_width::<3>(source, entry, wide),
        of_width::<4>(source, entry, wide),
        of_width::<5>(source, entry, wide),
        of_width::<6>(source, entry, wide),
        of_width::<7>(source, entry, wide),
        of_width::<8>(source, entry, wide),
        of_width::<9>(source, entry, wide),
    ]
}

const fn of_width<const I: usize>(source: &'static Source, entry: &'static str, wide: bool) -> Kernel {
    let constants: &'static [(&'static str, f64)] = const {
        let Width { lanes, workgroup, keep, .. } = WIDTHS[I];
        &[("LANES", lanes as f64), ("WG", workgroup as f64), ("KEEP", keep as f64)]
    };
    let sums = if WIDTHS[I].shuffled { "sums_shuffle" } else { "sums_memory" };
    let kernel = source.kernel(entry).with(constants).lib("sums", sums);
    if wide { kernel.lib("lane", "lane_4") } else { kernel }
}

/// `x` as rows over its last axis: their number and length.
#[track_caller]
pub(super) fn rows_of(op: &str, x: &Tensor) -> (usize, usize) {
    assert_float(op, &[x]);
    let Some(&c) = x.shape().last() else { panic!("{op}: shape {} has no last axis", x.shape()) };
    (x.len() / c.max(1), c)
}

/// Checks one value a column of `x`.
#[track_caller]
pub(super) fn check_columns(op: &str, x: &Tensor, name: &str, v: &Tensor) {
    let fits = v.dtype() == DType::F32 && **v.shape() == [*x.shape().last().unwrap_or(&0)];
    assert!(fits, "{op}: {name} {v} does not give one f32 for each column of {}", x.shape());
}
