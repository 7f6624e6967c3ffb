//! The teacher as a moving average of the student.

use super::scaler::LossScaler;
use super::schedule::Schedule;
use super::segments::check_flat;
use crate::error::Result;
use crate::gpu::{Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::Params;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("ema.wgsl");
static MOVE: [Kernel; 2] = by_class("ema_move");
static DECIDE: [Kernel; 2] = by_class("ema_decide");

/// In the WGSL's workgroups, and in narrow ones ([`Facts::narrow_workgroups`](crate::gpu::Facts::narrow_workgroups)).
const fn by_class(entry: &'static str) -> [Kernel; 2] {
    [SOURCE.kernel(entry), SOURCE.kernel(entry).with(&[("WG", 8.0), ("LANES", 8.0)])]
}

uniforms! { struct Move { n: u32 } }
uniforms! { struct Decide { chunks: u32, shortest: f32, longest: f32 } }

/// vec4s that a workgroup moves, as in the WGSL.
const CHUNK: u32 = 1024;

/// The momentum `m` of an [`Ema`]. The window of the average is about `1 / (1 - m)` steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Momentum {
    /// The same at every step, as in MoCo.
    Constant(f64),
    /// A half cosine over `steps` steps, as BYOL's and DINO's from 0.996 to 1.
    Cosine {
        /// At step 0.
        from: f64,
        /// At step `steps` and after.
        to: f64,
        /// Steps of the run.
        steps: u64,
    },
    /// Within `shortest..=longest`, by how much of the gradient is signal.
    ///
    /// Let a mini-batch's gradient be a true one, of length `G`, and noise, of mean square length `S`, and the student go along
    /// it. In units of the learning rate an average over a window of `W` steps lags by about `W G` behind a student without noise,
    /// and keeps a noise of about `S / W`, squared. The squared error `W^2 G^2 + S / W` is least at a `W` near
    /// `(S / G^2)^(1/3)`: a short window while the gradient is large against its noise, and the student learns fast, a long one
    /// when gradients are noise. With `x = G^2 / (G^2 + S)`, the share of signal,
    ///
    /// `1 - m = max(1 - longest, (1 - shortest) x^(1/3))`.
    ///
    /// `1 / x` is one more than the gradient noise scale over the batch size (McCandlish et al. 2018, "An Empirical Model of
    /// Large-Batch Training", eq. 2.9). As in their eq. A.2, `G^2` is what the square of an averaged gradient has beyond its
    /// share of the single squares. The average is exponential, the newest gradient with weight 0.02, so the estimate is
    /// of about the last fifty steps. The rule for `m` is this crate's own; the papers that use a teacher keep its momentum
    /// constant or raise it by the step.
    ///
    /// Steps that go to and fro, as with momentum at a large learning rate, cancel in the average and count as noise, so
    /// `longest` is to be what one would choose for a constant momentum.
    ///
    /// An update moves with what the one before decided, the first two with `shortest`.
    Adaptive {
        /// Where a gradient is all signal.
        shortest: f64,
        /// Where it is noise.
        longest: f64,
    },
}

/// `teacher = m teacher + (1 - m) student`, over the parameters only; running statistics are the teacher's own.
///
/// One launch for the whole model, two with [`Momentum::Adaptive`]; nothing is read back.
#[derive(Debug)]
pub struct Ema {
    gpu: Gpu,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Schedule(Schedule),
    Adaptive(Adaptive),
}

#[derive(Debug)]
struct Adaptive {
    /// Of 1 - m: with the shortest window, with the longest.
    weights: [f32; 2],
    /// `[6]`, as in the WGSL.
    state: Tensor,
    /// Of the gradient, flat.
    average: Tensor,
}

impl Ema {
    /// For a student and its [`fork`](Params::fork).
    ///
    /// # Errors
    /// Out of memory: [`Momentum::Adaptive`] keeps an average of the gradient.
    ///
    /// # Panics
    /// If a momentum is not in `0..=1`, or the shortest window is longer than the longest.
    #[track_caller]
    pub fn new(student: &Params, momentum: Momentum) -> Result<Self> {
        let (from, to) = match momentum {
            Momentum::Constant(m) => (m, m),
            Momentum::Cosine { from, to, .. } => (from, to),
            Momentum::Adaptive { shortest, longest } => (shortest, longest.max(shortest)),
        };
        let within = [from, to].iter().all(|m| (0.0..=1.0).contains(m));
        let ordered = !matches!(momentum, Momentum::Adaptive { shortest, longest } if shortest > longest);
        assert!(within && ordered, "Ema: no momentum {momentum:?}");
        let gpu = student.gpu();
        let rule = match momentum {
            Momentum::Constant(m) => Rule::Schedule(Schedule::constant(m)),
            Momentum::Cosine { from, to, steps } => Rule::Schedule(Schedule::cosine(from, to, steps)),
            Momentum::Adaptive { shortest, longest } => {
                let weights = [shortest, longest].map(|m| (1.0 - m) as f32);
                let state = gpu.tensor(&[shortest as f32, weights[0], 1.0, 0.0, 0.0, 0.0], [6])?;
                Rule::Adaptive(Adaptive { weights, state, average: gpu.zeros(student.flat().shape())? })
            }
        };
        Ok(Self { gpu: gpu.clone(), rule })
    }

