//! Convolution on matrix units: f16 operands, f32 sums.

use super::{Params, Pass};
use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::ops::matmul::matrix::{pack, tile};
use crate::ops::matmul::{split_output, splits, sum_splits};
use crate::tensor::Tensor;

static SOURCE: Source =
    Source::new("conv/9_matrix.wgsl", include_str!("../../../shaders/conv/9_matrix.wgsl"));
/// With [`Pass`] as index.
static CONV: [Kernel; 3] = [
    SOURCE.kernel("conv").with(&[("PASS", 0.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]),
    SOURCE.kernel("conv").with(&[("PASS", 1.0), ("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]),
    SOURCE.kernel("conv").with(&[("PASS", 2.0), ("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)]),
];

params! {
    struct MatrixParams {
        n: u32, h: u32, w: u32, cin: u32, oh: u32, ow: u32, cout: u32,
        kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32, chunk: u32, splits: u32,
    }
}

/// Runs one pass. What is f32 is rounded to f16, so this is for those who asked for it.
pub(super) fn launch(pass: Pass, p: &Params, result: &Tensor, lhs: &Tensor, rhs: &Tensor) {
    let &Params { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw } = p;
    let product = |dims: &[u32]| dims.iter().map(|&d| u64::from(d)).product::<u64>();
    let padded = |channels: u32| channels.next_multiple_of(4);
    let (rows, columns, k) = match pass {
        Pass::Forward => (product(&[n, oh, ow]), cout, product(&[kh, kw, padded(cin)])),
        Pass::InputGradient => (product(&[n, h, w]), cin, product(&[kh, kw, padded(cout)])),
        Pass::WeightGradient => (product(&[kh, kw, padded(cin)]), cout, product(&[n, oh, ow])),
    };
    let gpu = result.gpu();
    let Some(tile) = tile(gpu, "conv/9_matrix") else { return };
    let side = 8 * tile;
    let groups = rows.div_ceil(u64::from(side)) * u64::from(columns.div_ceil(side));
    let wanted = if pass == Pass::WeightGradient { splits(gpu.is_cpu(), groups, k) } else { 1 };
    let chunk = k.div_ceil(u64::from(wanted)).next_multiple_of(32) as u32;
    let splits = k.div_ceil(u64::from(chunk)) as u32;

    let ((lhs, _), (rhs, _)) = (pack("conv2d", lhs), pack("conv2d", rhs));
    let part = split_output("conv2d", result, splits);
    let work = Work {
        bytes: (part.bytes() + lhs.bytes() + rhs.bytes()) as u64,
        flops: 2 * product(&[n, oh, ow, cout, kh, kw, cin]),
    };
    let p = MatrixParams { n, h, w, cin, oh, ow, cout, kh, kw, sh, sw, ph, pw, chunk, splits };
    let grid = Grid::groups(groups * u64::from(splits));
    gpu.run(&CONV[pass as usize], &[&part, &lhs, &rhs], &p, grid, work);
    sum_splits(result, &part, splits);
}
