//! Matrix products A B, A Bᵀ and Aᵀ B, plain or batched. Each is the backward of the others, so none copies a transpose.

mod ladder;
pub(super) mod matrix;

use super::unary::{assert_f32, assert_float, relu_gradient};
use crate::gpu::{Gpu, Grid, Kernel, Source, Work, params};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};
use ladder::{Job, RUNGS};

static SUM_SOURCE: Source =
    Source::new("matmul/sum_splits.wgsl", include_str!("../../shaders/matmul/sum_splits.wgsl"));
static SUM_SPLITS: Kernel = SUM_SOURCE.kernel("sum_splits");

params! {
    struct SumParams { n: u32, splits: u32, columns: u32, add_bias: u32, relu: u32 }
}

/// The files under `shaders/matmul/` that run on `gpu`, lowest rung first.
pub(super) fn rungs(gpu: &Gpu) -> Vec<&'static str> {
    RUNGS.iter().filter(|rung| (rung.adapter)(gpu)).map(|rung| rung.file).collect()
}

/// What is done to each element of a product before it is stored: `relu(x + bias[column])`, either part or none.
#[derive(Clone, Copy, Default)]
struct Epilogue<'a> {
    bias: Option<&'a Tensor>,
    relu: bool,
}

impl Epilogue<'_> {
    fn is_none(&self) -> bool {
        self.bias.is_none() && !self.relu
    }
}

/// Which operand is transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A B
    Nn,
    /// A Bᵀ
    Nt,
    /// Aᵀ B
    Tn,
}

impl Tensor {
    /// A B: `[M, K]` times `[K, N]` is `[M, N]`; `[B, M, K]` times `[B, K, N]` is `[B, M, N]`, a product a batch.
    /// Gradients: `dA = dC Bᵀ`, `dB = Aᵀ dC`. Operands of `f16` give `f16`, of sums in `f32`.
    ///
    /// # Panics
    /// If the shapes do not fit, or the operands are not floats of one type.
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        product("matmul", Form::Nn, self, other, self.dtype()).with_backward(
            "matmul",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nt, g.dy, b, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Tn, a, g.dy, g.dtype(1))),
                ]
            },
        )
    }

    /// A Bᵀ: `[M, K]` and `[N, K]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = dC B`, `dB = dCᵀ A`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_nt(&self, other: &Tensor) -> Tensor {
        product("matmul_nt", Form::Nt, self, other, self.dtype()).with_backward(
            "matmul_nt",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nn, g.dy, b, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Tn, g.dy, a, g.dtype(1))),
                ]
            },
        )
    }

    /// Aᵀ B: `[K, M]` and `[K, N]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = B dCᵀ`, `dB = A dC`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_tn(&self, other: &Tensor) -> Tensor {
        product("matmul_tn", Form::Tn, self, other, self.dtype()).with_backward(
            "matmul_tn",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nt, b, g.dy, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Nn, a, g.dy, g.dtype(1))),
                ]
            },
        )
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
        ladder::run(&Job { op, form, batch, m, n, k, c: &c, a, b, epilogue });
    }
    c
}

/// The number of parts that a sum over `k` is cut into: [`Facts::parts`](crate::gpu::Facts::parts), and as many more as it
/// takes to end before [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations), since a kernel's inner loops may make ten
/// iterations for each step of `k`.
pub(super) fn splits(gpu: &Gpu, groups: u64, invocations: u32, k: u64) -> u32 {
    let longest = gpu.info().longest_loop(10) as u64;
    gpu.facts().parts(groups, invocations, k).max(k.div_ceil(longest)) as u32
}

/// Where a split kernel writes: `y` itself, or `splits` partial copies of it for [`sum_splits`].
pub(super) fn split_output(op: &str, y: &Tensor, splits: u32) -> Tensor {
    if splits == 1 {
        return y.clone();
    }
    Tensor::alloc(y.gpu(), op, &Shape::new(&[splits as usize, y.len()]), DType::F32)
}

/// Adds the partial results of a split sum in fixed order.
pub(super) fn sum_splits(y: &Tensor, part: &Tensor, splits: u32) {
    if splits > 1 {
        finish(y, part, splits, Epilogue::default());
    }
}

/// [`sum_splits`] of one split or more, and the epilogue.
fn finish(y: &Tensor, part: &Tensor, splits: u32, epilogue: Epilogue<'_>) {
    let n = y.len() as u32;
    let columns = y.shape().last().map_or(1, |&columns| columns as u32);
    let [add_bias, relu] = [epilogue.bias.is_some(), epilogue.relu].map(u32::from);
    let bias = epilogue.bias.unwrap_or(part);
    let work = Work::new((part.bytes() + y.bytes()) as u64, part.len() as u64);
    let p = SumParams { n, splits, columns, add_bias, relu };
    y.gpu().run(&SUM_SPLITS, &[y, part, bias], &p, Grid::items(n), work);
}
