//! Functions of one variable, element by element.

use super::elementwise::{assert_float, elementwise};
use crate::gpu::{Kernel, Source, source, uniforms};
use crate::tensor::Tensor;

static SOURCE: Source = source!("unary.wgsl");
static AFFINE: Kernel = SOURCE.kernel("affine_forward");

uniforms! {
    struct Uniforms { n: u32, a: f32, b: f32 }
}

/// A function, its derivative, and what the derivative is computed from.
struct Unary {
    name: &'static str,
    forward: Kernel,
    backward: Kernel,
    saved: Saved,
}

enum Saved {
    Input,
    Output,
}

macro_rules! unary {
    ($name:ident, $label:literal, $forward:literal, $backward:literal, $saved:ident) => {
        static $name: Unary = Unary {
            name: $label,
            forward: SOURCE.kernel($forward),
            backward: SOURCE.kernel($backward),
            saved: Saved::$saved,
        };
    };
}
unary!(EXP, "exp", "exp_forward", "exp_backward", Output);
unary!(LN, "ln", "ln_forward", "ln_backward", Input);
unary!(SQRT, "sqrt", "sqrt_forward", "sqrt_backward", Output);
unary!(SQUARE, "square", "square_forward", "square_backward", Input);
unary!(RECIP, "div", "recip_forward", "recip_backward", Input);
unary!(POWF, "powf", "powf_forward", "powf_backward", Input);
unary!(ABS, "abs", "abs_forward", "abs_backward", Input);
unary!(CLAMP, "clamp", "clamp_forward", "clamp_backward", Input);
unary!(RELU, "relu", "relu_forward", "relu_backward", Output);
unary!(GELU, "gelu", "gelu_forward", "gelu_backward", Input);
unary!(SIGMOID, "sigmoid", "sigmoid_forward", "sigmoid_backward", Output);
unary!(TANH, "tanh", "tanh_forward", "tanh_backward", Output);

impl Unary {
    /// `f(x)`; `a` and `b` are what the kernel takes them for.
    #[track_caller]
    fn apply(&'static self, x: &Tensor, a: f32, b: f32) -> Tensor {
        assert_float(self.name, &[x]);
        let y = launch(self.name, &self.forward, &[x], a, b);
        let saved = match self.saved {
            Saved::Input => x.clone(),
            Saved::Output => y.clone(),
        };
        y.with_backward(self.name, &[x], &[&saved], move |rule| {
            let [saved] = rule.saved();
            vec![Some(launch(self.name, &self.backward, &[saved, rule.dy], a, b))]
        })
    }
}

fn launch(op: &str, kernel: &Kernel, inputs: &[&Tensor], a: f32, b: f32) -> Tensor {
    elementwise(op, kernel, inputs, |n| Uniforms { n, a, b })
}

/// The gradient of a ReLU from its output.
pub(super) fn relu_gradient(y: &Tensor, dy: &Tensor) -> Tensor {
    launch("relu", &RELU.backward, &[y, dy], 0.0, 0.0)
}

/// All panic if the elements are not floats. The result has the type of `x`; NaN passes through each.
impl Tensor {
    /// `scale * x + shift`. Gradient: `scale * dy`.
    #[track_caller]
    #[must_use]
    pub fn affine(&self, scale: f32, shift: f32) -> Tensor {
        assert_float("affine", &[self]);
        launch("affine", &AFFINE, &[self], scale, shift)
            .with_backward("affine", &[self], &[], move |rule| vec![Some(rule.dy.affine(scale, 0.0))])
    }

    /// `-x`.
    #[track_caller]
    #[must_use]
    pub fn neg(&self) -> Tensor {
        self.affine(-1.0, 0.0)
    }

    /// `x + value`.
    #[track_caller]
    #[must_use]
    pub fn add_scalar(&self, value: f32) -> Tensor {
        self.affine(1.0, value)
    }

