//! Arithmetic on two tensors with NumPy broadcasting, and the operators.

use crate::gpu::{Bind, Grid, Kernel, Source, Work, params};
use crate::ops::unary::assert_float;
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::Tensor;

static SOURCE: Source = Source::new("binary.wgsl", include_str!("../../shaders/binary.wgsl"));
static ADD: Binary = Binary::new("add", SOURCE.kernel("add"), SOURCE.kernel("add_broadcast"));
static SUB: Binary = Binary::new("sub", SOURCE.kernel("sub"), SOURCE.kernel("sub_broadcast"));
static MUL: Binary = Binary::new("mul", SOURCE.kernel("mul"), SOURCE.kernel("mul_broadcast"));
static DIV: Binary = Binary::new("div", SOURCE.kernel("div"), SOURCE.kernel("div_broadcast"));
static NEG_MUL: Kernel = SOURCE.kernel("neg_mul");
static EQUAL: Kernel = SOURCE.kernel("equal_broadcast");
static EXPAND: Kernel = SOURCE.kernel("expand");

params! {
    struct Params {
        n: u32, cols: u32, a_step: u32, b_step: u32, axes: u32, scale: f32,
        dims_lo: [u32; 4], dims_hi: [u32; 4],
        a_lo: [u32; 4], a_hi: [u32; 4],
        b_lo: [u32; 4], b_hi: [u32; 4],
    }
}

impl Params {
    /// How the elements of `shape` read operands of shapes `a` and `b`.
    ///
    /// Axes of length 1 are dropped. An axis joins the one before it where both operands step through the two as through
    /// one; what is left is usually one or two axes.
    fn new(shape: &Shape, a: &Shape, b: &Shape, scale: f32) -> Self {
        let mut axes: Vec<[usize; 3]> = Vec::with_capacity(MAX_RANK); // length, stride in a, stride in b
        let strides = a.broadcast_strides(shape).into_iter().zip(b.broadcast_strides(shape));
        for (&dim, (in_a, in_b)) in shape.iter().zip(strides).filter(|(dim, _)| **dim != 1) {
            match axes.last_mut() {
                Some(last) if last[1] == dim * in_a && last[2] == dim * in_b => {
                    *last = [last[0] * dim, in_a, in_b];
                }
                _ => axes.push([dim, in_a, in_b]),
            }
        }
        let [cols, a_step, b_step] = axes.pop().unwrap_or([1, 0, 0]).map(|v| v as u32);
        let rows: usize = axes.iter().map(|axis| axis[0]).product();
        let pick = |what: usize, from: usize| {
            std::array::from_fn(|i| axes.get(from + i).map_or(0, |axis| axis[what] as u32))
        };
        Params {
            n: rows as u32 * cols.div_ceil(4),
            cols,
            a_step,
            b_step,
            axes: axes.len() as u32,
            scale,
            dims_lo: pick(0, 0),
            dims_hi: pick(0, 4),
            a_lo: pick(1, 0),
            a_hi: pick(1, 4),
            b_lo: pick(2, 0),
            b_hi: pick(2, 4),
        }
    }
}

/// An operation: its kernel for equal shapes, and the one for broadcasting.
struct Binary {
    name: &'static str,
    equal_shapes: Kernel,
    broadcast: Kernel,
}

impl Binary {
    const fn new(name: &'static str, equal_shapes: Kernel, broadcast: Kernel) -> Self {
        Self { name, equal_shapes, broadcast }
    }

    #[track_caller]
    fn apply(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let kernel = if a.shape() == b.shape() { &self.equal_shapes } else { &self.broadcast };
        binary(self.name, kernel, a, b)
    }
}

#[track_caller]
fn binary(op: &str, kernel: &Kernel, a: &Tensor, b: &Tensor) -> Tensor {
    assert_float(op, &[a, b]);
    let shape = a
        .shape()
        .broadcast(b.shape())
        .unwrap_or_else(|| panic!("{op}: shapes {} and {} do not broadcast", a.shape(), b.shape()));
    launch(op, kernel, &shape, &[a, b], &Params::new(&shape, a.shape(), b.shape(), 1.0))
}

fn launch(op: &str, kernel: &Kernel, shape: &Shape, inputs: &[&Tensor], params: &Params) -> Tensor {
    let y = Tensor::alloc(inputs[0].gpu(), op, shape, inputs[0].dtype());
    let mut bound: Vec<&dyn Bind> = vec![&y];
    bound.extend(inputs.iter().map(|&t| t as &dyn Bind));
    let read: usize = inputs.iter().map(|t| t.bytes()).sum();
    y.gpu().run(kernel, &bound, params, Grid::items(params.n), Work::new(y.bytes() + read, y.len()));
    y
}

/// 1.0 where `a = b`, else 0.0; no graph.
#[track_caller]
pub(super) fn equal(a: &Tensor, b: &Tensor) -> Tensor {
    binary("equal", &EQUAL, a, b)
}

