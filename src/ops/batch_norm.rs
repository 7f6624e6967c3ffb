//! Batch normalisation over the last axis: NHWC images or `[n, d]` rows.

use super::conv2d::Stats;
use super::row_kernel::{RowKernel, check_columns, rows_of};
use super::strips::Strips;
use crate::gpu::{Gpu, Grid, Kernel, Source, Work, params};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = Source::new("batch_norm.wgsl", include_str!("../../shaders/batch_norm.wgsl"));
static STRIPS: Kernel = SOURCE.kernel("batch_norm_strips");
static MERGE: RowKernel = RowKernel::new(&SOURCE, "batch_norm_merge");
static FIXED: Kernel = SOURCE.kernel("batch_norm_fixed");
static FORWARD: Kernel = SOURCE.kernel("batch_norm");
static BACKWARD_STRIPS: Kernel = SOURCE.kernel("batch_norm_backward_strips");
static BACKWARD: Kernel = SOURCE.kernel("batch_norm_backward");

params! { struct Params { m: u32, c: u32, strips: u32, interleaved: u32, inv_m: f32 } }
params! {
    struct ColumnParams {
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
}

impl<'a> BatchNormOptions<'a> {
    /// By the mean and biased variance of the batch.
    #[must_use]
    pub fn train() -> Self {
        Self { train: true, stats: None, affine: None, running: None, momentum: 0.1, eps: 1e-5 }
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
}

impl Tensor {
    /// `gamma (x - mean) / sqrt(var + eps) + beta` for `x [.., c]`, each column of the last axis on its own.
    ///
    /// Three launches in training, two in evaluation. The variance is stable for any mean: four rows at a time by two
    /// passes, merged as Chan, Golub and LeVeque (1983) do.
    ///
    /// Gradient: for `x`, `gamma` and `beta`, at most three launches; in training it goes through mean and variance.
    ///
    /// # Panics
    /// If `gamma`, `beta`, mean or variance are not `[c]`; in training, if there are fewer than two rows.
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

        let y = Tensor::alloc(self.gpu(), "batch_norm", self.shape(), self.dtype());
        let n = self.len() as u64;
        let cut = Strips::for_map(self.gpu(), m, c);
        self.gpu().run(
            &FORWARD,
            &[&y, self, &stats],
            &params(cut, 0.0),
            cut.grid(),
            Work::new(2 * self.bytes() as u64, 3 * n),
        );

        let mut parents = vec![self];
        parents.extend(options.affine.iter().flat_map(|&(gamma, beta)| [gamma, beta]));
        let affine = options.affine.is_some();
        y.with_backward("batch_norm", &parents, &[self, &stats], move |b| {
            let [x, stats] = b.saved();
            let wants_affine = affine && (b.needs(1) || b.needs(2));
            let sums = (train || wants_affine).then(|| grad_sums(b.dy, x, stats));
            let dx = b.needs(0).then(|| grad_input(b.dy, x, stats, if train { sums.as_ref() } else { None }));
            let mut grads = vec![dx];
            if affine {
                let (dbeta, dgamma) = sums.filter(|_| wants_affine).unzip();
                grads.extend([dgamma, dbeta]);
            }
            grads
        })
    }
}

fn params(cut: Strips, inv_m: f32) -> Params {
    Params { m: cut.m, c: cut.c, strips: cut.strips, interleaved: cut.interleaved, inv_m }
}

fn column_params(cut: Strips, run: u32, options: &BatchNormOptions<'_>) -> ColumnParams {
    let Strips { m, c, strips, interleaved } = cut;
    let momentum = if options.running.is_some() { options.momentum } else { 0.0 };
    ColumnParams {
        m,
        c,
        strips,
        interleaved,
        run,
        eps: options.eps,
        momentum,
        affine: u32::from(options.affine.is_some()),
    }
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
            gpu.run(&STRIPS, &[&parts, x], &params(cut, 0.0), cut.grid(), work);
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
    let params = column_params(cut, run, options);
    MERGE.run(gpu, &[&stats, mean, var, gamma, beta, &parts, x], &params, (c, cut.strips as usize), work);
    mean.mark_written();
    var.mark_written();
    stats
}

/// The same numbers from the running statistics.
fn fixed_stats(gpu: &Gpu, m: usize, c: usize, options: &BatchNormOptions<'_>) -> Tensor {
    let (mean, var) = options.running.expect("evaluation is made with running statistics");
    let (gamma, beta) = options.affine.unwrap_or((mean, mean));
    let stats = Tensor::alloc(gpu, "batch_norm", &[4, c].into(), DType::F32);
    let params = column_params(Strips::for_sums(gpu, m, c), 0, options);
    gpu.run(
        &FIXED,
        &[&stats, mean, var, gamma, beta],
        &params,
        Grid::items(c as u64),
        Work::new(32 * c as u64, c as u64),
    );
    stats
}

/// Sums over the rows of `dy` and of `dy xhat`: dbeta and dgamma.
fn grad_sums(dy: &Tensor, x: &Tensor, stats: &Tensor) -> (Tensor, Tensor) {
    let (m, c) = rows_of("batch_norm", x);
    let cut = Strips::for_sums(x.gpu(), m, c);
    let parts = cut.parts(x.gpu(), "batch_norm");
    let n = x.len() as u64;
    x.gpu().run(
        &BACKWARD_STRIPS,
        &[&parts, x, stats, dy],
        &params(cut, 0.0),
        cut.grid(),
        Work::new(2 * x.bytes() as u64, 4 * n),
    );
    cut.add_up("batch_norm", &parts)
}

/// dx; with `sums`, through mean and variance of the batch.
fn grad_input(dy: &Tensor, x: &Tensor, stats: &Tensor, sums: Option<&(Tensor, Tensor)>) -> Tensor {
    let (m, c) = rows_of("batch_norm", x);
    let dx = Tensor::alloc(x.gpu(), "batch_norm", x.shape(), x.dtype());
    let cut = Strips::for_map(x.gpu(), m, c);
    let params = params(cut, if sums.is_some() { 1.0 / m as f32 } else { 0.0 });
    let (dbeta, dgamma) = sums.map_or((stats, stats), |(dbeta, dgamma)| (dbeta, dgamma));
    let n = x.len() as u64;
    x.gpu().run(
        &BACKWARD,
        &[&dx, x, stats, dy, dbeta, dgamma],
        &params,
        cut.grid(),
        Work::new(3 * x.bytes() as u64, 6 * n),
    );
    dx
}
