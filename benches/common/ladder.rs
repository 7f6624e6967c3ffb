//! What the kernel ladders are timed on.

use wgrad::{DType, Gpu};

use super::Case;
use super::cases::{Sizes, images, products};
use super::timed::passes;

/// The rungs of a family that run on `gpu`, lowest first, matrix units last.
pub(crate) fn rungs(family: &str, gpu: &Gpu) -> Vec<&'static str> {
    let matrix = on_matrix_units(family).filter(|_| !gpu.info().matrix_tiles.is_empty());
    wgrad::ops::rungs(family, gpu, DType::F32).into_iter().chain(matrix).collect()
}

/// The cases of `family`, in f16 for the rungs of matrix units, which multiply nothing else. Empty for a family that has no line
/// here.
pub(crate) fn ladder(family: &str, rung: &str, gpu: &Gpu) -> Vec<Case> {
    let dtype = if Some(rung) == on_matrix_units(family) { DType::F16 } else { DType::F32 };
    let sizes = &Sizes::of(gpu);
    let ops = match family {
        "matmul" => products::forms(sizes),
        "conv" => images::convolutions(sizes),
        "contrastive" => products::contrastive(sizes),
        _ => vec![],
    };
    ops.iter().flat_map(|op| passes(op, dtype)).collect()
}

/// The rung of a family that multiplies f16 on matrix units: beside the others, since it is no choice for f32.
pub(crate) fn on_matrix_units(family: &str) -> Option<&'static str> {
    match family {
        "matmul" => Some("11_matrix"),
        "conv" => Some("7_matrix"),
        _ => None,
    }
}
