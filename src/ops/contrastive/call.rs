//! A contrastive loss to compute, and the two passes of a rung that computes it.

use crate::gpu::{Gpu, Work};
use crate::tensor::{DType, Tensor};

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

/// Tensors for the backward pass: queries and keys, values of the queries, and the loss's gradient.
pub(in crate::ops) struct Saved<'a> {
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) positive: &'a Tensor,
    pub(super) excluded: &'a Tensor,
    /// `[3, plane]`: of each query the maximum of its logits, 1 / sum of exp(s - max), and the share of the keys but the positive.
    pub(super) softmax: &'a Tensor,
    pub(super) dloss: &'a Tensor,
}

/// Tensors for the forward pass: queries and keys, and of each query `[N]` the key it leaves out and the one it aims at.
pub(in crate::ops) struct Keys<'a> {
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    pub(super) excluded: &'a Tensor,
    pub(super) positive: &'a Tensor,
}

/// Sizes of a call: `n` queries and `m` keys of `d4` vec4s.
#[derive(Clone)]
pub(in crate::ops) struct Call {
    pub(super) gpu: Gpu,
    pub(super) n: u32,
    pub(super) m: u32,
    pub(super) d4: u32,
    pub(super) tau: f32,
    /// `F16` if the rows of queries and keys are; they come widened all the same.
    pub(super) operands: DType,
    pub(super) dispatch_flops: u64,
}

impl Call {
    /// The factor from the loss's gradient to that of `q . k`.
    pub(super) fn scale(&self) -> f32 {
        (self.tau * self.n as f32).recip()
    }

    /// Numbers of a kind in [`Saved::softmax`]: one a query, up to whole vec4s.
    pub(super) fn plane(&self) -> u32 {
        self.n.next_multiple_of(4)
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
    /// `[1 + 2 pairs, N]` and the number of pairs: of each query its positive's logit, if that is a key, and the pairs (max, sum
    /// of exp(s - max)) of the other keys that it does not leave out. Both are of the same products.
    fn states(&self, call: &Call, keys: &Keys<'_>) -> (Tensor, u32);

    /// Gradients of queries and keys, as far as they are wanted.
    fn gradients(&self, call: &Call, wanted: Wanted, saved: &Saved<'_>) -> [Option<Tensor>; 2];
}
