//! The launches of the contrastive loss: how rows and columns are cut into invocations and dispatches.

use super::{Column, blocks, matrix};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Work, params};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static NAIVE_SOURCE: Source =
    Source::new("contrastive/1_naive.wgsl", include_str!("../../../shaders/contrastive/1_naive.wgsl"));
static REGISTER_FORWARD_SOURCE: Source = Source::new(
    "contrastive/2_register_forward.wgsl",
    include_str!("../../../shaders/contrastive/2_register_forward.wgsl"),
);
static REGISTER_BACKWARD_SOURCE: Source = Source::new(
    "contrastive/2_register_backward.wgsl",
    include_str!("../../../shaders/contrastive/2_register_backward.wgsl"),
);
static WORKGROUP_FORWARD_SOURCE: Source = Source::new(
    "contrastive/3_workgroup_forward.wgsl",
    include_str!("../../../shaders/contrastive/3_workgroup_forward.wgsl"),
);
static WORKGROUP_BACKWARD_SOURCE: Source = Source::new(
    "contrastive/3_workgroup_backward.wgsl",
    include_str!("../../../shaders/contrastive/3_workgroup_backward.wgsl"),
);
static ROWS_SOURCE: Source =
    Source::new("contrastive/rows.wgsl", include_str!("../../../shaders/contrastive/rows.wgsl"));

/// A kernel that works by tiles.
struct Tiles {
    kernel: Kernel,
    /// Rows that a workgroup owns, and that it streams at a time.
    owned: u32,
    streamed: u32,
    /// Invocations for every 8 owned rows.
    invocations: u32,
    /// Lanes of a row that keep a state of their own from one part of a chunk to the next, in a tensor beside the states.
    lanes: u32,
}

impl Tiles {
    const fn new(kernel: Kernel, owned: u32, streamed: u32) -> Self {
        Self { kernel, owned, streamed, invocations: 1, lanes: 0 }
    }

    const fn invocations(mut self, invocations: u32) -> Self {
        self.invocations = invocations;
        self
    }

    const fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = lanes;
        self
    }

    /// One workgroup a chunk and so many owned rows.
    fn grid(&self, rows: u32, cut: &Cut) -> Grid {
        Grid::groups(u64::from(rows.div_ceil(self.owned)) * u64::from(cut.chunks))
    }
}

// One row an invocation, one logit at a time: forward and backward.
static NAIVE: [Tiles; 2] = [
    Tiles::new(NAIVE_SOURCE.kernel("contrastive_forward"), 64, 1).invocations(8),
    Tiles::new(NAIVE_SOURCE.kernel("contrastive_backward"), 64, 1).invocations(8),
];
// `shaders/lib/logit_tile.wgsl`: 8 owned rows an invocation against 16.
static REGISTER: [Tiles; 2] = [
    Tiles::new(REGISTER_FORWARD_SOURCE.kernel("contrastive_forward"), 64, 16),
    Tiles::new(REGISTER_BACKWARD_SOURCE.kernel("contrastive_backward"), 64, 16),
];
// `shaders/lib/logit_block.wgsl`.
static WORKGROUP: [Tiles; 2] = [
    Tiles::new(WORKGROUP_FORWARD_SOURCE.kernel("contrastive_forward"), 64, 128).invocations(16).lanes(16),
    Tiles::new(WORKGROUP_BACKWARD_SOURCE.kernel("contrastive_backward"), 64, 64).invocations(16),
];

/// The rungs of `shaders/contrastive/`, each of which runs on every adapter.
pub(in crate::ops) const RUNGS: [&str; 4] = ["1_naive", "2_register", "3_workgroup", "4_blocks"];

/// Forward and backward kernels of a rung that works by tiles.
fn tiles(file: &str) -> &'static [Tiles; 2] {
    match file {
        "1_naive" => &NAIVE,
        "2_register" => &REGISTER,
        _ => &WORKGROUP,
    }
}

static COLUMNS: Kernel = ROWS_SOURCE.kernel("contrastive_columns");
static FINISH: Kernel = ROWS_SOURCE.kernel("contrastive_finish");
static EXTRA_BACKWARD: Kernel = ROWS_SOURCE.kernel("contrastive_extra_backward");
static SUM_CHUNKS: Kernel = ROWS_SOURCE.kernel("contrastive_sum_chunks");

