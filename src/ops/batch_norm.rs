//! Batch normalisation over the last axis: NHWC images or `[n, d]` rows.

use super::channel_stats::Stats;
use super::row_kernel::{RowKernel, check_columns, rows_of};
use super::strips::{Lanes, Strips, lanes};
use crate::gpu::{Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("batch_norm.wgsl");
static STRIPS: Lanes = lanes(&SOURCE, "batch_norm_strips", &[]);
static STATS_SOURCE: Source = source!("batch_norm_stats.wgsl");
static MERGE: RowKernel = RowKernel::new(&STATS_SOURCE, "batch_norm_merge");
static FIXED: Kernel = STATS_SOURCE.kernel("batch_norm_fixed");
static FORWARD: [Lanes; 4] = [
    lanes(&SOURCE, "batch_norm", &[]),
    lanes(&SOURCE, "batch_norm", RELU),
    lanes(&SOURCE, "batch_norm", ADD),
    lanes(&SOURCE, "batch_norm", ADD_RELU),
];
static BACKWARD_STRIPS: [Lanes; 3] = [
    lanes(&SOURCE, "batch_norm_backward_strips", &[]),
    lanes(&SOURCE, "batch_norm_backward_strips", RELU),
    lanes(&SOURCE, "batch_norm_backward_strips", ADD_RELU),
];
static BACKWARD: [Lanes; 2] =
    [lanes(&SOURCE, "batch_norm_backward", &[]), lanes(&SOURCE, "batch_norm_backward", RELU)];
static ADD_RELU_BACKWARD: Lanes = lanes(&SOURCE, "batch_norm_add_relu_backward", ADD_RELU);

const RELU: &[(&str, f64)] = &[("RELU", 1.0)];
const ADD: &[(&str, f64)] = &[("ADD", 1.0)];
const ADD_RELU: &[(&str, f64)] = &[("RELU", 1.0), ("ADD", 1.0)];

uniforms! { struct Uniforms { m: u32, c: u32, strips: u32, interleaved: u32, inv_m: f32 } }
uniforms! {
    struct ColumnUniforms {
        m: u32, c: u32, strips: u32, interleaved: u32, run: u32, eps: f32, momentum: f32, affine: u32,
    }
}

/// How [`Tensor::batch_norm`] normalises: `BatchNormOptions::train().affine(&gamma, &beta).running(&mean, &var)`, or
/// `BatchNormOptions::eval(&mean, &var).affine(&gamma, &beta)`.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormOptions<'a> {
    /// Whether the statistics are the batch's own.
    pub(super) train: bool,
    /// Statistics of strips of `x`, if the op that made it has taken them.
    stats: Option<&'a Stats>,
    /// `gamma` and `beta`.
    affine: Option<(&'a Tensor, &'a Tensor)>,
    /// Mean and variance: moved towards the batch's in training, used in evaluation.
    running: Option<(&'a Tensor, &'a Tensor)>,
    momentum: f32,
    eps: f32,
    relu: bool,
    residual: Option<&'a Tensor>,
}

impl<'a> BatchNormOptions<'a> {
    /// By the mean and biased variance of the batch.
    #[must_use]
    pub fn train() -> Self {
        Self {
            train: true,
            stats: None,
            affine: None,
            running: None,
            momentum: 0.1,
            eps: 1e-5,
            relu: false,
            residual: None,
        }
    }

    /// By a given mean and variance, both `[c]` and constants to the gradient.
    #[must_use]
    pub fn eval(mean: &'a Tensor, var: &'a Tensor) -> Self {
        Self { train: false, running: Some((mean, var)), ..Self::train() }
    }

    /// `gamma xhat + beta` instead of `xhat`; both `[c]`.
    #[must_use]
    pub fn affine(self, gamma: &'a Tensor, beta: &'a Tensor) -> Self {
        Self { affine: Some((gamma, beta)), ..self }
    }