/// `scale * x` broadcast to `shape`; no graph.
#[track_caller]
pub(super) fn expand_scaled(x: &Tensor, shape: &Shape, scale: f32) -> Tensor {
    assert_float("expand", &[x]);
    let fits = x.shape().broadcast(shape).as_ref() == Some(shape);
    assert!(fits, "expand: {} does not broadcast to {shape}", x.shape());
    launch("expand", &EXPAND, shape, &[x], &Params::new(shape, x.shape(), x.shape(), scale))
}

/// Binary arithmetic. Shapes broadcast by NumPy's rule, and gradients are summed back to them.
///
/// All panic if the shapes do not broadcast, or the operands are not floats of one type.
impl Tensor {
    /// `a + b`. Gradients: `dy` and `dy`.
    #[track_caller]
    #[must_use]
    pub fn add(&self, other: &Tensor) -> Tensor {
        ADD.apply(self, other).with_backward("add", &[self, other], &[], |rule| {
            vec![Some(rule.dy.clone()), Some(rule.dy.clone())]
        })
    }

    /// `a - b`. Gradients: `dy` and `-dy`.
    #[track_caller]
    #[must_use]
    pub fn sub(&self, other: &Tensor) -> Tensor {
        SUB.apply(self, other).with_backward("sub", &[self, other], &[], |rule| {
            vec![Some(rule.dy.clone()), rule.needs(1).then(|| rule.dy.neg())]
        })
    }

    /// `a b`, element by element. Gradients: `b dy` and `a dy`.
    #[track_caller]
    #[must_use]
    pub fn mul(&self, other: &Tensor) -> Tensor {
        // Each gradient needs the other factor; one that nobody will ask for is not kept alive.
        let factors = [(self, other), (other, self)];
        let saved: Vec<&Tensor> = factors.iter().filter(|(x, _)| x.tracks_grad()).map(|(_, f)| *f).collect();
        MUL.apply(self, other).with_backward("mul", &[self, other], &saved, |rule| {
            let mut factors = rule.saved_slice().iter();
            let mut gradient = |i| rule.needs(i).then(|| rule.dy.mul(factors.next().expect("one a parent")));
            vec![gradient(0), gradient(1)]
        })
    }

    /// `a / b`. Gradients: `dy / b` and `-dy y / b`.
    #[track_caller]
    #[must_use]
    pub fn div(&self, other: &Tensor) -> Tensor {
        let y = DIV.apply(self, other);
        let quotient = y.clone();
        let saved: &[&Tensor] = if other.tracks_grad() { &[other, &quotient] } else { &[other] };
        y.with_backward("div", &[self, other], saved, |rule| {
            let by_b = rule.dy.div(&rule.saved_slice()[0]);
            let db = rule.saved_slice().get(1).map(|y| binary("div", &NEG_MUL, &by_b, y));
            vec![Some(by_b), db]
        })
    }

    /// The tensor broadcast to `shape`, as a copy. Gradient: `dy` summed over the stretched axes.
    ///
    /// # Panics
    /// If it does not broadcast to `shape`.
    #[track_caller]
    #[must_use]
    pub fn expand(&self, shape: impl Into<Shape>) -> Tensor {
        expand_scaled(self, &shape.into(), 1.0)
            .with_backward("expand", &[self], &[], |rule| vec![Some(rule.dy.clone())])
    }
}

/// One operator between tensors, borrowed or owned, and between a tensor and an `f32` on either side.
macro_rules! operator {
    ($Trait:ident, $method:ident, $x:ident, $s:ident, $right:expr, $left:expr) => {
        operator!(@tensors $Trait, $method, [&Tensor, &Tensor], [Tensor, &Tensor], [&Tensor, Tensor], [Tensor, Tensor]);
        operator!(@scalar $Trait, $method, $x, $s, $right, $left, &Tensor);
        operator!(@scalar $Trait, $method, $x, $s, $right, $left, Tensor);
    };
    (@tensors $Trait:ident, $method:ident, $([$a:ty, $b:ty]),+) => {$(
        impl std::ops::$Trait<$b> for $a {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: $b) -> Tensor {
                Tensor::$method(&self, &other)
            }
        }
    )+};
    (@scalar $Trait:ident, $method:ident, $x:ident, $s:ident, $right:expr, $left:expr, $T:ty) => {
        impl std::ops::$Trait<f32> for $T {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, $s: f32) -> Tensor {
                let $x = &self;
                $right
            }
        }
        impl std::ops::$Trait<$T> for f32 {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, $x: $T) -> Tensor {
                let $s = self;
                $left
            }
        }
    };
}
operator!(Add, add, x, s, x.add_scalar(s), x.add_scalar(s));
operator!(Sub, sub, x, s, x.sub_scalar(s), x.affine(-1.0, s));
operator!(Mul, mul, x, s, x.mul_scalar(s), x.mul_scalar(s));
operator!(Div, div, x, s, x.div_scalar(s), x.scalar_div(s));

impl std::ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(self)
    }
}

impl std::ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::neg(&self)
    }
}
