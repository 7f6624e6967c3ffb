//! Kernels that give a row of a matrix to several invocations (`shaders/lib/row.wgsl`), and how many.

use super::unary::assert_float;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Params, Source, Work};
use crate::tensor::{DType, Tensor};

/// Lanes a row and invocations a workgroup: two for CPU adapters, then three for GPUs.
pub(super) const WIDTHS: [(u32, u32); 5] = [(1, 8), (8, 8), (4, 64), (32, 64), (256, 256)];

/// On a CPU adapter an invocation takes a row alone, so that a SIMD register holds eight rows and nothing is shared.
/// Rows too few to fill the cores, and long ones, are split: lavapipe ends an invocation's loops, without a word, when
/// they have made 65,535 iterations in all, and a kernel passes over its row up to three times. A GPU takes the least
/// lanes that leave each about 32 elements at most.
fn width(is_cpu: bool, rows: usize, c: usize) -> usize {
    match (is_cpu, c) {
        (true, 131_073..) => 4,
        (true, 16_385..) => 1,
        (true, _) => usize::from(rows < 64 && c >= 64),
        (false, 1025..) => 4,
        (false, 65..) => 3,
        (false, _) => 2,
    }
}

/// One entry point compiled for each of `WIDTHS`; the pipelines are made when first used.
pub(super) struct RowKernel([Kernel; 5]);

impl RowKernel {
    pub(super) const fn new(source: &'static Source, entry: &'static str) -> Self {
        Self([
            source.kernel(entry).with(&[("LANES", WIDTHS[0].0 as f64), ("WG", WIDTHS[0].1 as f64)]),
            source.kernel(entry).with(&[("LANES", WIDTHS[1].0 as f64), ("WG", WIDTHS[1].1 as f64)]),
            source.kernel(entry).with(&[("LANES", WIDTHS[2].0 as f64), ("WG", WIDTHS[2].1 as f64)]),
            source.kernel(entry).with(&[("LANES", WIDTHS[3].0 as f64), ("WG", WIDTHS[3].1 as f64)]),
            source.kernel(entry).with(&[("LANES", WIDTHS[4].0 as f64), ("WG", WIDTHS[4].1 as f64)]),
        ])
    }

    /// Launches it over `rows` rows of `c` elements.
    #[track_caller]
    pub(super) fn run<P: Params>(
        &self,
        gpu: &Gpu,
        tensors: &[&dyn Bind],
        params: &P,
        (rows, c): (usize, usize),
        work: Work,
    ) {
        self.run_as(width(gpu.is_cpu(), rows, c), gpu, tensors, params, rows, work);
    }

    /// Launches it with the lanes and workgroup of `WIDTHS[width]`.
    #[track_caller]
    pub(super) fn run_as<P: Params>(
        &self,
        width: usize,
        gpu: &Gpu,
        tensors: &[&dyn Bind],
        params: &P,
        rows: usize,
        work: Work,
    ) {
        let (lanes, workgroup) = WIDTHS[width];
        let groups = rows.div_ceil((workgroup / lanes) as usize);
        gpu.run(&self.0[width], tensors, params, Grid::groups(groups as u64), work);
    }
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
    assert!(fits, "{op}: {name} {v:?} does not give one f32 for each column of {}", x.shape());
}
