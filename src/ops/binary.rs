//! Arithmetic on two tensors with NumPy broadcasting, and the operators.

use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Uniforms as GpuUniforms, Work, source, uniforms};
use crate::ops::elementwise::assert_float;
use crate::ops::strips::{Lanes, Strips, lanes};
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::Tensor;

static SOURCE: Source = source!("binary.wgsl");
static ADD: Binary = Binary::new("add", SOURCE.kernel("add"), forms("add_broadcast"));
static SUB: Binary = Binary::new("sub", SOURCE.kernel("sub"), forms("sub_broadcast"));
static MUL: Binary = Binary::new("mul", SOURCE.kernel("mul"), forms("mul_broadcast"));
static DIV: Binary = Binary::new("div", SOURCE.kernel("div"), forms("div_broadcast"));
static NEG_MUL: Kernel = SOURCE.kernel("neg_mul");
static EQUAL: Forms = forms("equal_broadcast");
static EXPAND: Forms = forms("expand");

uniforms! {
    struct Flat { fours: u32 }
}
uniforms! {
    struct Uniforms {
        n: u32, lanes: u32, rows: u32, strips: u32, interleaved: u32, a_row: u32, b_row: u32, scale: f32,
        axes: u32, dims: [u32; 4], a_strides: [u32; 4], b_strides: [u32; 4],
    }
}

/// A broadcasting kernel for each way of reading `a` and `b`.
type Forms = [[Lanes; 4]; 4];

