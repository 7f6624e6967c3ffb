//! The contrastive loss on matrix units: logits of f16 rows, f32 sums.

use super::call::{Call, Keys, Passes, Saved, Wanted};
use crate::gpu::{Bind, Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::matmul::job::Form;
use crate::ops::matmul::matrix::{Block, pack, parts, tile};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source = source!("contrastive/5_matrix_forward.wgsl");
static FORWARD: Kernel = FORWARD_SOURCE.kernel("contrastive_forward");
static WEIGHTS_SOURCE: Source = source!("contrastive/5_matrix_weights.wgsl");
static WEIGHTS: [Kernel; 2] = [
    WEIGHTS_SOURCE.kernel("contrastive_weights"),
    WEIGHTS_SOURCE.kernel("contrastive_weights").with(&[("BOTH", 1.0)]),
];
static SUM_SOURCE: Source = source!("contrastive/5_matrix_sum.wgsl");
static SUM: Kernel = SUM_SOURCE.kernel("contrastive_sum_weighted");

uniforms! {
    struct Forward { n: u32, m: u32, d: u32, chunk: u32, chunks: u32, begin: u32, end: u32, inv_tau: f32 }
}
uniforms! {
    struct Weights { first: u32, last: u32, start: u32, m: u32, d: u32, inv_tau: f32, plane4: u32 }
}
uniforms! {
    struct Sum { n: u32, splits: u32, scale: f32 }
}

/// Bytes of weights in a slab of queries, where it has more rows than [`SLAB_ROWS`]. Twice as many as at N = 4,096 a slab of all rows
/// takes: the products of a smaller slab have fewer blocks, and so more splits, which are written and read too.
const SLAB_BYTES: u64 = 64 << 20;
/// Rows of a slab are a multiple of this: of a block, and so many that what lies after them in W starts a multiple of 256 bytes.
const SLAB_ROWS: u32 = 128;
/// The factor on weights in the kernel, which keeps small ones in the range of f16.
const WEIGHT_SCALE: f32 = 16_384.0;

/// The rung `5_matrix`.
pub(super) struct Matrix;

impl Passes for Matrix {
    fn states(&self, call: &Call, keys: &Keys<'_>) -> (Tensor, u32) {
        let Call { ref gpu, n, m, d4, tau, dispatch_flops, .. } = *call;
        let tile = tile(gpu);
        let ((q, d), (k, _)) = (pack("contrastive", keys.q), pack("contrastive", keys.k));
        let side = 8 * tile;
        let (blocks, tiles) = (n.div_ceil(side), m.div_ceil(side));
        let wanted = gpu.facts().parts(u64::from(blocks), Block::TwoByTwo.invocations(gpu), u64::MAX) as u32;
        let chunk = tiles.div_ceil(wanted.min(tiles)) * side;
        let chunks = m.div_ceil(chunk);
        // Of every chunk, a dispatch takes as much as its bounds allow.
        let a_block = 8 * u64::from(d4) * u64::from(n) * u64::from(chunks) * u64::from(side);
        let by_loops = gpu.info().loop_iterations / (400 + 5 * d);
        let most = (dispatch_flops / a_block).clamp(1, u64::from(chunk / side)) as u32;
        let part = most.min(by_loops).max(1) * side;

        let kept = Block::TwoByTwo.invocations(gpu) / (2 * tile);
        let shape = [1 + 2 * chunks * kept, n].map(|length| length as usize);
        let state = Tensor::alloc(gpu, "contrastive", &Shape::new(&shape), DType::F32);
        for begin in (0..chunk).step_by(part as usize) {
            let end = (begin + part).min(chunk);
            let p = Forward { n, m, d, chunk, chunks, begin, end, inv_tau: tau.recip() };
            let streamed = u64::from(chunks * (end - begin)).min(u64::from(m));
            let bytes = (q.bytes() + state.bytes()) as u64 + 2 * u64::from(d) * streamed;
            let work = Work::new(bytes, 2 * u64::from(d) * u64::from(n) * streamed);
            let grid = Grid::groups(u64::from(blocks) * u64::from(chunks));
            gpu.run(&FORWARD, &[&state, &q, &k, keys.excluded, keys.positive], &p, grid, work);
        }
        (state, chunks * kept)
    }

    fn gradients(&self, call: &Call, wanted: Wanted, saved: &Saved<'_>) -> [Option<Tensor>; 2] {
        let Call { ref gpu, n, m, d4, tau, .. } = *call;
        let d = 4 * d4;
        let (q, k) = (saved.q, saved.k);
        let (needs, both) = match wanted {
            Wanted::Each(needs) => (needs, false),
            Wanted::Both => ([true, false], true),
        };
        let gradient = |of: &Tensor, needed: bool| {
            needed.then(|| Tensor::filled(gpu, "contrastive", of.shape(), DType::F32, 0.0))
        };
        let dq = gradient(q, needs[0]);
        let dk = if both { dq.clone() } else { gradient(k, needs[1]) };
        let tile = tile(gpu);
        let ((q, padded), (k, _)) = (pack("contrastive", q), pack("contrastive", k));
        let side = u64::from(8 * tile);
        let mut first = 0;
        while first < n {
            // Rows against themselves: what lies before the slab's first row has been in an earlier slab's columns.
            let start = if both { first } else { 0 };
            let width = m - start;
            let columns = width.next_multiple_of(8);
            let by_memory = SLAB_BYTES / (2 * u64::from(columns));
            let by_work = call.dispatch_flops / (2 * u64::from(d) * u64::from(width));
            let most = by_memory.min(by_work).min(u64::from(n - first)) as u32;
            let rows = (most / SLAB_ROWS).max(1) * SLAB_ROWS;
            let last = if n - first <= most { n } else { (first + rows).min(n) };
            let slab = last - first;

            let shape = Shape::new(&[slab as usize, columns as usize]);
            let w = Tensor::alloc(gpu, "contrastive", &shape, DType::F16);
            let rows_of = |x: &Tensor, width: u32, first: u32, last: u32| {
                Tensor::view(x, (first * width) as usize, [(last - first) as usize, width as usize])
            };
            let (q_slab, k_part) = (rows_of(&q, padded, first, last), rows_of(&k, padded, start, m));
            let flops = 2 * u64::from(d) * u64::from(slab) * u64::from(width);
            let work = Work::new((q_slab.bytes() + k_part.bytes() + w.bytes()) as u64, flops);
            let p =
                Weights { first, last, start, m, d: padded, inv_tau: tau.recip(), plane4: call.plane() / 4 };
            let grid = Grid::groups(u64::from(slab).div_ceil(side) * u64::from(width).div_ceil(side));
            let bindings: [&dyn Bind; 6] = [&w, &q, &k, saved.excluded, saved.positive, saved.softmax];
            gpu.run(&WEIGHTS[usize::from(both)], &bindings, &p, grid, work);

            let add = |y: &Tensor, (part, splits): (Tensor, u32)| {
                let n = y.len() as u32;
                let p = Sum { n, splits, scale: call.scale() / WEIGHT_SCALE };
                let work = Work::new((part.bytes() + 2 * y.bytes()) as u64, part.len() as u64);
                gpu.run(&SUM, &[y, &part, saved.dloss], &p, Grid::items(n), work);
            };
            if let Some(dq) = &dq {
                let sizes = [slab, d, width];
                add(
                    &rows_of(dq, d, first, last),
                    parts("contrastive", Form::Nn, sizes, [columns, padded], &w, &k_part),
                );
            }
            // The slab's own square has both roles already.
            let below = if both { last } else { 0 };
            if let Some(dk) = dk.as_ref().filter(|_| below < m) {
                let at = (below - start) as usize;
                let w = Tensor::view(&w, at, [w.len() - at]);
                let sizes = [m - below, d, slab];
                add(
                    &rows_of(dk, d, below, m),
                    parts("contrastive", Form::Tn, sizes, [columns, padded], &w, &q_slab),
                );
            }
            first = last;
        }
        [dq, if both { None } else { dk }]
    }
}
