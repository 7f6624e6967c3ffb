//! An op as data: how it is run, its specification, the shapes that it is tested on, and the sizes and work that it is timed at.

use std::iter::{Once, once};
use std::ops::Deref;
use std::rc::Rc;

use wgrad::{DType, Gpu, Tensor};

use super::super::check::{Check, Checked, F32, Tol, compare, data, elements, f64s, to_half};

/// One rounding of the result to f16: 2^-11 of it, 2^-10 where a driver truncates; the arithmetic is f32.
pub(crate) const HALF: Tol = Tol::new(1e-6, 1e-3);
/// Two: of the result, and of what the forward pass saved or another kernel stored.
pub(crate) const HALF_GRAD: Tol = Tol::new(2e-6, 2e-3);

/// An input: its shape, how values are made, and its type.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
    /// f32 also where the others are f16.
    single: bool,
    /// Has no gradient.
    fixed: bool,
}

/// What the values of an input are.
#[derive(Clone, Copy)]
pub(crate) enum Values {
    /// Uniform between the two.
    Uniform(f32, f32),
    /// Made from the shape; at the sizes that are timed, uniform in [-1, 1).
    Made(fn(&[usize]) -> Vec<f32>),
    /// u32: element i is `f(i)` modulo the first.
    Index(usize, fn(usize) -> usize),
}

/// Floats, uniform in [-1, 1).
pub(crate) fn float(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), values: Values::Uniform(-1.0, 1.0), single: false, fixed: false }
}

/// u32 below `below`, distinct in the first `below` where 11 is no factor of that.
pub(crate) fn index(shape: &[usize], below: usize) -> Input {
    Input { values: Values::Index(below, |i| 11 * i + 3), ..float(shape) }
}

impl Input {
    pub(crate) fn between(self, low: f32, high: f32) -> Self {
        Self { values: Values::Uniform(low, high), ..self }
    }

    pub(crate) fn made(self, values: fn(&[usize]) -> Vec<f32>) -> Self {
        Self { values: Values::Made(values), ..self }
    }

    /// u32 that jump about and repeat unevenly.
    pub(crate) fn spread(self, below: usize) -> Self {
        Self {
            values: Values::Index(below, |i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as usize),
            ..self
        }
    }

    /// f32 also where the other floats are f16.
    pub(crate) fn single(self) -> Self {
        Self { single: true, ..self }
    }

    /// Without a gradient.
    pub(crate) fn fixed(self) -> Self {
        Self { fixed: true, ..self }
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn is_index(&self) -> bool {
        matches!(self.values, Values::Index(..))
    }

    /// Its type where floats are `dtype`.
    pub(crate) fn dtype(&self, dtype: DType) -> DType {
        if self.is_index() {
            DType::U32
        } else if self.single {
            DType::F32
        } else {
            dtype
        }
    }
}

/// Values of an input with their shape, as the specification gets them.
#[derive(Clone)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    values: Vec<f64>,
}

impl Deref for Array {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        &self.values
    }
}

impl Array {
    /// Of an input of an op whose floats are `dtype`: values that this type holds exactly, those of an input that is f32 included.
    fn new(seed: u32, input: &Input, dtype: DType) -> Self {
        let n = input.len();
        let values = match input.values {
            Values::Uniform(low, high) => {
                data(seed, n).iter().map(|v| low + (high - low) * (0.5 * v + 0.5)).collect()
            }
            Values::Made(make) => make(&input.shape),
            Values::Index(below, f) => (0..n).map(|i| (f(i) % below) as f32).collect(),
        };
        let values = if dtype == DType::F16 && !input.is_index() { to_half(&values) } else { values };
        Self { shape: input.shape.clone(), values: f64s(&values) }
    }