const fn forms(entry: &'static str) -> Forms {
    const fn of(entry: &'static str, b: [&'static [(&'static str, f64)]; 4]) -> [Lanes; 4] {
        [
            lanes(&SOURCE, entry, b[0]),
            lanes(&SOURCE, entry, b[1]),
            lanes(&SOURCE, entry, b[2]),
            lanes(&SOURCE, entry, b[3]),
        ]
    }
    [
        of(entry, [&[("B", 0.0)], &[("B", 1.0)], &[("B", 2.0)], &[("B", 3.0)]]),
        of(
            entry,
            [&[("A", 1.0)], &[("A", 1.0), ("B", 1.0)], &[("A", 1.0), ("B", 2.0)], &[("A", 1.0), ("B", 3.0)]],
        ),
        of(
            entry,
            [&[("A", 2.0)], &[("A", 2.0), ("B", 1.0)], &[("A", 2.0), ("B", 2.0)], &[("A", 2.0), ("B", 3.0)]],
        ),
        of(
            entry,
            [&[("A", 3.0)], &[("A", 3.0), ("B", 1.0)], &[("A", 3.0), ("B", 2.0)], &[("A", 3.0), ("B", 3.0)]],
        ),
    ]
}

/// How the elements of a shape read operands that broadcast to it.
struct Plan {
    uniforms: Uniforms,
    /// The ways of `a` and `b`: the indices into [`Forms`], as the kernel names them.
    ways: [usize; 2],
    wide: bool,
}

/// Columns that long ones are cut into, so that an invocation steps along them.
const COLUMNS: usize = 128;

impl Plan {
    /// Axes of length 1 are dropped. An axis joins the one before it where both operands step through the two as through
    /// one; what is left is usually one or two axes.
    fn new(gpu: &Gpu, shape: &Shape, a: &Shape, b: &Shape, scale: f32) -> Self {
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
        // One axis is cut into rows of 128. Long rows are cut so too where each step from row to row is on a page of its own,
        // but not if an operand is the same in every row: an invocation reads it once, which saves more than pages cost.
        let repeats = axes.len() > 1 && !axes[axes.len() - 1][1..].contains(&0);
        if let Some(&[cols, in_a, in_b]) = axes.last()
            && (axes.len() == 1 || (gpu.facts().page.is_some() && !repeats))
            && axes.len() < MAX_RANK
            && cols >= 4 * COLUMNS
            && cols.is_multiple_of(COLUMNS)
        {
            axes.pop();
            axes.push([cols / COLUMNS, in_a * COLUMNS, in_b * COLUMNS]);
            axes.push([COLUMNS, in_a, in_b]);
        }
        let [cols, a_step, b_step] = axes.pop().unwrap_or([1, 0, 0]);
        let [rows, a_row, b_row] = axes.pop().unwrap_or([1, 0, 0]);
        let way = |step, row| match (step, row) {
            (0, 0) => 3,
            (0, _) => 2,
            (_, 0) => 1,
            _ => 0,
        };
        let outer: usize = axes.iter().map(|axis| axis[0]).product();
        let cut = Strips::for_broadcast(gpu, rows, outer * cols, cols);
        let wide = cols.is_multiple_of(4);
        let lanes = if wide { cols / 4 } else { cols };
        let pick = |what: usize| std::array::from_fn(|i| axes.get(i).map_or(0, |axis| axis[what] as u32));
        let uniforms = Uniforms {
            n: if shape.elements() == 0 { 0 } else { outer as u32 * cut.strips * lanes as u32 },
            lanes: lanes as u32,
            rows: rows as u32,
            strips: cut.strips,
            interleaved: cut.interleaved,
            a_row: a_row as u32,
            b_row: b_row as u32,
            scale,
            axes: axes.len() as u32,
            dims: pick(0),
            a_strides: pick(1),
            b_strides: pick(2),
        };
        Self { uniforms, ways: [way(a_step, a_row), way(b_step, b_row)], wide }
    }

    fn launch(&self, op: &str, forms: &Forms, shape: &Shape, inputs: &[&Tensor]) -> Tensor {
        let [a, b] = self.ways;
        launch(op, &forms[a][b][usize::from(self.wide)], shape, inputs, &self.uniforms, self.uniforms.n)
    }
}

/// An operation: its kernel for equal shapes, and those for broadcasting.
struct Binary {
    name: &'static str,
    equal_shapes: Kernel,
    broadcast: Forms,
}

impl Binary {
    const fn new(name: &'static str, equal_shapes: Kernel, broadcast: Forms) -> Self {
        Self { name, equal_shapes, broadcast }
    }

    #[track_caller]
    fn apply(&self, a: &Tensor, b: &Tensor) -> Tensor {
        if a.shape() == b.shape() {
            return equal_shapes(self.name, &self.equal_shapes, a, b);
        }
        broadcast(self.name, &self.broadcast, a, b)
    }
}

/// One vec4 an invocation.
#[track_caller]
fn equal_shapes(op: &str, kernel: &Kernel, a: &Tensor, b: &Tensor) -> Tensor {
    assert_float(op, &[a, b]);
    let fours = a.len().div_ceil(4) as u32;
    launch(op, kernel, a.shape(), &[a, b], &Flat { fours }, fours)
}

#[track_caller]
fn broadcast(op: &str, forms: &Forms, a: &Tensor, b: &Tensor) -> Tensor {
    assert_float(op, &[a, b]);
    let shape = a
        .shape()
        .broadcast(b.shape())
        .unwrap_or_else(|| panic!("{op}: shapes {} and {} do not broadcast", a.shape(), b.shape()));
    Plan::new(a.gpu(), &shape, a.shape(), b.shape(), 1.0).launch(op, forms, &shape, &[a, b])
}

fn launch<P: GpuUniforms>(
    op: &str,
    kernel: &Kernel,
    shape: &Shape,
    inputs: &[&Tensor],
    uniforms: &P,
    items: u32,
) -> Tensor {
    let y = Tensor::alloc(inputs[0].gpu(), op, shape, inputs[0].dtype());
    let mut bound: Vec<&dyn Bind> = vec![&y];
    bound.extend(inputs.iter().map(|&t| t as &dyn Bind));
    let read: usize = inputs.iter().map(|t| t.bytes()).sum();
    y.gpu().run(kernel, &bound, uniforms, Grid::items(items), Work::new(y.bytes() + read, y.len()));
    y
}

/// 1.0 where `a = b`, else 0.0; no graph.
#[track_caller]
pub(super) fn equal(a: &Tensor, b: &Tensor) -> Tensor {
    broadcast("equal", &EQUAL, a, b)
}

/// `scale * x` broadcast to `shape`; no graph.
#[track_caller]
pub(super) fn expand_scaled(x: &Tensor, shape: &Shape, scale: f32) -> Tensor {
    assert_float("expand", &[x]);
    let fits = x.shape().broadcast(shape).as_ref() == Some(shape);
    assert!(fits, "expand: {} does not broadcast to {shape}", x.shape());
    let mut plan = Plan::new(x.gpu(), shape, x.shape(), x.shape(), scale);
    plan.ways[1] = 0;
    plan.launch("expand", &EXPAND, shape, &[x])
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
            let db = rule.saved_slice().get(1).map(|y| equal_shapes("div", &NEG_MUL, &by_b, y));
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
