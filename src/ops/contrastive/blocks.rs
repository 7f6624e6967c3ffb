//! The contrastive loss by blocks of logits, which are plain matrix products: for adapters whose products stay in registers.
//!
//! A tiled kernel of `2_register_backward.wgsl`'s kind computes the logits twice, once for the queries' gradient and once for the
//! keys'. Here a block of products stays in a cache: forward a pass over it updates the rows' sums; backward a
//! pass turns it into weights `w = dloss/ds` for the two products `dq += w k` and `dk += wᵀ q`. That is four
//! products in all instead of five, each as fast as the matmul ladder makes it. Scratch is one block, whatever N and M.

use super::call::{Call, Keys, Passes, Saved, Wanted};
use crate::gpu::{Bind, Grid, Kernel, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("contrastive/4_blocks.wgsl");
static STATES: Kernel = SOURCE.kernel("contrastive_states");
static WEIGHTS: [Kernel; 2] =
    [SOURCE.kernel("contrastive_weights"), SOURCE.kernel("contrastive_weights").with(&[("BOTH", 1.0)])];

uniforms! {
    struct Uniforms {
        n: u32, m4: u32, row: u32, column4: u32, queries: u32, keys: u32, inv_tau: f32, scale: f32, plane4: u32,
    }
}

/// Columns of a block at most, and rows of one that has as many: 1 MiB.
const BLOCK: usize = 512;
/// Columns of a row that an invocation takes.
const STRIP: usize = 64;

/// The rung `4_blocks`.
pub(super) struct Blocks;

impl Passes for Blocks {
    fn states(&self, call: &Call, keys: &Keys<'_>) -> (Tensor, u32) {
        let (q, k) = (keys.q, whole_vectors(keys.k));
        let strips = k.shape()[0].min(BLOCK).div_ceil(STRIP);
        let state =
            Tensor::alloc(q.gpu(), "contrastive", &[1 + 2 * strips, call.n as usize].into(), DType::F32);
        for (i, q_block) in blocks(q, rows(&k)) {
            for (j, k_block) in blocks(&k, BLOCK) {
                let products = q_block.matmul_nt(&k_block);
                run(call, &STATES, [i, j], &products, &[&state, &products, keys.excluded, keys.positive]);
            }
        }
        (state, strips as u32)
    }

    fn gradients(&self, call: &Call, wanted: Wanted, saved: &Saved<'_>) -> [Option<Tensor>; 2] {
        let (q, k) = (saved.q, saved.k);
        let (want_q, want_k, both) = match wanted {
            Wanted::Each([q, k]) => (q, k, false),
            Wanted::Both => (true, false, true),
        };
        let (m, k) = (k.shape()[0], whole_vectors(k));
        let mut dq = vec![];
        let mut dk: Vec<Option<Tensor>> = vec![None; k.shape()[0].div_ceil(BLOCK)];
        for (i, q_block) in blocks(q, rows(&k)) {
            let mut sum: Option<Tensor> = None;
            for ((j, k_block), dk) in blocks(&k, BLOCK).zip(&mut dk) {
                let w = q_block.matmul_nt(&k_block);
                let bindings: [&dyn Bind; 5] =
                    [&w, saved.excluded, saved.positive, saved.softmax, saved.dloss];
                run(call, &WEIGHTS[usize::from(both)], [i, j], &w, &bindings);
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
        let dk = join(&dk).map(|dk| if dk.shape()[0] == m { dk } else { dk.slice_rows(0, m) });
        [join(&dq), dk]
    }
}

/// A pass over the block of `products` whose first row and column are `at`.
fn run(call: &Call, kernel: &Kernel, at: [usize; 2], products: &Tensor, bindings: &[&dyn Bind]) {
    let (n, m) = (products.shape()[0], products.shape()[1]);
    let uniforms = Uniforms {
        n: n as u32,
        m4: m as u32 / 4,
        row: at[0] as u32,
        column4: at[1] as u32 / 4,
        queries: call.n,
        keys: call.m,
        inv_tau: call.tau.recip(),
        scale: call.scale(),
        plane4: call.plane() / 4,
    };
    let work = Work::new(8 * products.len() as u64, 4 * products.len() as u64);
    products.gpu().run(kernel, bindings, &uniforms, Grid::items(n * m.div_ceil(STRIP)), work);
}

/// Rows of a block against these keys, so that it has [`BLOCK`] squared logits.
fn rows(k: &Tensor) -> usize {
    BLOCK * BLOCK / k.shape()[0].min(BLOCK)
}

/// Blocks of `size` rows, each with the index of its first.
fn blocks(x: &Tensor, size: usize) -> impl Iterator<Item = (usize, Tensor)> {
    let (rows, d) = (x.shape()[0], x.shape()[1]);
    (0..rows).step_by(size).map(move |at| (at, Tensor::view(x, at * d, [size.min(rows - at), d])))
}

fn add(sum: Option<Tensor>, term: Tensor) -> Tensor {
    match sum {
        Some(sum) => sum.add(&term),
        None => term,
    }
}

/// The keys, filled up with rows of zeros to a multiple of four: whole vec4s of logits a row.
fn whole_vectors(k: &Tensor) -> Tensor {
    let (m, d) = (k.shape()[0], k.shape()[1]);
    if m.is_multiple_of(4) {
        return k.clone();
    }
    let zeros = Tensor::alloc(k.gpu(), "contrastive", &[m.next_multiple_of(4) - m, d].into(), DType::F32);
    Tensor::concat_rows(&[k, &zeros.full_like(0.0)])
}
