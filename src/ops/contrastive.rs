//! Contrastive cross-entropy over queries and keys, without their N x M logits.
//!
//! For queries `q_i`, keys `k_j` and logits `s_ij = q_i . k_j / tau`, the loss is the mean over rows of
//! `ln sum_j exp(s_ij) - s_i,positive(i)`: the InfoNCE loss (van den Oord et al. 2018, "Representation Learning with
//! Contrastive Predictive Coding", eq. 4). Which column is positive, which one is left out, and whether one more
//! candidate joins a row makes it NT-Xent, MoCo's loss, instance discrimination and others.
//!
//! Forward streams tiles of logits and keeps of each row the maximum, the sum of exponentials and the positive's logit; backward
//! computes the tiles again (the idea of FlashAttention, Dao et al. 2022). Memory beyond the inputs and their gradients: a few numbers a row, and scratch
//! bounded by a constant. No float atomics: a gradient is owned by one invocation, or summed over chunks in their order,
//! so the bits are the same every time.

mod blocks;
mod call;
pub(super) mod ladder;
mod matrix;
mod rows;
mod tiles;

use super::ladder::rung;
use super::layout::pad_columns;
use crate::tensor::{DType, Tensor};
use call::{Call, Column, Keys, Saved, Wanted};
use ladder::Losses;
use rows::Finished;

/// A contrastive cross-entropy: what is positive, what is left out, at which temperature.
///
/// | loss | call |
/// |---|---|
/// | InfoNCE | `Contrastive::new(tau).forward(&q, &k)` |
/// | NT-Xent | `Contrastive::new(tau).positive_offset(n).exclude_offset(0).forward_self(&z)` |
/// | MoCo | `Contrastive::new(tau).extra_positive(&k).forward(&q, &queue)` |
/// | instance discrimination | `Contrastive::new(tau).positive_columns(&indices).forward(&z, &bank)` |
///
/// ```
/// # use wgrad::{Gpu, ops::Contrastive};
/// # fn main() -> wgrad::Result<()> {
/// let gpu = Gpu::new()?;
/// let q = gpu.tensor(&[1.0, 0.0, 0.0, 1.0], [2, 2])?.requires_grad();
/// let out = Contrastive::new(0.5).forward(&q, &q.stop_gradient());
/// let loss = out.loss.item()?;
/// assert!((loss - (1.0 + (-2_f32).exp()).ln()).abs() < 1e-6);
/// let grads = out.loss.backward();
/// assert!(grads.get(&q).is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Contrastive {
    tau: f32,
    positive: Column,
    exclude: Option<Column>,
    extra: Option<Tensor>,
    dispatch_flops: Option<u64>,
}

/// What [`Contrastive::forward`] returns.
#[derive(Debug, Clone)]
pub struct ContrastiveOutput {
    /// Mean over rows: a differentiable scalar.
    pub loss: Tensor,
    /// Loss of each row `[N]`, without graph.
    pub row_losses: Tensor,
    /// `ln sum exp` of each row's logits `[N]`, without graph.
    pub lse: Tensor,
}

impl Contrastive {
    /// Positive of row `i` is key `i`, nothing is left out.
    ///
    /// # Panics
    /// If `tau` is not positive and finite.
    #[track_caller]
    #[must_use]
    pub fn new(tau: f32) -> Self {
        assert!(tau > 0.0 && tau.is_finite(), "contrastive: temperature {tau} is not positive");
        Self { tau, positive: Column::Offset(0), exclude: None, extra: None, dispatch_flops: None }
    }

    /// The positive of row `i` is key `(i + offset) mod M`.
    #[must_use]
    pub fn positive_offset(mut self, offset: usize) -> Self {
        self.positive = Column::Offset(offset);
        self
    }

    /// The positive of each row, as `u32` `[N]` below M: of any other its loss and its gradient are NaN.
    #[must_use]
    pub fn positive_columns(mut self, columns: &Tensor) -> Self {
        self.positive = Column::Each(columns.clone());
        self
    }

    /// Row `i` leaves out key `(i + offset) mod M`; it must not be its positive.
    #[must_use]
    pub fn exclude_offset(mut self, offset: usize) -> Self {
        self.exclude = Some(Column::Offset(offset));
        self
    }

    /// The key each row leaves out, as `u32` `[N]`; a value of M or more leaves out none.
    #[must_use]
    pub fn exclude_columns(mut self, columns: &Tensor) -> Self {
        self.exclude = Some(Column::Each(columns.clone()));
        self
    }

    /// One more candidate for each row, its positive: row `i` of `extra` `[N, d]`. All keys are then negatives
    /// (He et al. 2020, "Momentum Contrast", eq. 1).
    #[must_use]
    pub fn extra_positive(mut self, extra: &Tensor) -> Self {
        self.extra = Some(extra.clone());
        self
    }

    /// Operations in one dispatch at most; larger calls are cut into several, with the same bits. The default,
    /// [`Facts::launch_seconds`](crate::gpu::Facts::launch_seconds) at a quarter of the measured rate, stays below any driver's time-out.
    #[must_use]
    pub fn dispatch_flops(mut self, flops: u64) -> Self {
        self.dispatch_flops = Some(flops);
        self
    }