    /// `x - value`.
    #[track_caller]
    #[must_use]
    pub fn sub_scalar(&self, value: f32) -> Tensor {
        self.affine(1.0, -value)
    }

    /// `value * x`.
    #[track_caller]
    #[must_use]
    pub fn mul_scalar(&self, value: f32) -> Tensor {
        self.affine(value, 0.0)
    }

    /// `x / value`, as a product with `1 / value`.
    #[track_caller]
    #[must_use]
    pub fn div_scalar(&self, value: f32) -> Tensor {
        self.affine(value.recip(), 0.0)
    }

    /// `value / x`. Gradient: `-value / x^2 dy`.
    #[track_caller]
    #[must_use]
    pub fn scalar_div(&self, value: f32) -> Tensor {
        RECIP.apply(self, value, 0.0)
    }

    /// `e^x`. Gradient: `y dy`.
    #[track_caller]
    #[must_use]
    pub fn exp(&self) -> Tensor {
        EXP.apply(self, 0.0, 0.0)
    }

    /// The natural logarithm. Gradient: `dy / x`.
    #[track_caller]
    #[must_use]
    pub fn ln(&self) -> Tensor {
        LN.apply(self, 0.0, 0.0)
    }

    /// The square root. Gradient: `dy / (2 y)`, infinite at 0 as in PyTorch.
    #[track_caller]
    #[must_use]
    pub fn sqrt(&self) -> Tensor {
        SQRT.apply(self, 0.0, 0.0)
    }

    /// `x^2`. Gradient: `2 x dy`.
    #[track_caller]
    #[must_use]
    pub fn square(&self) -> Tensor {
        SQUARE.apply(self, 0.0, 0.0)
    }

    /// `x^exponent`; NaN where `x < 0` and the exponent is no integer. Gradient: `exponent x^(exponent - 1) dy`.
    #[track_caller]
    #[must_use]
    pub fn powf(&self, exponent: f32) -> Tensor {
        let kind = match exponent.rem_euclid(2.0) {
            0.0 => 0.0, // even
            1.0 => 1.0, // odd
            _ => 2.0,   // no integer
        };
        POWF.apply(self, exponent, kind)
    }

    /// `|x|`. Gradient: `sign(x) dy`, 0 at 0.
    #[track_caller]
    #[must_use]
    pub fn abs(&self) -> Tensor {
        ABS.apply(self, 0.0, 0.0)
    }

    /// `x` limited to `[low, high]`. Gradient: `dy` inside and on the bounds, 0 outside, as in PyTorch.
    ///
    /// # Panics
    /// If `low > high` or one is NaN.
    #[track_caller]
    #[must_use]
    pub fn clamp(&self, low: f32, high: f32) -> Tensor {
        assert!(low <= high, "clamp: low {low} is not at most high {high}");
        CLAMP.apply(self, low, high)
    }

    /// `max(x, 0)`. Gradient: `dy` where `x > 0`, else 0.
    #[track_caller]
    #[must_use]
    pub fn relu(&self) -> Tensor {
        RELU.apply(self, 0.0, 0.0)
    }

    /// `x Φ(x)` with the exact normal distribution function, PyTorch's default (Hendrycks & Gimpel 2016).
    /// Gradient: `(Φ(x) + x φ(x)) dy`.
    #[track_caller]
    #[must_use]
    pub fn gelu(&self) -> Tensor {
        GELU.apply(self, 0.0, 0.0)
    }

    /// `1 / (1 + e^-x)`. Gradient: `y (1 - y) dy`.
    #[track_caller]
    #[must_use]
    pub fn sigmoid(&self) -> Tensor {
        SIGMOID.apply(self, 0.0, 0.0)
    }

    /// The hyperbolic tangent, accurate near 0. Gradient: `(1 - y^2) dy`.
    #[track_caller]
    #[must_use]
    pub fn tanh(&self) -> Tensor {
        TANH.apply(self, 0.0, 0.0)
    }
}
