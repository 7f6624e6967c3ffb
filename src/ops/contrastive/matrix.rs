//! The contrastive loss on matrix units: logits of f16 rows, f32 sums.

use super::call::{Call, Keys, Passes, Saved, Wanted};
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::ops::matmul::job::Form;
use crate::ops::matmul::matrix::{pack, parts, tile, workgroup};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source = source!("contrastive/5_matrix_forward.wgsl");
static FORWARD: Kernel = FORWARD_SOURCE.kernel("contrastive_forward");
static WEIGHTS_SOURCE: Source = source!("contrastive/5_matrix_weights.wgsl");
static WEIGHTS: Kernel = WEIGHTS_SOURCE.kernel("contrastive_weights");
static SUM_SOURCE: Source = source!("contrastive/5_matrix_sum.wgsl");
static SUM: Kernel = SUM_SOURCE.kernel("contrastive_sum_weighted");

uniforms! {
    struct Forward { n: u32, m: u32, d: u32, chunk: u32, chunks: u32, begin: u32, end: u32, inv_tau: f32 }
}
uniforms! {
    struct Weights { first: u32, last: u32, m: u32, d: u32, inv_tau: f32, plane: u32 }
}
uniforms! {
    struct Sum { n: u32, splits: u32, scale: f32 }
}

/// Bytes of weights in a slab of queries, where it has more rows than a workgroup's block.
const SLAB_BYTES: u64 = 32 << 20;
/// The factor on weights in the kernel, which keeps small ones in the range of f16.
const WEIGHT_SCALE: f32 = 16_384.0;

/// The rung `5_matrix`.
pub(super) struct Matrix;

impl Passes for Matrix {
    fn states(&self, call: &Call, keys: &Keys<'_>) -> (Tensor, u32) {
        let Call { ref gpu, n, m, d4, tau, dispatch_flops } = *call;
        let tile = tile(gpu);
        let ((q, d), (k, _)) = (pack("contrastive", keys.q), pack("contrastive", keys.k));
        let side = 8 * tile;
        let (blocks, tiles) = (n.div_ceil(side), m.div_ceil(side));
        let wanted = gpu.facts().parts(u64::from(blocks), workgroup(gpu), u64::MAX) as u32;
        let chunk = tiles.div_ceil(wanted.min(tiles)) * side;
        let chunks = m.div_ceil(chunk);
        // Of every chunk, a dispatch takes as much as its bounds allow.
        let a_block = 8 * u64::from(d4) * u64::from(n) * u64::from(chunks) * u64::from(side);
        let by_loops = gpu.info().loop_iterations / (400 + 5 * d);
        let most = (dispatch_flops / a_block).clamp(1, u64::from(chunk / side)) as u32;
        let part = most.min(by_loops).max(1) * side;

        let kept = workgroup(gpu) / (2 * tile);
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
        let Call { ref gpu, n, m, tau, .. } = *call;
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
        let ((q, d), (k, _)) = (pack("contrastive", q), pack("contrastive", k));
        let columns = m.next_multiple_of(4);
        let side = 8 * tile;
        let by_memory = SLAB_BYTES / (2 * u64::from(columns));
        let by_work = call.dispatch_flops / (2 * u64::from(d) * u64::from(m));
        let blocks = (by_memory.min(by_work) / u64::from(side)).clamp(1, u64::from(n.div_ceil(side)));
        let rows = blocks as u32 * side;
        for first in (0..n).step_by(rows as usize) {
            let last = (first + rows).min(n);
            let slab = last - first;
            let shape = Shape::new(&[slab as usize, columns as usize]);
            let w = Tensor::alloc(gpu, "contrastive", &shape, DType::F16);
            let q_slab = Tensor::view(&q, (first * d) as usize, [slab as usize, d as usize]);
            let flops = 2 * u64::from(d) * u64::from(slab) * u64::from(m);
            let work = Work::new((q_slab.bytes() + k.bytes() + w.bytes()) as u64, flops);
            let p = Weights { first, last, m, d, inv_tau: tau.recip(), plane: call.plane() };
            let grid = Grid::groups(u64::from(slab.div_ceil(side)) * u64::from(m.div_ceil(side)));
            gpu.run(&WEIGHTS, &[&w, &q, &k, saved.excluded, saved.positive, saved.softmax], &p, grid, work);

            let add = |y: &Tensor, (part, splits): (Tensor, u32)| {
                let n = y.len() as u32;
                let p = Sum { n, splits, scale: call.scale() / WEIGHT_SCALE };
                let work = Work::new((part.bytes() + 2 * y.bytes()) as u64, part.len() as u64);
                gpu.run(&SUM, &[y, &part, saved.dloss], &p, Grid::items(n), work);
            };
            if let Some(dq) = &dq {
                let dq_slab = Tensor::view(dq, (first * d) as usize, [slab as usize, d as usize]);
                add(&dq_slab, parts("contrastive", Form::Nn, tile, [slab, d, m], [columns, d], &w, &k));
            }
            if let Some(dk) = &dk {
                add(dk, parts("contrastive", Form::Tn, tile, [m, d, slab], [columns, d], &w, &q_slab));
            }
        }
        [dq, if both { None } else { dk }]
    }
}