params! {
    struct Forward { n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32 }
}
params! {
    struct Backward {
        n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32, scale: f32, queries: u32,
    }
}
params! {
    struct Columns { n: u32, m: u32, offset: u32 }
}
params! {
    struct Rows { n: u32, m: u32, d4: u32, chunks: u32, extra: u32, inv_tau: f32, scale: f32 }
}
params! {
    struct Sum { n: u32, chunks: u32 }
}

/// What a dispatch may do: a quarter of a second at 140 GFLOP/s.
pub(super) const DISPATCH_FLOPS: u64 = 1 << 35;
/// What partial results of chunks may take at most, and how many partial gradients there are beside one another: scratch is
/// linear in the rows, and bounded.
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

/// What backward needs to know of the queries, each `[N]`, and the loss's gradient.
pub(super) struct OfQueries<'a> {
    pub(super) positive: &'a Tensor,
    pub(super) excluded: &'a Tensor,
    pub(super) lse: &'a Tensor,
    pub(super) dloss: &'a Tensor,
}

/// Whose gradient the tiles give.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Queries = 1,
    Keys = 2,
    /// Rows that are queries and keys.
    Both = 3,
}

/// Sizes of a call: `n` queries and `m` keys of `d4` vec4s.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) n: u32,
    pub(super) m: u32,
    pub(super) d4: u32,
    pub(super) tau: f32,
    pub(super) dispatch_flops: u64,
}