    /// Running mean and variance, both `[c]`. In training they are written in place:
    /// `old + momentum (batch - old)`, with the unbiased variance of the batch.
    #[must_use]
    pub fn running(self, mean: &'a Tensor, var: &'a Tensor) -> Self {
        Self { running: Some((mean, var)), ..self }
    }

    /// Weight of the newest batch in the running statistics; 0.1 if not set.
    #[must_use]
    pub fn momentum(self, momentum: f32) -> Self {
        Self { momentum, ..self }
    }

    /// With statistics of strips of the input that the op before it has taken.
    pub(super) fn strips(self, stats: Option<&'a Stats>) -> Self {
        Self { stats, ..self }
    }

    /// Added to the variance; 1e-5 if not set.
    #[must_use]
    pub fn eps(self, eps: f32) -> Self {
        Self { eps, ..self }
    }

    /// Adds `r`, of the shape and type of `x`, after the normalisation, in the same pass.
    #[must_use]
    pub fn residual(self, r: &'a Tensor) -> Self {
        Self { residual: Some(r), ..self }
    }

    /// ReLU last, in the same pass.
    #[must_use]
    pub fn relu(self) -> Self {
        Self { relu: true, ..self }
    }
}

impl Tensor {
    /// `gamma (x - mean) / sqrt(var + eps) + beta` for `x [.., c]`, each column of the last axis on its own; then the residual
    /// and ReLU that `options` ask for.
    ///
    /// Three launches in training, two in evaluation. The variance is stable for any mean: four rows at a time by two
    /// passes, merged as Chan, Golub and LeVeque (1983) do.
    ///
    /// Gradient: for `x`, `gamma`, `beta` and the residual, at most three launches; in training it goes through mean and
    /// variance.
    ///
    /// # Panics
    /// If `gamma`, `beta`, mean or variance are not `[c]`, or the residual is not like `x`; in training, if there are fewer
    /// than two rows.
    #[track_caller]
    #[must_use]
    pub fn batch_norm(&self, options: BatchNormOptions<'_>) -> Tensor {
        let (m, c) = rows_of("batch_norm", self);
        let train = options.train;
        assert!(
            !train || m > 1,
            "batch_norm: training needs two rows for a variance; shape {}",
            self.shape()
        );
        let both = |pair: Option<(&'_ Tensor, &'_ Tensor)>, names: [&str; 2]| {
            if let Some((a, b)) = pair {
                check_columns("batch_norm", self, names[0], a);
                check_columns("batch_norm", self, names[1], b);
            }
        };
        both(options.affine, ["gamma", "beta"]);
        both(options.running, ["running mean", "running variance"]);
        let stats = if train { batch_stats(self, &options) } else { fixed_stats(self.gpu(), m, c, &options) };

        let BatchNormOptions { relu, residual, .. } = options;
        if let Some(r) = residual {
            let fits = r.shape() == self.shape() && r.dtype() == self.dtype();
            assert!(fits, "batch_norm: residual {r} is not like {self}");
        }
        let y = Tensor::alloc(self.gpu(), "batch_norm", self.shape(), self.dtype());
        let n = self.len() as u64;
        let cut = Strips::for_map(self.gpu(), m, c);
        let kernel = &FORWARD[usize::from(relu) + 2 * usize::from(residual.is_some())];
        let work = Work::new((2 + usize::from(residual.is_some())) * self.bytes(), 3 * n);
        cut.run(self.gpu(), kernel, &[&y, self, &stats, residual.unwrap_or(self)], &uniforms(cut, 0.0), work);

        let mut parents = vec![self];
        parents.extend(options.affine.iter().flat_map(|&(gamma, beta)| [gamma, beta]));
        parents.extend(residual);
        let affine = options.affine.is_some();
        let tail = match (relu, residual) {
            (false, _) => Tail::Linear,
            (true, None) => Tail::Relu,
            (true, Some(_)) => Tail::AddRelu,
        };
        let residual_at = residual.map(|_| parents.len() - 1);
        // Only the ReLU of a sum needs y.
        let mask = if tail == Tail::AddRelu { y.clone() } else { self.stop_gradient() };
        y.with_backward("batch_norm", &parents, &[self, &stats, &mask], move |b| {
            let [x, stats, y] = b.saved();
            let wants_affine = affine && (b.needs(1) || b.needs(2));
            let wants_residual = residual_at.is_some_and(|i| b.needs(i));
            let sums = (train || wants_affine).then(|| grad_sums(tail, b.dy, x, stats, y));
            let through = if train { sums.as_ref() } else { None };
            let (dx, dr) = match tail {
                Tail::AddRelu if b.needs(0) || wants_residual => {
                    let (dx, dr) = add_relu_grads(b.dy, x, stats, through, y);
                    (Some(dx), Some(dr))
                }
                Tail::AddRelu => (None, None),
                _ => (b.needs(0).then(|| grad_input(tail, b.dy, x, stats, through)), Some(b.dy.clone())),
            };
            let mut grads = vec![dx];
            if affine {
                let (dbeta, dgamma) = sums.filter(|_| wants_affine).unzip();
                grads.extend([dgamma, dbeta]);
            }
            if residual_at.is_some() {
                grads.push(dr);
            }
            grads
        })
    }
}

