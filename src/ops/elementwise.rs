//! What functions of single elements share: the launch, and the check of element types.

use crate::gpu::{Bind, Grid, Kernel, Uniforms, Work};
use crate::tensor::{DType, Tensor};

/// Runs `kernel` over all elements: binding 1 is the result, of the shape and type of `inputs[0]`, the inputs follow.
///
/// An invocation handles four elements. `uniforms` gets the number of groups of four, whose last may pass the end of a tensor:
/// buffers are padded to 256 bytes. The work counted is each tensor's bytes once and one operation an element.
pub(super) fn elementwise<P: Uniforms>(
    op: &str,
    kernel: &Kernel,
    inputs: &[&Tensor],
    uniforms: impl FnOnce(u32) -> P,
) -> Tensor {
    let x = inputs[0];
    let y = Tensor::alloc(x.gpu(), op, x.shape(), x.dtype());
    let mut bound: Vec<&dyn Bind> = vec![&y];
    bound.extend(inputs.iter().map(|&t| t as &dyn Bind));
    let work = Work::new(x.bytes() * bound.len(), x.len());
    let fours = x.len().div_ceil(4);
    x.gpu().run(kernel, &bound, &uniforms(fours as u32), Grid::items(fours), work);
    y
}

/// Panics unless all are `f32`.
#[track_caller]
pub(super) fn assert_f32(op: &str, tensors: &[&Tensor]) {
    let fits = tensors.iter().all(|t| t.dtype() == DType::F32);
    assert!(fits, "{op}: f32 tensors only, got {}", list(tensors));
}

/// Panics unless all are floats of one type.
#[track_caller]
pub(super) fn assert_float(op: &str, tensors: &[&Tensor]) {
    let dtype = tensors[0].dtype();
    let fits = dtype.is_float() && tensors.iter().all(|t| t.dtype() == dtype);
    // Most often a parameter beside activations in f16, from a layer of the caller's own.
    let mixed = tensors.iter().all(|t| t.dtype().is_float());
    let remedy = if mixed { "; cast one, or take a parameter by Params::operand" } else { "" };
    assert!(fits, "{op}: f32 or f16 tensors, all of one type, got {}{remedy}", list(tensors));
}

/// Types and shapes, for a message.
fn list(tensors: &[&Tensor]) -> String {
    let texts: Vec<String> = tensors.iter().map(ToString::to_string).collect();
    format!("[{}]", texts.join(", "))
}
