//! The contrastive loss by tiles of logits that are never stored: how rows and columns are cut into invocations and dispatches.

use super::call::{Call, Keys, Passes, Saved, Wanted};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, source, uniforms};
use crate::tensor::Tensor;

static NAIVE_SOURCE: Source = source!("contrastive/1_naive.wgsl");
static REGISTER_FORWARD_SOURCE: Source = source!("contrastive/2_register_forward.wgsl");
static REGISTER_BACKWARD_SOURCE: Source = source!("contrastive/2_register_backward.wgsl");
static WORKGROUP_FORWARD_SOURCE: Source = source!("contrastive/3_workgroup_forward.wgsl");
static WORKGROUP_BACKWARD_SOURCE: Source = source!("contrastive/3_workgroup_backward.wgsl");
/// A kernel that makes tiles of logits.
struct Tiles {
    kernel: Kernel,
    /// Rows that a workgroup owns, and that it streams at a time.
    owned: u32,
    streamed: u32,
    /// Invocations for every 8 owned rows.
    invocations: u32,
    /// Invocations of a row that keep a state each from one part of a chunk to the next, in a tensor beside the states.
    kept: u32,
}

impl Tiles {
    const fn new(kernel: Kernel, owned: u32, streamed: u32) -> Self {
        Self { kernel, owned, streamed, invocations: 1, kept: 0 }
    }

    const fn invocations(mut self, invocations: u32) -> Self {
        self.invocations = invocations;
        self
    }

    const fn kept(mut self, kept: u32) -> Self {
        self.kept = kept;
        self
    }

    /// A workgroup for each chunk and each group of `owned` rows.
    fn grid(&self, rows: u32, cut: &Cut) -> Grid {
        Grid::groups(u64::from(rows.div_ceil(self.owned)) * u64::from(cut.chunks))
    }
}

/// Forward and backward kernels of a rung.
pub(super) struct Tiled([Tiles; 2]);

/// One row an invocation, one logit at a time: forward and backward.
pub(super) static NAIVE: Tiled = Tiled([
    Tiles::new(NAIVE_SOURCE.kernel("contrastive_forward"), 64, 1).invocations(8),
    Tiles::new(NAIVE_SOURCE.kernel("contrastive_backward"), 64, 1).invocations(8),
]);
/// `shaders/lib/logit_tile.wgsl`: 8 owned rows an invocation against 16.
pub(super) static REGISTER: Tiled = Tiled([
    Tiles::new(REGISTER_FORWARD_SOURCE.kernel("contrastive_forward"), 64, 16),
    Tiles::new(REGISTER_BACKWARD_SOURCE.kernel("contrastive_backward"), 64, 16),
]);
/// `shaders/lib/logit_block.wgsl`.
pub(super) static WORKGROUP: Tiled = Tiled([
    Tiles::new(WORKGROUP_FORWARD_SOURCE.kernel("contrastive_forward"), 64, 128).invocations(16).kept(16),
    Tiles::new(WORKGROUP_BACKWARD_SOURCE.kernel("contrastive_backward"), 64, 64).invocations(16),
]);

uniforms! {
    struct Forward { n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32 }
}
uniforms! {
    struct Backward {
        n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32, scale: f32, queries: u32, plane: u32,
    }
}
/// Bytes of the partial results of all chunks at most, and chunks at most for gradients and for states: scratch is linear in the
/// rows, and bounded.
const SCRATCH_BYTES: u64 = 32 << 20;
const GRADIENT_CHUNKS: u32 = 8;
const STATE_CHUNKS: u32 = 64;

/// How the streamed rows are cut: into chunks that run side by side, and each chunk into parts that run one after
/// the other. All are whole tiles.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    chunks: u32,
    chunk: u32,
    part: u32,
}

impl Cut {
    /// Enough chunks to occupy the adapter where the owned rows alone do not, each of four tiles or more, at most `most`
    /// and their partial results (`row_bytes` a row) within [`SCRATCH_BYTES`]; parts of `pairs` pairs of rows, or of one
    /// tile.
    fn of(
        gpu: &Gpu,
        [streamed, invocations]: [u32; 2],
        [n, m, d4]: [u32; 3],
        most: u32,
        row_bytes: u64,
        pairs: u64,
    ) -> Self {
        let invocations = n.div_ceil(8).saturating_mul(invocations);
        let wanted = gpu.facts().stream;
        let tiles = m.div_ceil(streamed);
        let by_memory = SCRATCH_BYTES / (u64::from(n) * row_bytes);
        let most = (tiles / 4).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).clamp(1, most);
        let chunk = tiles.div_ceil((wanted / invocations).clamp(1, most)) * streamed;
        let chunks = m.div_ceil(chunk);
        let a_tile = u64::from(n) * u64::from(chunks) * u64::from(streamed);
        // A tile makes up to `2 d4 + 1` iterations.
        let tiles_by_loops = gpu.info().loop_iterations / (2 * d4 + 2);
        let longest = (chunk / streamed).min(tiles_by_loops).max(1);
        let part = (pairs / a_tile).clamp(1, u64::from(longest)) as u32 * streamed;
        Self { chunks, chunk, part }
    }

    /// How many of `m` rows the dispatch over part `begin..end` streams.
    fn columns(&self, begin: u32, end: u32, m: u32) -> u64 {
        let (whole, last) = (self.chunks - 1, m - (self.chunks - 1) * self.chunk);
        u64::from(whole) * u64::from(end - begin) + u64::from(last.min(end).saturating_sub(begin))
    }

    /// The parts, as ranges within every chunk.
    fn parts(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.chunk).step_by(self.part as usize).map(|begin| (begin, (begin + self.part).min(self.chunk)))
    }
}

