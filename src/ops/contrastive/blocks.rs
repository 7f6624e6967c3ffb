//! The contrastive loss on CPU adapters with subgroups of 8: gradients by way of blocks of weights.
//!
//! The register tiles of `2_register_backward.wgsl` compute the logits twice, once for the queries' gradient and once for the keys'.
//! Here a block of `w = dloss/ds` is computed once and stays in a cache for both products, `dq += w k` and
//! `dk += wᵀ q`, which are plain matrix products: four products in all with the forward one instead of five. Scratch is
//! one block, whatever N and M.

use super::launch::{Call, OfQueries};
use crate::gpu::{Bind, Grid, Kernel, Source, Work, params};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = Source::new(
    "contrastive/4_broadcast_weights.wgsl",
    include_str!("../../../shaders/contrastive/4_broadcast_weights.wgsl"),
);
static WEIGHTS: Kernel = SOURCE.kernel("contrastive_weights");

params! {
    struct Params {
        n: u32, m: u32, d4: u32, row: u32, column: u32, keys: u32, inv_tau: f32, scale: f32, both: u32,
    }
}

/// Rows and columns of a block at most: 1 MiB of weights.
const BLOCK: usize = 512;

/// Which gradients are wanted.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// Of queries and keys, as far as each is true.
    Each([bool; 2]),
    /// Of rows that are queries and keys.
    Both,
}

/// Gradients of queries and keys; that of rows that are both is the first.
pub(super) fn backward(
    call: &Call,
    wanted: Wanted,
    q: &Tensor,
    k: &Tensor,
    of: &OfQueries<'_>,
) -> [Option<Tensor>; 2] {
    let (d, [n, m]) = (q.shape()[1], [q, k].map(|t| t.shape()[0]));
    let (want_q, want_k) = match wanted {
        Wanted::Each([q, k]) => (q, k),
        Wanted::Both => (true, false),
    };
    // Whole vec4s of weights a row; a block's own rows and columns start at multiples of BLOCK.
    let padded = m.next_multiple_of(4);
    let k = if padded == m { k.clone() } else { pad_rows(k, padded) };
    let rows = |t: &Tensor, at: usize, count: usize| Tensor::view(t, at * d, [count, d]);
    let mut dq = vec![];
    let mut dk: Vec<Option<Tensor>> = vec![None; padded.div_ceil(BLOCK)];
    for i in (0..n).step_by(BLOCK) {
        let q_block = rows(q, i, BLOCK.min(n - i));
        let mut sum: Option<Tensor> = None;
        for (j, dk) in (0..padded).step_by(BLOCK).zip(&mut dk) {
            let k_block = rows(&k, j, BLOCK.min(padded - j));
            let w = weights(call, matches!(wanted, Wanted::Both), [i, j], &q_block, &k_block, of);
            if want_q {
                sum = Some(add(sum, w.matmul(&k_block)));
            }
            if want_k {
                *dk = Some(add(dk.take(), w.matmul_tn(&q_block)));
            }
        }
        dq.extend(sum);
    }
    let join = |blocks: &[Tensor]| -> Option<Tensor> {
        match blocks {
            [] => None,
            [one] => Some(one.clone()),
            many => Some(Tensor::concat_rows(&many.iter().collect::<Vec<_>>())),
        }
    };
    let dk: Vec<Tensor> = dk.into_iter().flatten().collect();
    let dk = join(&dk).map(|dk| if padded == m { dk } else { dk.slice_rows(0, m) });
    [join(&dq), dk]
}

fn add(sum: Option<Tensor>, term: Tensor) -> Tensor {
    match sum {
        Some(sum) => sum.add(&term),
        None => term,
    }
}

fn weights(
    call: &Call,
    both: bool,
    [row, column]: [usize; 2],
    q: &Tensor,
    k: &Tensor,
    of: &OfQueries<'_>,
) -> Tensor {
    let (gpu, [n, m]) = (q.gpu(), [q, k].map(|t| t.shape()[0]));
    let w = Tensor::alloc(gpu, "contrastive", &[n, m].into(), DType::F32);
    let params = Params {
        n: n as u32,
        m: m as u32,
        d4: call.d4,
        row: row as u32,
        column: column as u32,
        keys: call.m,
        inv_tau: call.tau.recip(),
        scale: call.scale(),
        both: u32::from(both),
    };
    let groups = n.div_ceil(16) * m.div_ceil(64);
    let work = Work::new(4 * (q.len() + k.len() + w.len()) as u64, 2 * (n * k.len()) as u64);
    let bindings: [&dyn Bind; 7] = [&w, q, k, of.excluded, of.positive, of.lse, of.dloss];
    gpu.run(&WEIGHTS, &bindings, &params, Grid::groups(groups), work);
    w
}

/// The rows of `k` and then zeros up to `rows`.
fn pad_rows(k: &Tensor, rows: usize) -> Tensor {
    let zeros =
        Tensor::alloc(k.gpu(), "contrastive", &[rows - k.shape()[0], k.shape()[1]].into(), DType::F32);
    Tensor::concat_rows(&[k, &zeros.full_like(0.0)])
}
