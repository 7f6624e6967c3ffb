//! A contrastive loss to compute, and the two passes of a rung that computes it.

use crate::gpu::{Gpu, Work};
use crate::tensor::Tensor;

/// A column for each row.
#[derive(Debug, Clone)]
pub(super) enum Column {
    /// `(row + offset) mod columns`.
    Offset(usize),
    /// One `u32` a row.
    Each(Tensor),
}

/// Which gradients are wanted.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Wanted {
    /// Of queries and keys, each if true.
    Each([bool; 2]),
    /// Of rows that are queries and keys, which is returned as that of the queries.
    Both,
}

/// Tensors for the backward pass: queries and keys, a value a query, each `[N]`, and the loss's gradient.
pub(in crate::ops) struct Saved<'a> {
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) positive: &'a Tensor,
    pub(super) excluded: &'a Tensor,
    pub(super) lse: &'a Tensor,
    pub(super) dloss: &'a Tensor,
}

/// Sizes of a call: `n` queries and `m` keys of `d4` vec4s.
#[derive(Clone)]
pub(in crate::ops) struct Call {
    pub(super) gpu: Gpu,
    pub(super) n: u32,
    pub(super) m: u32,
    pub(super) d4: u32,
    pub(super) tau: f32,
    pub(super) dispatch_flops: u64,
}

impl Call {
    /// The factor from the loss's gradient to that of `q . k`.
    pub(super) fn scale(&self) -> f32 {
        (self.tau * self.n as f32).recip()
    }

    /// The least work of `products` matrix products of `n` rows with `columns` streamed ones.
    pub(super) fn work(&self, n: u32, columns: u64, products: u64) -> Work {
        let rows = u64::from(n) * products + columns;
        Work::new(16 * u64::from(self.d4) * rows, u64::from(n) * columns * self.flops(products))
    }

    /// Operations for one pair of rows in `products` matrix products.
    pub(super) fn flops(&self, products: u64) -> u64 {
        8 * u64::from(self.d4) * products
    }
}

/// The two passes of a rung.
pub(in crate::ops) trait Passes: Send + Sync {
    /// For each query the pairs (max, sum of exp(s - max)) of its keys: `[pairs, N, 2]`, and the number of pairs.
    fn states(&self, call: &Call, q: &Tensor, k: &Tensor, excluded: &Tensor) -> (Tensor, u32);

    /// Gradients of queries and keys, as far as they are wanted.
    fn gradients(&self, call: &Call, wanted: Wanted, saved: &Saved<'_>) -> [Option<Tensor>; 2];
}
