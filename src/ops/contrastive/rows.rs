//! The passes of the contrastive loss over rows alone: columns, the loss from the rows' states, extra candidates.

use super::call::{Call, Column, Saved};
use crate::gpu::{Bind, Grid, Kernel, Source, Work, source, uniforms};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static ROWS_SOURCE: Source = source!("contrastive/rows.wgsl");
static COLUMNS: Kernel = ROWS_SOURCE.kernel("contrastive_columns");
static FINISH: Kernel = ROWS_SOURCE.kernel("contrastive_finish");
static EXTRA_BACKWARD: Kernel = ROWS_SOURCE.kernel("contrastive_extra_backward");
static SUM_CHUNKS: Kernel = ROWS_SOURCE.kernel("contrastive_sum_chunks");

uniforms! {
    struct Columns { n: u32, m: u32, offset: u32 }
}
uniforms! {
    struct Rows { n: u32, m: u32, d4: u32, chunks: u32, extra: u32, inv_tau: f32, scale: f32, plane: u32 }
}
uniforms! {
    struct Sum { n: u32, chunks: u32 }
}

/// What [`Call::finish`] returns, each a value or three a row.
pub(super) struct Finished {
    pub(super) row_losses: Tensor,
    pub(super) lse: Tensor,
    pub(super) softmax: Tensor,
}

impl Call {
    /// Loss, log-sum-exp and softmax of each row from its states: the last is what backward reads.
    pub(super) fn finish(
        &self,
        (state, pairs): (&Tensor, u32),
        q: &Tensor,
        extra: Option<&Tensor>,
        positive: &Tensor,
    ) -> Finished {
        let &Self { n, d4, .. } = self;
        let (row_losses, lse, softmax) = (self.alloc(&[n]), self.alloc(&[n]), self.alloc(&[3, self.plane()]));
        // Bindings cannot be absent: without extra positives the queries are bound, and not read.
        let bindings: [&dyn Bind; 7] = [&row_losses, &lse, &softmax, state, positive, q, extra.unwrap_or(q)];
        let rows = if extra.is_some() { 32 * u64::from(d4) } else { 0 };
        let flops = if extra.is_some() { self.flops(1) } else { 0 };
        let work = Work::new(u64::from(n) * (rows + 8 * u64::from(pairs) + 32), u64::from(n) * flops);
        self.gpu.run(&FINISH, &bindings, &self.rows(pairs, extra.is_some()), Grid::items(n), work);
        Finished { row_losses, lse, softmax }
    }

    /// The extra candidates' part of the queries' gradient, and their own gradient.
    pub(super) fn extra_backward(&self, extra: &Tensor, saved: &Saved<'_>) -> (Tensor, Tensor) {
        let [dq, dextra] = [(); 2].map(|()| self.alloc(&[self.n, 4 * self.d4]));
        let work = Work::new(16 * saved.q.len() as u64, 2 * saved.q.len() as u64);
        let bindings: [&dyn Bind; 6] = [&dq, &dextra, saved.q, extra, saved.softmax, saved.dloss];
        self.gpu.run(&EXTRA_BACKWARD, &bindings, &self.rows(1, true), Grid::items(self.n), work);
        (dq, dextra)
    }

    /// The sum of `chunks` partial gradients `[chunks, n, 4 d4]`, in their order.
    pub(super) fn sum_chunks(&self, parts: &Tensor, n: u32, chunks: u32) -> Tensor {
        let sum = self.alloc(&[n, 4 * self.d4]);
        let n = sum.len() as u32;
        let work = Work::new(4 * u64::from(n) * u64::from(chunks + 1), u64::from(n) * u64::from(chunks));
        self.gpu.run(&SUM_CHUNKS, &[&sum, parts], &Sum { n, chunks }, Grid::items(n), work);
        sum
    }

    fn rows(&self, chunks: u32, extra: bool) -> Rows {
        let Self { n, m, d4, tau, .. } = *self;
        let (extra, inv_tau, scale) = (u32::from(extra), tau.recip(), self.scale());
        Rows { n, m, d4, chunks, extra, inv_tau, scale, plane: self.plane() }
    }

    /// One key index a query.
    pub(super) fn column(&self, column: &Column) -> Tensor {
        match column {
            Column::Each(columns) => columns.stop_gradient(),
            Column::Offset(offset) => self.offset((*offset % self.m as usize) as u32),
        }
    }

    /// For each query an index that no key has.
    pub(super) fn no_column(&self) -> Tensor {
        self.offset(u32::MAX)
    }

    fn offset(&self, offset: u32) -> Tensor {
        let column = Tensor::alloc(&self.gpu, "contrastive", &Shape::new(&[self.n as usize]), DType::U32);
        let uniforms = Columns { n: self.n, m: self.m, offset };
        let work = Work::new(4 * u64::from(self.n), 0_u64);
        self.gpu.run(&COLUMNS, &[&column], &uniforms, Grid::items(self.n), work);
        column
    }

    /// A tensor of f32.
    pub(super) fn alloc(&self, shape: &[u32]) -> Tensor {
        let dims: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
        Tensor::alloc(&self.gpu, "contrastive", &Shape::new(&dims), DType::F32)
    }
}