    /// Length of the last axis.
    pub(crate) fn cols(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    pub(crate) fn u32s(&self) -> Vec<u32> {
        self.iter().map(|&v| v as u32).collect()
    }

    fn floats(&self) -> Vec<f32> {
        self.iter().map(|&v| v as f32).collect()
    }

    fn upload(&self, gpu: &Gpu, dtype: DType) -> Result<Tensor, String> {
        let x = match dtype {
            DType::U32 => gpu.tensor_u32(&self.u32s(), self.shape.as_slice()),
            _ => gpu.tensor(&self.floats(), self.shape.as_slice()),
        };
        x.map(|x| x.cast(dtype)).map_err(|error| error.to_string())
    }
}

type Run = Rc<dyn Fn(&[Tensor]) -> Tensor>;
type Value = Rc<dyn Fn(&[Array]) -> Vec<f64>>;
type Gradients = Rc<dyn Fn(&[Array], &[f64]) -> Vec<Vec<f64>>>;

/// What becomes of a NaN in an input of floats.
#[derive(Clone, Copy)]
enum Nan {
    /// It is in the result where the specification has one, and nowhere else.
    Stays,
    /// Also elsewhere, for this reason.
    Spreads(&'static str),
    /// It may be lost, for this reason.
    Lost(&'static str),
}

/// A case of an op. What an op takes besides tensors (axes, strides, a temperature) its functions have captured.
#[derive(Clone)]
pub(crate) struct Op {
    /// The method of `Tensor`.
    pub(crate) method: &'static str,
    /// Its row in a report.
    pub(crate) name: String,
    pub(crate) run: Run,
    value: Value,
    gradients: Option<Gradients>,
    /// The inputs whose gradient is taken, if not all that have one.
    only: Option<usize>,
    shapes: Vec<Vec<Input>>,
    /// Inputs of the size that is timed; none if it is not.
    pub(crate) timed: Vec<Input>,
    /// Whether the forward pass is timed, and whether the gradient.
    pub(crate) passes: [bool; 2],
    /// Elements of the timed output.
    pub(crate) output: usize,
    /// Operations of the forward pass and of the gradient.
    pub(crate) flops: [u64; 2],
    /// Bytes that the forward pass moves, if not all of its inputs and output once.
    pub(crate) bytes: Option<usize>,
    /// Bounds of value and gradient in f32.
    tolerance: [Tol; 2],
    /// The same in f16; none if the op takes none.
    half: Option<[Tol; 2]>,
    /// Type of the result, if not that of the inputs.
    result: Option<DType>,
    /// What becomes of a NaN.
    nan: Nan,
    /// Its value has kinks, which a finite difference steps over where there are thousands of elements.
    kinks: bool,
}

/// An op of a name, what runs it, and the specification of its value. It takes f32 and f16.
pub(crate) fn op(
    method: &'static str,
    run: impl Fn(&[Tensor]) -> Tensor + 'static,
    value: impl Fn(&[Array]) -> Vec<f64> + 'static,
) -> Op {
    Op {
        method,
        name: method.to_owned(),
        run: Rc::new(run),
        value: Rc::new(value),
        gradients: None,
        only: None,
        shapes: vec![],
        timed: vec![],
        passes: [false; 2],
        output: 0,
        flops: [0; 2],
        bytes: None,
        tolerance: [F32; 2],
        half: Some([HALF, HALF_GRAD]),
        result: None,
        nan: Nan::Stays,
        kinks: false,
    }
}

/// So that an entry of the table is one op or a list of them.
impl IntoIterator for Op {
    type Item = Op;
    type IntoIter = Once<Op>;
    fn into_iter(self) -> Once<Op> {
        once(self)
    }
}

impl Op {
    /// Named otherwise than its method.
    pub(crate) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The specification of the gradients: one an input, in their order; what has none is empty, and may be left out at the end.
    pub(crate) fn gradients(self, f: impl Fn(&[Array], &[f64]) -> Vec<Vec<f64>> + 'static) -> Self {
        Self { gradients: Some(Rc::new(f)), ..self }
    }

    /// The inputs that it is tested on; the benches check the last before they time.
    pub(crate) fn shapes(self, shapes: impl IntoIterator<Item = impl Into<Vec<Input>>>) -> Self {
        Self { shapes: shapes.into_iter().map(Into::into).collect(), ..self }
    }

    /// Timed, and so is its gradient. The output has as many elements as the first input of floats.
    pub(crate) fn timed(self, inputs: impl Into<Vec<Input>>) -> Self {
        let timed: Vec<Input> = inputs.into();
        let output = timed.iter().find(|input| !input.is_index()).map_or(0, Input::len);
        Self { passes: [true, self.gradients.is_some()], timed, output, ..self }
    }

    /// Timed without its gradient, which is the launch of another case, or none.
    pub(crate) fn timed_forward(self, inputs: impl Into<Vec<Input>>) -> Self {
        Self { passes: [true, false], ..self.timed(inputs) }
    }

    /// The timed output has another number of elements.
    pub(crate) fn output(self, elements: usize) -> Self {
        Self { output: elements, ..self }
    }

    pub(crate) fn flops(self, forward: usize, gradient: usize) -> Self {
        Self { flops: [forward as u64, gradient as u64], ..self }
    }

    pub(crate) fn bytes(self, forward: usize) -> Self {
        Self { bytes: Some(forward), ..self }
    }

    /// Only the gradient, and only of this input.
    pub(crate) fn only_gradient_of(self, name: &str, input: usize, flops: usize) -> Self {
        let passes = [false, !self.timed.is_empty()];
        Self { only: Some(input), passes, ..self.named(name) }.flops(0, flops)
    }

    /// Bounds in f32, if other than a few units in the last place.
    pub(crate) fn tolerance(self, value: Tol, grad: Tol) -> Self {
        Self { tolerance: [value, grad], ..self }
    }

    /// Bounds in f16, if other than a rounding of the value and two of the gradient.
    pub(crate) fn half(self, value: Tol, grad: Tol) -> Self {
        Self { half: Some([value, grad]), ..self }
    }

    /// It refuses f16.
    pub(crate) fn f32_only(self) -> Self {
        Self { half: None, ..self }
    }

    pub(crate) fn takes_half(&self) -> bool {
        self.half.is_some()
    }

    /// Its result is of this type whatever the inputs are.
    pub(crate) fn gives(self, dtype: DType) -> Self {
        Self { result: Some(dtype), ..self }
    }

    /// A NaN may be lost.
    pub(crate) fn loses_nan(self, why: &'static str) -> Self {
        Self { nan: Nan::Lost(why), ..self }
    }

    /// A NaN may also be where the specification has none.
    pub(crate) fn spreads_nan(self, why: &'static str) -> Self {
        Self { nan: Nan::Spreads(why), ..self }
    }

    /// Its value has kinks close to which an element may lie where there are thousands.
    pub(crate) fn kinks(self) -> Self {
        Self { kinks: true, ..self }
    }

    /// Which of `inputs` the gradient is taken of.
    pub(crate) fn leaves(&self, inputs: &[Input]) -> Vec<usize> {
        let has = |i: &usize| {
            let input = &inputs[*i];
            self.gradients.is_some() && !input.is_index() && !input.fixed && self.only.is_none_or(|o| o == *i)
        };
        (0..inputs.len()).filter(has).collect()
    }

    /// Everything that the table says of it in a type, at every shape.
    pub(crate) fn check(&self, gpu: &Gpu, dtype: DType) -> Checked {
        self.check_shapes(gpu, dtype, true)
    }

    /// What a device can be wrong about: all of [`Op::check`] but the gradients of the specification, which are the same everywhere.
    pub(crate) fn check_device(&self, gpu: &Gpu, dtype: DType) -> Checked {
        self.check_shapes(gpu, dtype, false)
    }

    fn check_shapes(&self, gpu: &Gpu, dtype: DType, differences: bool) -> Checked {
        assert!(!self.shapes.is_empty(), "{}: no shape to test", self.name);
        for inputs in &self.shapes {
            self.check_at(gpu, inputs, dtype, Tol::new(0.0, 0.0), differences)?;
            self.check_nan(gpu, inputs, dtype)?;
        }
        Ok(())
    }

    /// Value and gradients at every shape: for kernels that another case has beside the usual ones.
    pub(crate) fn check_rung(&self, gpu: &Gpu, dtype: DType) -> Checked {
        self.shapes.iter().try_for_each(|inputs| self.check_at(gpu, inputs, dtype, Tol::new(0.0, 0.0), false))
    }

    /// Before it is timed: value and gradients at the last shape. Rungs of a ladder round and add in ways of their own.
    pub(crate) fn check_briefly(&self, gpu: &Gpu, dtype: DType) -> Checked {
        let last = self.shapes.last().map_or(&[][..], Vec::as_slice);
        self.check_at(gpu, last, dtype, Tol::new(1e-4, 1e-4), false)
    }

    /// What the bounds and the result are in a type.
    fn in_type(&self, dtype: DType) -> ([Tol; 2], DType) {
        let tolerance = if dtype == DType::F16 { self.half } else { Some(self.tolerance) };
        (tolerance.unwrap_or(self.tolerance), self.result.unwrap_or(dtype))
    }

    fn label(&self, inputs: &[Input], dtype: DType) -> String {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| &input.shape[..]).collect();
        format!("{}, {} {shapes:?}", self.name, if dtype == DType::F16 { "f16" } else { "f32" })
    }

    fn arrays(inputs: &[Input], dtype: DType) -> Vec<Array> {
        (1..).zip(inputs).map(|(seed, input)| Array::new(seed, input, dtype)).collect()
    }

    /// Value, gradients and type of the result. Leaves are f32, in f16 cast before the op; the output's gradient is one that f16
    /// holds.
    fn check_at(&self, gpu: &Gpu, inputs: &[Input], dtype: DType, slack: Tol, differences: bool) -> Checked {
        let name = self.label(inputs, dtype);
        let arrays = Self::arrays(inputs, dtype);
        let types: Vec<DType> = inputs.iter().map(|input| input.dtype(dtype)).collect();
        let uploaded: Result<Vec<Tensor>, _> =
            arrays.iter().zip(&types).map(|(x, &dtype)| x.upload(gpu, dtype)).collect();
        let uploaded = uploaded?;
        let at = self.leaves(inputs);
        let leaves: Vec<_> = at.iter().map(|&i| (arrays[i].floats(), arrays[i].shape.clone())).collect();
        let ([value, grad], result) = self.in_type(dtype);
        let with = |x: &[Vec<f64>]| {
            let mut all = arrays.clone();
            at.iter().zip(x).for_each(|(&i, x)| all[i].values.clone_from(x));
            all
        };
        let op = |x: &[Tensor]| {
            let mut all = uploaded.clone();
            at.iter().zip(x).for_each(|(&i, x)| all[i] = x.cast(types[i]));
            let y = (self.run)(&all);
            assert_eq!(y.dtype(), result, "{name}: the type of the result");
            y
        };
        let backward = |x: &[Vec<f64>], dy: &[f64]| {
            let mut all = self.gradients.as_ref().map_or(vec![], |f| f(&with(x), dy));
            at.iter().map(|&i| std::mem::take(&mut all[i])).collect()
        };
        Check {
            name: &name,
            leaves: &leaves,
            op: &op,
            forward: &|x| (self.value)(&with(x)),
            backward: &backward,
            value: value.or(slack),
            grad: grad.or(slack),
            half: dtype == DType::F16,
            // The specification is the same in f16, whose values may lie on a kink.
            differences: differences && dtype == DType::F32 && !(self.kinks && inputs[0].len() > 5000),
        }
        .on(gpu)
    }

    /// A NaN in the first or the last element of any input of floats is in the result wherever the specification has one, and
    /// nowhere else; and the specification has one wherever a number there makes a difference.
    fn check_nan(&self, gpu: &Gpu, inputs: &[Input], dtype: DType) -> Checked {
        if let Nan::Lost(_) = self.nan {
            return Ok(());
        }
        let arrays = Self::arrays(inputs, dtype);
        let ([tol, _], _) = self.in_type(dtype);
        for (i, input) in inputs.iter().enumerate().filter(|(_, input)| !input.is_index()) {
            for at in [0, input.len() - 1] {
                let name = format!("{}: NaN in element {at} of input {i}", self.label(inputs, dtype));
                let with = |v: f64| {
                    let mut arrays = arrays.clone();
                    arrays[i].values[at] = v;
                    arrays
                };
                let uploaded: Result<Vec<Tensor>, _> = with(f64::NAN)
                    .iter()
                    .zip(inputs)
                    .map(|(x, input)| x.upload(gpu, input.dtype(dtype)))
                    .collect();
                let mut got = elements(&name, &(self.run)(&uploaded?))?;
                let mut want = (self.value)(&with(f64::NAN));
                let matters = || (self.value)(&with(0.75)) != (self.value)(&with(1.5));
                let integers = self.result == Some(DType::U32);
                if !integers && !want.iter().any(|v| v.is_nan()) && matters() {
                    return Err(format!("{name}: the specification hides it"));
                }
                let spreads = matches!(self.nan, Nan::Spreads(_));
                for (got, want) in got.iter_mut().zip(&mut want) {
                    if got.is_nan() && (want.is_nan() || spreads) {
                        (*got, *want) = (0.0, 0.0);
                    }
                }
                compare(&name, &got, &want, tol)?;
            }
        }
        Ok(())
    }
}
