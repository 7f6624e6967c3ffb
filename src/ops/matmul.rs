//! Matrix products A B, A Bᵀ and Aᵀ B, plain or batched. Each is the backward of the others, so none copies a transpose.

pub(super) mod job;
pub(super) mod ladder;
pub(super) mod matrix;

use super::elementwise::{assert_f32, assert_float};
use super::ladder::rung;
use super::split_sums::{Epilogue, finish};
use super::unary::relu_gradient;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use job::{Form, Job};
use ladder::Products;

impl Tensor {
    /// A B: `[M, K]` times `[K, N]` is `[M, N]`; `[B, M, K]` times `[B, K, N]` is `[B, M, N]`, a product a batch.
    /// Gradients: `dA = dC Bᵀ`, `dB = Aᵀ dC`. Operands of `f16` give `f16`, of sums in `f32`.
    ///
    /// # Panics
    /// If the shapes do not fit, or the operands are not floats of one type.
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        differentiable("matmul", Form::Nn, self, other)
    }

    /// A Bᵀ: `[M, K]` and `[N, K]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = dC B`, `dB = dCᵀ A`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_nt(&self, other: &Tensor) -> Tensor {
        differentiable("matmul_nt", Form::Nt, self, other)
    }

    /// Aᵀ B: `[K, M]` and `[K, N]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = B dCᵀ`, `dB = A dC`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_tn(&self, other: &Tensor) -> Tensor {
        differentiable("matmul_tn", Form::Tn, self, other)
    }
}

impl Tensor {
    /// A fully connected layer in one pass: `x W + bias` for x `[M, K]`, W `[K, N]` and a bias `[N]` in `f32`, and the ReLU of
    /// it where `relu` is set. Gradients: to x, W and the bias.
    ///
    /// # Panics
    /// If the shapes do not fit, x and W are not floats of one type, or the bias is not `f32`.
    #[track_caller]
    #[must_use]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>, relu: bool) -> Tensor {
        let fits = self.shape().rank() == 2
            && weight.shape().rank() == 2
            && bias.is_none_or(|bias| **bias.shape() == weight.shape()[1..]);
        let shapes = || [Some(self), Some(weight), bias].map(|t| t.map(|t| *t.shape()));
        assert!(fits, "linear: shapes {:?} do not fit", shapes());
        assert_f32("linear", bias.as_slice());
        let epilogue = Epilogue { bias, relu };
        let y = product_with("linear", Form::Nn, self, weight, self.dtype(), epilogue);
        let parents: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        let (output, has_bias) = (y.clone(), bias.is_some());
        let saved: &[&Tensor] = if relu { &[self, weight, &output] } else { &[self, weight] };
        y.with_backward("linear", &parents, saved, move |g| {
            let [x, w] = [&g.saved_slice()[0], &g.saved_slice()[1]];
            let dz = if relu { relu_gradient(&g.saved_slice()[2], g.dy) } else { g.dy.clone() };
            let mut gradients = vec![
                g.needs(0).then(|| product("linear", Form::Nt, &dz, w, g.dtype(0))),
                g.needs(1).then(|| product("linear", Form::Tn, x, &dz, g.dtype(1))),
            ];
            if has_bias {
                gradients.push(g.needs(2).then(|| dz.sum(&[0])));
            }
            gradients
        })
    }
}

/// The product of a form, and its gradients, which are products of the two other forms.
#[track_caller]
fn differentiable(op: &'static str, form: Form, a: &Tensor, b: &Tensor) -> Tensor {
    product(op, form, a, b, a.dtype()).with_backward(op, &[a, b], &[a, b], move |g| {
        let ([a, b], dy) = (g.saved(), g.dy);
        let (da, db) = match form {
            Form::Nn => ((Form::Nt, dy, b), (Form::Tn, a, dy)),
            Form::Nt => ((Form::Nn, dy, b), (Form::Tn, dy, a)),
            Form::Tn => ((Form::Nt, b, dy), (Form::Nn, a, dy)),
        };
        let gradient = |i, (form, a, b): (Form, &Tensor, &Tensor)| {
            g.needs(i).then(|| product("matmul", form, a, b, g.dtype(i)))
        };
        vec![gradient(0, da), gradient(1, db)]
    })
}

/// The product, of `f32` sums whatever the operands are, stored as `dtype`.
#[track_caller]
fn product(op: &'static str, form: Form, a: &Tensor, b: &Tensor, dtype: DType) -> Tensor {
    product_with(op, form, a, b, dtype, Epilogue::default())
}

/// [`product`] with an epilogue.
#[track_caller]
fn product_with(
    op: &'static str,
    form: Form,
    a: &Tensor,
    b: &Tensor,
    dtype: DType,
    epilogue: Epilogue<'_>,
) -> Tensor {
    let misfit = || -> ! { panic!("{op}: shapes {} and {} do not fit", a.shape(), b.shape()) };
    assert_float(op, &[a, b]);
    let (batch, [a0, a1], [b0, b1]) = match (&**a.shape(), &**b.shape()) {
        (&[a0, a1], &[b0, b1]) => (1, [a0, a1], [b0, b1]),
        (&[s, a0, a1], &[t, b0, b1]) if s == t => (s, [a0, a1], [b0, b1]),
        _ => misfit(),
    };
    let (m, k) = if form == Form::Tn { (a1, a0) } else { (a0, a1) };
    let (n, k2) = if form == Form::Nt { (b0, b1) } else { (b1, b0) };
    if k != k2 {
        misfit();
    }
    let shape = if a.shape().rank() == 2 { Shape::new(&[m, n]) } else { Shape::new(&[batch, m, n]) };
    let c = Tensor::alloc(a.gpu(), op, &shape, dtype);
    if c.is_empty() {
        return c;
    }
    if k == 0 {
        let sums = Tensor::filled(a.gpu(), op, &shape, DType::F32, 0.0);
        finish(&c, &sums, 1, epilogue);
    } else {
        let [batch, m, n, k] = [batch, m, n, k].map(|d| d as u32);
        let job = Job { op, form, batch, m, n, k, c: &c, a, b, epilogue };
        (rung::<Products>(&job).launch)(&job);
    }
    c
}
