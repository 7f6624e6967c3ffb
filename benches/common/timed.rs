//! An op as data: how it is run, its specification on small ragged shapes, and the work it needs in the sizes it is timed at.

use wgrad::gpu::Work;
use wgrad::{DType, Gpu, Result, Tensor};

use super::{Case, Checked, Run, Subject, compare, drawn, random, times, weighted_sum};

/// An input: its shape, and for `u32` what its values stay below.
#[derive(Clone)]
pub(super) struct Input {
    shape: Vec<usize>,
    below: Option<u32>,
}

pub(super) type Inputs = Vec<Input>;
pub(super) type Values = Vec<Vec<f64>>;
type Gradients = fn(&[Vec<f64>], &[f64]) -> Values;

/// An op as data. Functions are plain: they know the ragged shapes, which are written beside them.
#[derive(Clone)]
pub(crate) struct Op {
    name: &'static str,
    ragged: Inputs,
    timed: Inputs,
    run: fn(&[Tensor]) -> Tensor,
    value: fn(&[Vec<f64>]) -> Vec<f64>,
    /// Gradients of the first inputs for the output's gradient.
    gradients: Option<Gradients>,
    /// Which inputs require gradients: what the gradient case computes and is checked for.
    leaves: Vec<usize>,
    forward: bool,
    /// Elements of the timed output.
    output: usize,
    flops: [u64; 2],
    dtype: DType,
}

impl Input {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

pub(super) fn float(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), below: None }
}

pub(super) fn index(shape: &[usize], below: usize) -> Input {
    Input { shape: shape.to_vec(), below: Some(below as u32) }
}

pub(super) fn op(
    name: &'static str,
    ragged: Inputs,
    timed: Inputs,
    run: fn(&[Tensor]) -> Tensor,
    value: fn(&[Vec<f64>]) -> Vec<f64>,
) -> Op {
    let first = timed.iter().find(|input| input.below.is_none());
    Op {
        name,
        output: first.map_or(0, Input::len),
        ragged,
        timed,
        run,
        value,
        gradients: None,
        leaves: vec![],
        forward: true,
        flops: [0; 2],
        dtype: DType::F32,
    }
}

impl Op {
    /// With a gradient case for all float inputs.
    pub(super) fn gradients(mut self, gradients: Gradients) -> Self {
        self.leaves = (0..self.ragged.len()).filter(|&i| self.ragged[i].below.is_none()).collect();
        self.gradients = Some(gradients);
        self
    }

    /// With an output of this many elements, where that is not as many as the first float input has.
    pub(super) fn output(mut self, elements: usize) -> Self {
        self.output = elements;
        self
    }

    /// Operations of the forward pass and of the gradient.
    pub(super) fn flops(mut self, forward: usize, gradient: usize) -> Self {
        self.flops = [forward as u64, gradient as u64];
        self
    }

    /// Only the gradient, and only of this input.
    pub(super) fn only_gradient_of(mut self, name: &'static str, leaf: usize, flops: usize) -> Self {
        (self.name, self.leaves, self.forward) = (name, vec![leaf], false);
        self.flops(0, flops)
    }

    /// The same with inputs, and so outputs, of this type.
    pub(crate) fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Its cases: the forward pass, and the gradient where there is one.
    pub(crate) fn cases(self) -> Vec<Case> {
        let mut cases = vec![];
        if self.forward {
            let (checked, timed) = (self.clone(), self.clone());
            cases.push(Case {
                name: self.name.to_owned(),
                size: self.size(),
                work: self.work(),
                check: Box::new(move |gpu| checked.check_value(gpu)),
                prepare: Box::new(move |gpu| timed.forward_subject(gpu)),
            });
        }
        if !self.leaves.is_empty() {
            let (size, checked, timed) = (self.size(), self.clone(), self.clone());
            cases.push(Case {
                name: if self.forward { format!("{}, gradient", self.name) } else { self.name.to_owned() },
                size,
                work: self.gradient_work(),
                check: Box::new(move |gpu| checked.check_gradient(gpu)),
                prepare: Box::new(move |gpu| timed.gradient_subject(gpu)),
            });
        }
        cases
    }