/// What follows the affine part, as far as the gradient cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing, or a sum.
    Linear,
    Relu,
    AddRelu,
}

fn uniforms(cut: Strips, inv_m: f32) -> Uniforms {
    Uniforms { m: cut.m, c: cut.c, strips: cut.strips, interleaved: cut.interleaved, inv_m }
}

fn column_uniforms(cut: Strips, run: u32, options: &BatchNormOptions<'_>) -> ColumnUniforms {
    let Strips { m, c, strips, interleaved } = cut;
    let momentum = if options.running.is_some() { options.momentum } else { 0.0 };
    let (eps, affine) = (options.eps, u32::from(options.affine.is_some()));
    ColumnUniforms { m, c, strips, interleaved, run, eps, momentum, affine }
}

/// Mean, inverse standard deviation, scale and shift of every column, `[4, c]`; moves the running statistics.
pub(super) fn batch_stats(x: &Tensor, options: &BatchNormOptions<'_>) -> Tensor {
    let gpu = x.gpu();
    let (m, c) = rows_of("batch_norm", x);
    let mut cut = Strips::for_sums(gpu, m, c);
    let (parts, run) = match options.stats {
        Some(stats) => {
            cut.strips = cut.m.div_ceil(stats.rows);
            (stats.parts.clone(), stats.rows)
        }
        None => {
            let parts = cut.parts(gpu, "batch_norm");
            let work = Work::new(x.bytes() as u64, 5 * x.len() as u64);
            cut.run(gpu, &STRIPS, &[&parts, x], &uniforms(cut, 0.0), work);
            (parts, 0)
        }
    };

    let alloc = |shape: &[usize]| Tensor::alloc(gpu, "batch_norm", &shape.into(), DType::F32);
    let stats = alloc(&[4, c]);
    // Bindings cannot be absent: without affine, `parts` stands for gamma and beta, unread; without running statistics the
    // kernel moves a pair that nobody reads.
    let (gamma, beta) = options.affine.unwrap_or((&parts, &parts));
    let unread;
    let (mean, var) = match options.running {
        Some(running) => running,
        None => {
            unread = (alloc(&[c]), alloc(&[c]));
            (&unread.0, &unread.1)
        }
    };
    let work = Work::new(8 * u64::from(cut.strips) * c as u64, 8 * u64::from(cut.strips) * c as u64);
    let uniforms = column_uniforms(cut, run, options);
    MERGE.run(gpu, &[&stats, mean, var, gamma, beta, &parts, x], &uniforms, (c, cut.strips as usize), work);
    stats
}

