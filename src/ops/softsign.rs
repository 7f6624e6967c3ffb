//! Softsign: the op that CONTRIBUTING.md shows how to add.

use super::elementwise::{assert_float, elementwise};
use crate::gpu::{Kernel, Source, source, uniforms};
use crate::tensor::Tensor;

static SOURCE: Source = source!("softsign.wgsl");
static FORWARD: Kernel = SOURCE.kernel("softsign_forward");
static BACKWARD: Kernel = SOURCE.kernel("softsign_backward");

uniforms! {
    struct Uniforms { n: u32 }
}

impl Tensor {
    /// `x / (1 + |x|)`, element by element, in f32 or f16. Gradient: `dy / (1 + |x|)^2`. NaN passes through.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    #[must_use]
    pub fn softsign(&self) -> Tensor {
        assert_float("softsign", &[self]);
        elementwise("softsign", &FORWARD, &[self], |n| Uniforms { n }).with_backward(
            "softsign",
            &[self],
            &[self],
            |rule| {
                let [x] = rule.saved();
                vec![Some(elementwise("softsign", &BACKWARD, &[x, rule.dy], |n| Uniforms { n }))]
            },
        )
    }
}