    /// Moves `teacher` towards `student`, which has just made its step number `step`, counted from 0, along `gradient`, flat
    /// from [`LossScaler::gradient`]. Only [`Momentum::Adaptive`] looks at the gradient.
    ///
    /// A step that `scaler` skipped moves the teacher, and nothing else. In `f32` no step is skipped: a gradient that is not
    /// finite has spoilt the student by now, and the momentum stays as it is.
    ///
    /// # Panics
    /// If the layouts differ.
    #[track_caller]
    pub fn update(
        &self,
        teacher: &Params,
        student: &Params,
        gradient: &Tensor,
        scaler: &LossScaler,
        step: u64,
    ) {
        assert_eq!(teacher.segments(), student.segments(), "Ema: teacher and student are different networks");
        match &self.rule {
            Rule::Schedule(momentum) => {
                teacher.flat().lerp_(student.flat(), (1.0 - momentum.exact(step)) as f32);
            }
            Rule::Adaptive(adaptive) => {
                let guard = scaler.state().unwrap_or(&student.table().unguarded);
                check_flat("Ema", student, gradient);
                let class = usize::from(self.gpu.facts().narrow_workgroups);
                adaptive.update(class, [teacher.flat(), student.flat(), gradient, guard]);
            }
        }
    }

    /// The momentum of the update of this step, `[]`, for a log; with [`Momentum::Adaptive`] that of the newest
    /// update, whatever the step.
    #[must_use]
    pub fn momentum(&self, step: u64) -> Tensor {
        match &self.rule {
            Rule::Schedule(momentum) => Tensor::scalar(&self.gpu, momentum.at(step)),
            Rule::Adaptive(Adaptive { state, .. }) => Tensor::view(state, 0, []).copy(),
        }
    }

    /// All that a checkpoint must keep, by name; nothing for a schedule. Restored by [`Tensor::write`] on the same tensors.
    ///
    /// `decided` is the momentum of the newest update, `1 - m` of the next, the share of signal, and three running
    /// sums, `[6]`; `gradient` an average, flat like the parameters.
    #[must_use]
    pub fn state(&self) -> Vec<(&'static str, &Tensor)> {
        match &self.rule {
            Rule::Schedule(_) => vec![],
            Rule::Adaptive(Adaptive { state, average, .. }) => {
                vec![("decided", state), ("gradient", average)]
            }
        }
    }
}

impl Adaptive {
    /// With the kernels of an adapter class, on flat tensors and a guard.
    #[track_caller]
    fn update(&self, class: usize, [teacher, student, gradient, guard]: [&Tensor; 4]) {
        let Self { weights: [shortest, longest], state, average } = self;
        let n = teacher.len() as u32 / 4;
        let (gpu, chunks) = (teacher.gpu(), n.div_ceil(CHUNK));
        let sums = Tensor::alloc(gpu, "Ema", &[chunks as usize, 2].into(), DType::F32);
        let work = Work::new(96 * u64::from(n), 40 * u64::from(n));
        let tensors = [teacher, average, &sums, gradient, student, state, guard];
        gpu.run(&MOVE[class], &tensors.map(|t| t as _), &Move { n }, Grid::groups(chunks), work);
        let launch = Decide { chunks, shortest: *shortest, longest: *longest };
        let work = Work::new(8 * u64::from(chunks) + 48, 2 * u64::from(chunks));
        gpu.run(&DECIDE[class], &[state, &sums, guard], &launch, Grid::groups(1), work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use crate::reference::ema as spec;

    /// The kernels of both adapter classes over one chunk, several, and a part of one; the third of four steps is skipped.
    #[test]
    fn both_classes_equal_the_reference() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let range = [0.25, 0.999];
        let guards = [0.0, 1.0].map(|skip| gpu.tensor(&[1024.0, 0.0, skip, 0.0], [4]).unwrap());
        for (n, class) in [64, 4096, 4160, 33_024].into_iter().flat_map(|n| [(n, 0), (n, 1)]) {
            let mut rng = Rng::new(7);
            let mut drawn = || (0..n).map(|_| 2.0 * rng.uniform() - 1.0).collect::<Vec<f32>>();
            let f64s = |x: &[f32]| x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let start = drawn();
            let teacher = gpu.tensor(&start, [n]).unwrap();
            let (mut want, mut average) = (f64s(&start), vec![0.0; n]);
            let ema = Adaptive {
                weights: range.map(|m| (1.0 - m) as f32),
                state: gpu.tensor(&[0.25, 0.75, 1.0, 0.0, 0.0, 0.0], [6]).unwrap(),
                average: gpu.zeros([n]).unwrap(),
            };
            let mut state = spec::State::new(range[0]);
            for step in 0..4 {
                let (student, mut gradient) = (drawn(), drawn());
                let skipped = step == 2;
                gradient.iter_mut().for_each(|g| *g = if skipped { f32::NAN } else { *g + 0.5 });
                let [w, g] = [&student, &gradient].map(|x| gpu.tensor(x, [n]).unwrap());
                ema.update(class, [&teacher, &w, &g, &guards[usize::from(skipped)]]);
                let sources = [&*f64s(&student), &*f64s(&gradient)];
                spec::adaptive(&mut state, &mut average, &mut want, sources, skipped, range);
            }
            let spec::State { momentum, weight, signal, squares, sum, sum_2 } = state;
            let decided = [momentum, weight, signal, squares, sum, sum_2];
            assert!(signal < 1.0 && weight < 0.75, "{state:?}");
            // Sums of n squares in f32, of which a half cancels.
            let close = |got: &Tensor, want: &[f64], tolerance: f64, what: &str| {
                for (got, want) in got.to_vec().unwrap().into_iter().zip(want) {
                    let close = (f64::from(got) - want).abs() <= tolerance * (1.0 + want.abs());
                    assert!(close, "{what}, n = {n}, class {class}: {got} is not {want}");
                }
            };
            close(&teacher, &want, 1e-5, "teacher");
            close(&ema.average, &average, 1e-7, "average");
            close(&ema.state, &decided, 1e-5, "decided");
        }
    }
}