impl Call {
    /// Loss and log-sum-exp of each row.
    pub(super) fn forward(
        &self,
        q: &Tensor,
        k: &Tensor,
        extra: Option<&Tensor>,
        positive: &Tensor,
        excluded: &Tensor,
    ) -> (Tensor, Tensor) {
        let gpu = q.gpu();
        let Self { n, m, d4, tau, .. } = *self;
        if matrix::chosen(gpu) {
            let (state, states) = matrix::states(self, q, k, excluded);
            return self.finish((&state, states), q, k, extra, positive);
        }
        if super::rung(gpu) == "4_blocks" {
            let (state, states) = blocks::states(self, q, k, excluded);
            return self.finish((&state, states), q, k, extra, positive);
        }
        let tiles = &tiles(super::rung(gpu))[0];
        let pairs = self.dispatch_flops / self.flops(1);
        let cut = Cut::of(gpu, [tiles.streamed, tiles.invocations], [n, m, d4], STATE_CHUNKS, 8, pairs);
        let state = alloc(gpu, &[cut.chunks, n, 2]);
        // Not touched where a chunk is one part.
        let lane_rows = if cut.part < cut.chunk { cut.chunks * n } else { 1 };
        let lanes = (tiles.lanes > 0).then(|| alloc(gpu, &[tiles.lanes, lane_rows, 2]));
        for (begin, end) in cut.parts() {
            let params = Forward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau: tau.recip() };
            let work = self.work(n, cut.columns(begin, end, m), 1);
            let grid = tiles.grid(n, &cut);
            match &lanes {
                Some(lanes) => gpu.run(&tiles.kernel, &[&state, lanes, q, k, excluded], &params, grid, work),
                None => gpu.run(&tiles.kernel, &[&state, q, k, excluded], &params, grid, work),
            }
        }
        self.finish((&state, cut.chunks), q, k, extra, positive)
    }

    /// Loss and log-sum-exp of each row from the pairs of its chunks.
    fn finish(
        &self,
        (state, states): (&Tensor, u32),
        q: &Tensor,
        k: &Tensor,
        extra: Option<&Tensor>,
        positive: &Tensor,
    ) -> (Tensor, Tensor) {
        let (gpu, &Self { n, d4, .. }) = (q.gpu(), self);
        let (row_losses, lse) = (alloc(gpu, &[n]), alloc(gpu, &[n]));
        let bindings: [&dyn Bind; 6] = [&row_losses, &lse, state, q, extra.unwrap_or(k), positive];
        let params = self.rows(states, extra.is_some());
        let bytes = u64::from(n) * (32 * u64::from(d4) + 8 * u64::from(states) + 12);
        gpu.run(&FINISH, &bindings, &params, Grid::items(n), Work::new(bytes, u64::from(n) * self.flops(1)));
        (row_losses, lse)
    }

    /// Gradient of the queries, of the keys, or of rows that are both.
    pub(super) fn backward(&self, role: Role, q: &Tensor, k: &Tensor, of: &OfQueries<'_>) -> Tensor {
        let gpu = q.gpu();
        let (a, b, n, m) = match role {
            Role::Queries | Role::Both => (q, k, self.n, self.m),
            Role::Keys => (k, q, self.m, self.n),
        };
        let Self { d4, tau, .. } = *self;
        let pairs = self.dispatch_flops / self.flops(2);
        let tiles = &tiles(super::rung(gpu))[1];
        let tile = [tiles.streamed, tiles.invocations];
        let cut = Cut::of(gpu, tile, [n, m, d4], GRADIENT_CHUNKS, 16 * u64::from(d4), pairs);
        let parts = alloc(gpu, &[cut.chunks, n, 4 * d4]);
        for (begin, end) in cut.parts() {
            let (inv_tau, scale) = (tau.recip(), self.scale());
            let queries = role as u32;
            let params = Backward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau, scale, queries };
            let bindings: [&dyn Bind; 7] = [&parts, a, b, of.excluded, of.positive, of.lse, of.dloss];
            let work = self.work(n, cut.columns(begin, end, m), 2);
            gpu.run(&tiles.kernel, &bindings, &params, tiles.grid(n, &cut), work);
        }
        if cut.chunks == 1 {
            return parts.reshape(*a.shape());
        }
        let sum = alloc(gpu, &[n, 4 * d4]);
        let (n, chunks) = (sum.len() as u32, cut.chunks);
        let work = Work::new(4 * u64::from(n) * u64::from(chunks + 1), u64::from(n) * u64::from(chunks));
        gpu.run(&SUM_CHUNKS, &[&sum, &parts], &Sum { n, chunks }, Grid::items(n), work);
        sum
    }

    /// What the extra candidates add to the queries' gradient, and their own gradient.
    pub(super) fn extra_backward(&self, q: &Tensor, extra: &Tensor, of: &OfQueries<'_>) -> (Tensor, Tensor) {
        let gpu = q.gpu();
        let (dq, dextra) = (alloc(gpu, &[self.n, 4 * self.d4]), alloc(gpu, &[self.n, 4 * self.d4]));
        let work = Work::new(16 * q.len() as u64, 4 * q.len() as u64);
        let bindings: [&dyn Bind; 6] = [&dq, &dextra, q, extra, of.lse, of.dloss];
        gpu.run(&EXTRA_BACKWARD, &bindings, &self.rows(1, true), Grid::items(self.n), work);
        (dq, dextra)
    }

    /// For each of `n` rows and `columns` streamed ones so many matrix products.
    fn work(&self, n: u32, columns: u64, products: u64) -> Work {
        let rows = u64::from(n) * products + columns;
        Work::new(16 * u64::from(self.d4) * rows, u64::from(n) * columns * self.flops(products))
    }

    /// Operations for one pair of rows in so many matrix products.
    fn flops(&self, products: u64) -> u64 {
        8 * u64::from(self.d4) * products
    }

    /// What turns the loss's gradient into that of `q . k`.
    pub(super) fn scale(&self) -> f32 {
        (self.tau * self.n as f32).recip()
    }

    fn rows(&self, chunks: u32, extra: bool) -> Rows {
        let Self { n, m, d4, tau, .. } = *self;
        Rows { n, m, d4, chunks, extra: u32::from(extra), inv_tau: tau.recip(), scale: self.scale() }
    }

    /// One key index a query.
    pub(super) fn column(&self, gpu: &Gpu, column: &Column) -> Tensor {
        match column {
            Column::Each(columns) => columns.stop_gradient(),
            Column::Offset(offset) => self.offset(gpu, (*offset % self.m as usize) as u32),
        }
    }

    /// For each query an index that no key has.
    pub(super) fn no_column(&self, gpu: &Gpu) -> Tensor {
        self.offset(gpu, u32::MAX)
    }

    fn offset(&self, gpu: &Gpu, offset: u32) -> Tensor {
        let column = Tensor::alloc(gpu, "contrastive", &Shape::new(&[self.n as usize]), DType::U32);
        let params = Columns { n: self.n, m: self.m, offset };
        gpu.run(&COLUMNS, &[&column], &params, Grid::items(self.n), Work::new(4 * u64::from(self.n), 0_u64));
        column
    }
}

fn alloc(gpu: &Gpu, shape: &[u32]) -> Tensor {
    let dims: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
    Tensor::alloc(gpu, "contrastive", &Shape::new(&dims), DType::F32)
}

#[cfg(test)]
mod tests {
    use super::{Cut, DISPATCH_FLOPS, SCRATCH_BYTES};
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
                    let cut = Cut::of(gpu, tile, [n, m, 32], 8, 512, DISPATCH_FLOPS / 512);
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
                        assert!(flops <= DISPATCH_FLOPS, "{n} {m} {cut:?}");
                    }
                }
            }
        }
    }
}