    /// Loss of queries `[N, d]` against keys `[M, d]`; nothing is normalised here.
    ///
    /// `f16` tensors are widened to `f32` first: a pass over N + M rows before N x M x d operations. Loss and by-products are
    /// `f32`, of the rows as they are stored; a gradient is rounded to `f16` once, at the end. Where the adapter has matrix units and
    /// prefers them, queries and keys that are both `f16` are multiplied there: the logits are the same, and the weights of a
    /// gradient are rounded to `f16` before its sums.
    ///
    /// Gradients go to those of queries, keys and extra positives that require them.
    ///
    /// # Panics
    /// If a tensor has another rank, type or width than that, or is empty.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, queries: &Tensor, keys: &Tensor) -> ContrastiveOutput {
        self.run(queries, keys, false)
    }

    /// Loss of rows `[N, d]` against themselves, with the gradient of both roles in one pass.
    ///
    /// # Panics
    /// As [`Contrastive::forward`].
    #[track_caller]
    #[must_use]
    pub fn forward_self(&self, rows: &Tensor) -> ContrastiveOutput {
        self.run(rows, rows, true)
    }

    #[track_caller]
    fn run(&self, queries: &Tensor, keys: &Tensor, same: bool) -> ContrastiveOutput {
        self.check(queries, keys);
        let half = queries.dtype() == DType::F16 && keys.dtype() == DType::F16;
        let operands = if half { DType::F16 } else { DType::F32 };
        let queries = &queries.cast(DType::F32);
        let keys = if same { queries } else { &keys.cast(DType::F32) };
        let extra_rows = self.extra.as_ref().map(|e| e.cast(DType::F32));
        let (n, m, d) = (queries.shape()[0] as u32, keys.shape()[0] as u32, keys.shape()[1]);
        let (gpu, d4, tau) = (queries.gpu().clone(), d.div_ceil(4) as u32, self.tau);
        let dispatch_flops = self.dispatch_flops.unwrap_or_else(|| gpu.launch_flops(0.25));
        let call = Call { gpu, n, m, d4, tau, operands, dispatch_flops };
        let q = pad_columns(queries, 4 * call.d4);
        let k = if same { q.clone() } else { pad_columns(keys, 4 * call.d4) };
        let extra = extra_rows.as_ref().map(|e| pad_columns(e, 4 * call.d4));
        let positive = match (&self.extra, &self.positive) {
            (Some(_), _) => call.no_column(),
            (None, column) => call.column(column),
        };
        let excluded = match &self.exclude {
            None => call.no_column(),
            Some(column) => call.column(column),
        };
        let rows = Keys { q: &q, k: &k, excluded: &excluded, positive: &positive };
        let (state, pairs) = rung::<Losses>(&call).launch.states(&call, &rows);
        let Finished { row_losses, lse, softmax } =
            call.finish((&state, pairs), &q, extra.as_ref(), &positive);

        let mut parents = if same { vec![queries] } else { vec![queries, keys] };
        parents.extend(&extra_rows);
        let mut saved = vec![&q, &k, &positive, &excluded, &softmax];
        saved.extend(&extra);
        let loss = row_losses.mean_all().with_backward("contrastive", &parents, &saved, move |b| {
            let [q, k, positive, excluded, softmax, extra @ ..] = b.saved_slice() else {
                unreachable!("five tensors were saved, or six");
            };
            let saved = Saved { q, k, positive, excluded, softmax, dloss: b.dy };
            let wanted = match same {
                true if b.needs(0) => Wanted::Both,
                true => Wanted::Each([false; 2]),
                false => Wanted::Each([b.needs(0), b.needs(1)]),
            };
            let gradients = rung::<Losses>(&call).launch.gradients(&call, wanted, &saved);
            let mut gradients = gradients[..if same { 1 } else { 2 }].to_vec();
            if let [extra] = extra {
                let (dq, dextra) = call.extra_backward(extra, &saved);
                gradients[0] = gradients[0].take().map(|tiles| tiles.add(&dq));
                gradients.push(Some(dextra));
            }
            gradients.into_iter().map(|g| g.map(|g| pad_columns(&g, d as u32))).collect()
        });
        ContrastiveOutput { loss, row_losses, lse }
    }

    #[track_caller]
    fn check(&self, queries: &Tensor, keys: &Tensor) {
        let (q, k) = (queries.shape(), keys.shape());
        let matrices = q.rank() == 2 && k.rank() == 2 && q[1] == k[1];
        assert!(
            matrices && !queries.is_empty() && !keys.is_empty(),
            "contrastive: queries {q} and keys {k} must be [N, d] and [M, d], not empty"
        );
        for t in [Some(queries), Some(keys), self.extra.as_ref()].into_iter().flatten() {
            assert!(t.dtype().is_float(), "contrastive: {t} must be f32 or f16");
        }
        if let Some(extra) = &self.extra {
            assert_eq!(extra.shape(), q, "contrastive: extra positives must be shaped like the queries");
        }
        for column in [Some(&self.positive), self.exclude.as_ref()].into_iter().flatten() {
            if let Column::Each(t) = column {
                assert!(
                    t.dtype() == DType::U32 && **t.shape() == [q[0]],
                    "contrastive: columns {t} must be u32 [{}]",
                    q[0]
                );
            }
        }
    }
}