/// The same numbers from the running statistics.
fn fixed_stats(gpu: &Gpu, m: usize, c: usize, options: &BatchNormOptions<'_>) -> Tensor {
    let (mean, var) = options.running.expect("evaluation is made with running statistics");
    let (gamma, beta) = options.affine.unwrap_or((mean, mean));
    let stats = Tensor::alloc(gpu, "batch_norm", &[4, c].into(), DType::F32);
    let uniforms = column_uniforms(Strips::for_sums(gpu, m, c), 0, options);
    let work = Work::new(32 * c as u64, c as u64);
    gpu.run(&FIXED, &[&stats, mean, var, gamma, beta], &uniforms, Grid::items(c as u64), work);
    stats
}

/// Sums over the rows of `g` and of `g xhat`: dbeta and dgamma, where `g` is `dy` through the tail. `y` for
/// [`Tail::AddRelu`].
fn grad_sums(tail: Tail, dy: &Tensor, x: &Tensor, stats: &Tensor, y: &Tensor) -> (Tensor, Tensor) {
    let (m, c) = rows_of("batch_norm", x);
    let cut = Strips::for_sums(x.gpu(), m, c);
    let parts = cut.parts(x.gpu(), "batch_norm");
    let reads = if tail == Tail::AddRelu { 3 } else { 2 };
    let work = Work::new(reads * x.bytes(), 4 * x.len());
    cut.run(x.gpu(), &BACKWARD_STRIPS[tail as usize], &[&parts, x, stats, dy, y], &uniforms(cut, 0.0), work);
    cut.add_up("batch_norm", &parts)
}

/// dx of all but [`Tail::AddRelu`]; with `sums`, through mean and variance of the batch.
fn grad_input(
    tail: Tail,
    dy: &Tensor,
    x: &Tensor,
    stats: &Tensor,
    sums: Option<&(Tensor, Tensor)>,
) -> Tensor {
    let dx = Tensor::alloc(x.gpu(), "batch_norm", x.shape(), x.dtype());
    let (cut, uniforms, dbeta, dgamma) = grad_uniforms(x, stats, sums);
    let work = Work::new(3 * x.bytes(), 6 * x.len());
    cut.run(x.gpu(), &BACKWARD[tail as usize], &[&dx, x, stats, dy, dbeta, dgamma], &uniforms, work);
    dx
}

/// dx and the residual's gradient of [`Tail::AddRelu`].
fn add_relu_grads(
    dy: &Tensor,
    x: &Tensor,
    stats: &Tensor,
    sums: Option<&(Tensor, Tensor)>,
    y: &Tensor,
) -> (Tensor, Tensor) {
    let [dx, dr] = [(); 2].map(|()| Tensor::alloc(x.gpu(), "batch_norm", x.shape(), x.dtype()));
    let (cut, uniforms, dbeta, dgamma) = grad_uniforms(x, stats, sums);
    let work = Work::new(5 * x.bytes(), 6 * x.len());
    cut.run(x.gpu(), &ADD_RELU_BACKWARD, &[&dx, &dr, x, stats, dy, dbeta, dgamma, y], &uniforms, work);
    (dx, dr)
}

/// The cut of an elementwise backward, its parameters, and the two sums. Without sums `stats` is bound in their place, and
/// `inv_m` is 0.
fn grad_uniforms<'a>(
    x: &Tensor,
    stats: &'a Tensor,
    sums: Option<&'a (Tensor, Tensor)>,
) -> (Strips, Uniforms, &'a Tensor, &'a Tensor) {
    let (m, c) = rows_of("batch_norm", x);
    let cut = Strips::for_map(x.gpu(), m, c);
    let (dbeta, dgamma) = sums.map_or((stats, stats), |(dbeta, dgamma)| (dbeta, dgamma));
    (cut, uniforms(cut, if sums.is_some() { 1.0 / m as f32 } else { 0.0 }), dbeta, dgamma)
}