    fn size(&self) -> String {
        self.timed
            .iter()
            .filter(|i| i.shape.len() > 1)
            .map(|i| times(&i.shape))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What the forward pass needs at least: every input read once, the output written once.
    fn work(&self) -> Work {
        let bytes = self.bytes(&self.timed) + self.output * self.dtype.size();
        Work::new(bytes as u64, self.flops[0])
    }

    /// What the gradient needs at least: the inputs and the output's gradient read, the inputs' gradients written. Where only
    /// one input's gradient is computed the op is linear in that input, and does not read it.
    fn gradient_work(&self) -> Work {
        let leaves: Vec<Input> = self.leaves.iter().map(|&leaf| self.timed[leaf].clone()).collect();
        let results = self.bytes(&leaves);
        let read = if self.forward { self.bytes(&self.timed) } else { self.bytes(&self.timed) - results };
        Work::new((read + results + self.output * self.dtype.size()) as u64, self.flops[1])
    }

    fn bytes(&self, inputs: &[Input]) -> usize {
        let size = |input: &Input| if input.below.is_some() { 4 } else { self.dtype.size() };
        inputs.iter().map(|input| input.len() * size(input)).sum()
    }

    fn tolerance(&self) -> f64 {
        // Sums of some hundred products in f32; or one rounding of the result to f16.
        if self.dtype == DType::F16 { 2e-3 } else { 1e-4 }
    }

    fn small(&self, gpu: &Gpu) -> Result<(Vec<Tensor>, Values)> {
        let coarse = self.dtype == DType::F16;
        let mut pairs = vec![];
        for (i, input) in self.ragged.iter().enumerate() {
            let (x, values) = random(gpu, 7 + i as u32, &input.shape, coarse)?;
            pairs.push(match input.below {
                Some(below) => {
                    let picks = |v: &f64| ((v + 1.0) / 2.0 * f64::from(below)) as u32 % below;
                    let values: Vec<u32> = values.iter().map(picks).collect();
                    let x = gpu.tensor_u32(&values, input.shape.as_slice())?;
                    (x, values.into_iter().map(f64::from).collect())
                }
                None => (x.cast(self.dtype), values),
            });
        }
        Ok(pairs.into_iter().unzip())
    }

    fn large(&self, gpu: &Gpu) -> Result<Vec<Tensor>> {
        let make = |(i, input): (usize, &Input)| match input.below {
            Some(below) => {
                let values: Vec<u32> = (0..input.shape.iter().product::<usize>() as u32)
                    .map(|i| i.wrapping_mul(2_654_435_761) >> 8)
                    .map(|v| v % below)
                    .collect();
                gpu.tensor_u32(&values, input.shape.as_slice())
            }
            None => Ok(drawn(gpu, i as u32, &input.shape)?.cast(self.dtype)),
        };
        self.timed.iter().enumerate().map(make).collect()
    }

    fn check_value(&self, gpu: &Gpu) -> Checked {
        let (x, values) = self.small(gpu).map_err(|e| e.to_string())?;
        compare(self.name, &(self.run)(&x), &(self.value)(&values), self.tolerance())
    }

    fn check_gradient(&self, gpu: &Gpu) -> Checked {
        let (mut x, values) = self.small(gpu).map_err(|e| e.to_string())?;
        for &leaf in &self.leaves {
            x[leaf] = x[leaf].requires_grad();
        }
        let y = (self.run)(&x);
        let (w, dy) = random(gpu, 99, y.shape(), self.dtype == DType::F16).map_err(|e| e.to_string())?;
        let grads = weighted_sum(&y, &w.cast(y.dtype())).backward();
        let want = self.gradients.map(|f| f(&values, &dy)).unwrap_or_default();
        for &leaf in &self.leaves {
            let got =
                grads.get(&x[leaf]).ok_or_else(|| format!("{}: no gradient of input {leaf}", self.name))?;
            compare(&format!("{}, gradient {leaf}", self.name), got, &want[leaf], self.tolerance())?;
        }
        Ok(())
    }

    fn forward_subject(&self, gpu: &Gpu) -> Result<Subject> {
        let (x, run) = (self.large(gpu)?, self.run);
        let next = move || -> Run {
            let x = x.clone();
            Box::new(move || drop(run(&x)))
        };
        Ok(Subject { bytes: self.work().bytes, next: Box::new(next) })
    }

    fn gradient_subject(&self, gpu: &Gpu) -> Result<Subject> {
        let mut x = self.large(gpu)?;
        for &leaf in &self.leaves {
            x[leaf] = x[leaf].requires_grad();
        }
        let run = self.run;
        let y = run(&x);
        let w = drawn(gpu, 99, y.shape())?.cast(y.dtype());
        assert_eq!(y.len(), self.output, "{}: the table states another output", self.name);
        let next = move || -> Run {
            let loss = weighted_sum(&run(&x), &w);
            Box::new(move || drop(loss.backward()))
        };
        Ok(Subject { bytes: self.gradient_work().bytes, next: Box::new(next) })
    }
}