/// Whose gradient the tiles give.
#[derive(Clone, Copy)]
enum Role {
    Queries = 1,
    Keys = 2,
    /// Rows that are queries and keys.
    Both = 3,
}

impl Passes for Tiled {
    fn states(&self, call: &Call, keys: &Keys<'_>) -> (Tensor, u32) {
        let (tiles, &Call { n, m, d4, tau, .. }) = (&self.0[0], call);
        let pairs = call.dispatch_flops / call.flops(1);
        let cut = Cut::of(&call.gpu, [tiles.streamed, tiles.invocations], [n, m, d4], STATE_CHUNKS, 8, pairs);
        let state = call.alloc(&[1 + 2 * cut.chunks, n]);
        // Not touched where a chunk is one part.
        let kept_rows = if cut.part < cut.chunk { cut.chunks * n } else { 1 };
        let kept = (tiles.kept > 0).then(|| call.alloc(&[tiles.kept, kept_rows, 2]));
        for (begin, end) in cut.parts() {
            let uniforms = Forward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau: tau.recip() };
            let work = call.work(n, cut.columns(begin, end, m), 1);
            let mut bindings: Vec<&dyn Bind> = vec![&state];
            bindings.extend(kept.iter().map(|kept| kept as &dyn Bind));
            bindings.extend([keys.q, keys.k, keys.excluded, keys.positive].map(|tensor| tensor as &dyn Bind));
            call.gpu.run(&tiles.kernel, &bindings, &uniforms, tiles.grid(n, &cut), work);
        }
        (state, cut.chunks)
    }

    fn gradients(&self, call: &Call, wanted: Wanted, saved: &Saved<'_>) -> [Option<Tensor>; 2] {
        let gradient = |role| self.gradient(call, role, saved);
        match wanted {
            Wanted::Both => [Some(gradient(Role::Both)), None],
            Wanted::Each([queries, keys]) => {
                [queries.then(|| gradient(Role::Queries)), keys.then(|| gradient(Role::Keys))]
            }
        }
    }
}

impl Tiled {
    fn gradient(&self, call: &Call, role: Role, saved: &Saved<'_>) -> Tensor {
        let (a, b, n, m) = match role {
            Role::Queries | Role::Both => (saved.q, saved.k, call.n, call.m),
            Role::Keys => (saved.k, saved.q, call.m, call.n),
        };
        let (tiles, &Call { d4, tau, .. }) = (&self.0[1], call);
        let pairs = call.dispatch_flops / call.flops(2);
        let tile = [tiles.streamed, tiles.invocations];
        let cut = Cut::of(&call.gpu, tile, [n, m, d4], GRADIENT_CHUNKS, 16 * u64::from(d4), pairs);
        let parts = call.alloc(&[cut.chunks, n, 4 * d4]);
        for (begin, end) in cut.parts() {
            let (inv_tau, scale) = (tau.recip(), call.scale());
            let (queries, plane) = (role as u32, call.plane());
            let uniforms =
                Backward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau, scale, queries, plane };
            let bindings: [&dyn Bind; 7] =
                [&parts, a, b, saved.excluded, saved.positive, saved.softmax, saved.dloss];
            let work = call.work(n, cut.columns(begin, end, m), 2);
            call.gpu.run(&tiles.kernel, &bindings, &uniforms, tiles.grid(n, &cut), work);
        }
        if cut.chunks == 1 { parts.reshape(*a.shape()) } else { call.sum_chunks(&parts, n, cut.chunks) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, SCRATCH_BYTES};
    use crate::gpu::{Class, Gpu};

    #[test]
    fn cuts_cover_all_and_keep_their_bounds() {
        let sizes = [1, 15, 16, 17, 127, 128, 129, 1000, 4096, 65_537, 262_144];
        let classes =
            [Class::Cpu, Class::Gpu].map(|class| Gpu::builder().quiet().class(class).build().unwrap());
        for (gpu, tile) in
            classes.iter().flat_map(|gpu| [[1, 8], [16, 1], [64, 16], [128, 16]].map(|tile| (gpu, tile)))
        {
            for n in sizes {
                for m in sizes {
                    let cut = Cut::of(gpu, tile, [n, m, 32], 8, 512, (1 << 35) / 512);
                    assert!(
                        cut.chunks * cut.chunk >= m && (cut.chunks - 1) * cut.chunk < m,
                        "{n} {m} {cut:?}"
                    );
                    let streamed: u64 = cut.parts().map(|(begin, end)| cut.columns(begin, end, m)).sum();
                    assert_eq!(streamed, u64::from(m), "{n} {m} {cut:?}");
                    let scratch = u64::from(n) * 512 * u64::from(cut.chunks);
                    assert!(
                        cut.chunks == 1 || (cut.chunks <= 8 && scratch <= SCRATCH_BYTES),
                        "{n} {m} {cut:?}"
                    );
                    for (begin, end) in cut.parts() {
                        let flops = u64::from(n) * cut.columns(begin, end, m) * 512;
                        assert!(flops <= 1 << 35, "{n} {m} {cut:?}");
                    }
                }
            }
        }
    }
}
