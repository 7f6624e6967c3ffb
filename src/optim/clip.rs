//! Gradient clipping by norm.

use super::segments::{Of, check_flat, norms};
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::Params;
use crate::tensor::Tensor;

static SOURCE: Source = source!("clip.wgsl");
static CLIP_GLOBAL: Kernel = SOURCE.kernel("clip_global");
static CLIP_PER_TENSOR: Kernel = SOURCE.kernel("clip_per_tensor");

uniforms! { struct ClipUniforms { n: u32, max_norm: f32 } }

/// Whose norm [`clip_grad_norm`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipBy {
    /// That of the whole gradient, as `torch.nn.utils.clip_grad_norm_`.
    Global,
    /// That of each parameter's gradient, as DINO does.
    Tensor,
}

/// Scales the flat gradient in place by `min(1, max_norm / (norm + 1e-6))`. Three launches; nothing is read back.
///
/// Returns the norms before clipping, `[1, 2]` or `[segments, 2]`; the second column holds them, the first is 0.
///
/// # Panics
/// If `grads` does not have the shape of `params.flat()`.
#[track_caller]
#[must_use = "a norm that is not looked at hides a diverging run"]
pub fn clip_grad_norm(params: &Params, grads: &Tensor, max_norm: f32, by: ClipBy) -> Tensor {
    let n = check_flat("clip_grad_norm", params, grads);
    let (launch, grid) = (ClipUniforms { n, max_norm }, Grid::items(n));
    let work = Work::new(32 * u64::from(n), 4 * u64::from(n));
    match by {
        ClipBy::Global => {
            let norms = norms(params, grads, &Of::WholeGradient);
            params.gpu().run(&CLIP_GLOBAL, &[grads, &norms], &launch, grid, work);
            norms
        }
        ClipBy::Tensor => {
            let norms = norms(params, grads, &Of::Gradient);
            let blocks = &params.table().block_segment;
            params.gpu().run(&CLIP_PER_TENSOR, &[grads, &norms, blocks], &launch, grid, work);
            norms
        }
    }
}
