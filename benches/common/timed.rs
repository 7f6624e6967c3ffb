//! The cases of the table as something to time: the work they need at least, and their runs.

use wgrad::gpu::Work;
use wgrad::{DType, Gpu, Result, Tensor};

use super::cases::op::{Input, Op, Values};
use super::cases::{self, Sizes};
use super::check::weighted_sum;
use super::{Case, Run, Subject, drawn, times};

/// Every case of the table that has a timed size, forward pass and gradient.
pub(crate) fn ops(gpu: &Gpu) -> Vec<Case> {
    cases::all(&Sizes::of(gpu)).into_iter().flat_map(|op| passes(&op, DType::F32)).collect()
}

/// The passes of an op on inputs of a type that are timed: the forward pass, the gradient.
pub(crate) fn passes(op: &Op, dtype: DType) -> Vec<Case> {
    let [forward, gradient] = op.passes;
    let name = |suffix: &str| if forward { format!("{}{suffix}", op.name) } else { op.name.clone() };
    let pass = |name: String, work, subject: fn(&Op, &Gpu, DType, Work) -> Result<Subject>| {
        let (checked, timed) = (op.clone(), op.clone());
        Case {
            name,
            size: size(&op.timed),
            work,
            check: Box::new(move |gpu| checked.check_briefly(gpu, dtype)),
            prepare: Box::new(move |gpu| subject(&timed, gpu, dtype, work)),
        }
    };
    let mut cases = vec![];
    cases.extend(forward.then(|| pass(name(""), forward_work(op, dtype), forward_subject)));
    cases.extend(gradient.then(|| pass(name(", gradient"), gradient_work(op, dtype), gradient_subject)));
    cases
}

fn size(inputs: &[Input]) -> String {
    let matrices = inputs.iter().filter(|input| input.shape.len() > 1);
    matrices.map(|input| times(&input.shape)).collect::<Vec<_>>().join(", ")
}

fn bytes<'a>(inputs: impl IntoIterator<Item = &'a Input>, dtype: DType) -> usize {
    inputs.into_iter().map(|input| input.len() * input.dtype(dtype).size()).sum()
}

/// What the forward pass needs at least: every input read once, the output written once.
fn forward_work(op: &Op, dtype: DType) -> Work {
    let whole = || bytes(&op.timed, dtype) + op.output * dtype.size();
    Work::new(op.bytes.unwrap_or_else(whole), op.flops[0])
}

/// What the gradient needs at least: the inputs and the output's gradient read, the inputs' gradients written. Where only one input's
/// gradient is computed the op is linear in that input, and does not read it.
fn gradient_work(op: &Op, dtype: DType) -> Work {
    let results = bytes(op.leaves(&op.timed).into_iter().map(|leaf| &op.timed[leaf]), dtype);
    let inputs = bytes(&op.timed, dtype);
    let read = if op.passes[0] { inputs } else { inputs - results };
    Work::new(read + results + op.output * dtype.size(), op.flops[1])
}

/// The inputs of the timed size, drawn on the device.
fn inputs(op: &Op, gpu: &Gpu, dtype: DType) -> Result<Vec<Tensor>> {
    let make = |(seed, input): (u32, &Input)| match input.values {
        Values::Index(below, f) => {
            let values: Vec<u32> = (0..input.len()).map(|i| (f(i) % below) as u32).collect();
            gpu.tensor_u32(&values, input.shape.as_slice())
        }
        Values::Uniform(low, high) => Ok(drawn(gpu, seed, &input.shape, low, high)?.cast(input.dtype(dtype))),
        Values::Made(_) => Ok(drawn(gpu, seed, &input.shape, -1.0, 1.0)?.cast(input.dtype(dtype))),
    };
    (0..).zip(&op.timed).map(make).collect()
}

fn forward_subject(op: &Op, gpu: &Gpu, dtype: DType, work: Work) -> Result<Subject> {
    let (x, op) = (inputs(op, gpu, dtype)?, op.clone());
    let next = move || -> Run {
        let (x, op) = (x.clone(), op.clone());
        Box::new(move || {
            let y = (op.run)(&x);
            assert_eq!(y.len(), op.output, "{}: the table states another output", op.name);
        })
    };
    Ok(Subject { bytes: work.bytes, next: Box::new(next) })
}

fn gradient_subject(op: &Op, gpu: &Gpu, dtype: DType, work: Work) -> Result<Subject> {
    let mut x = inputs(op, gpu, dtype)?;
    for leaf in op.leaves(&op.timed) {
        x[leaf] = x[leaf].requires_grad();
    }
    let run = op.run.clone();
    let y = run(&x);
    let w = drawn(gpu, 99, y.shape(), -1.0, 1.0)?.cast(y.dtype());
    assert_eq!(y.len(), op.output, "{}: the table states another output", op.name);
    let next = move || -> Run {
        let loss = weighted_sum(&run(&x), &w);
        Box::new(move || drop(loss.backward()))
    };
    Ok(Subject { bytes: work.bytes, next: Box::new(next) })
}
