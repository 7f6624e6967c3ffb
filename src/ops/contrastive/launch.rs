//! The launches of the contrastive loss: how rows and columns are cut into invocations and dispatches.

use super::Column;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Source, Work, params};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static FORWARD_SOURCE: Source =
    Source::new("contrastive/forward.wgsl", include_str!("../../../shaders/contrastive/forward.wgsl"));
static BACKWARD_SOURCE: Source =
    Source::new("contrastive/backward.wgsl", include_str!("../../../shaders/contrastive/backward.wgsl"));
static ROWS_SOURCE: Source =
    Source::new("contrastive/rows.wgsl", include_str!("../../../shaders/contrastive/rows.wgsl"));

/// A tile kernel with workgroups for CPU adapters (8 lanes are their vector) and for GPUs.
pub(super) struct ByClass {
    cpu: Kernel,
    gpu: Kernel,
}

impl ByClass {
    const fn of(cpu: Kernel, gpu: Kernel) -> Self {
        Self { cpu, gpu }
    }

    fn on(&self, gpu: &Gpu) -> (&Kernel, u32) {
        if gpu.is_cpu() { (&self.cpu, 8) } else { (&self.gpu, 32) }
    }
}

const fn backward(constants: &'static [(&'static str, f64)]) -> Kernel {
    BACKWARD_SOURCE.kernel("contrastive_backward").with(constants)
}

static FORWARD: ByClass = ByClass::of(
    FORWARD_SOURCE.kernel("contrastive_forward").with(&[("WG", 8.0)]),
    FORWARD_SOURCE.kernel("contrastive_forward").with(&[("WG", 32.0)]),
);
/// Gradient of the queries.
pub(super) static BACKWARD_QUERIES: ByClass = ByClass::of(
    backward(&[("WG", 8.0), ("OWN", 1.0), ("STREAMED", 0.0)]),
    backward(&[("WG", 32.0), ("OWN", 1.0), ("STREAMED", 0.0)]),
);
/// Gradient of the keys.
pub(super) static BACKWARD_KEYS: ByClass = ByClass::of(
    backward(&[("WG", 8.0), ("OWN", 0.0), ("STREAMED", 1.0)]),
    backward(&[("WG", 32.0), ("OWN", 0.0), ("STREAMED", 1.0)]),
);
/// Gradient of rows that are queries and keys.
pub(super) static BACKWARD_BOTH: ByClass = ByClass::of(
    backward(&[("WG", 8.0), ("OWN", 1.0), ("STREAMED", 1.0)]),
    backward(&[("WG", 32.0), ("OWN", 1.0), ("STREAMED", 1.0)]),
);
static COLUMNS: Kernel = ROWS_SOURCE.kernel("contrastive_columns");
static FINISH: Kernel = ROWS_SOURCE.kernel("contrastive_finish");
static EXTRA_BACKWARD: Kernel = ROWS_SOURCE.kernel("contrastive_extra_backward");
static SUM_CHUNKS: Kernel = ROWS_SOURCE.kernel("contrastive_sum_chunks");
static WIDTH: Kernel = ROWS_SOURCE.kernel("contrastive_width");

params! {
    struct Forward { n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32 }
}
params! {
    struct Backward { n: u32, m: u32, d4: u32, chunk: u32, begin: u32, end: u32, inv_tau: f32, scale: f32 }
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
params! {
    struct Width { n: u32, before: u32, after: u32 }
}

/// Rows that an invocation owns and rows that it streams at a time: `shaders/lib/logit_tile.wgsl`.
const TILE_ROWS: u32 = 8;
const TILE_COLUMNS: u32 = 16;
/// What a dispatch may do: a quarter of a second at 140 GFLOP/s, far below any driver's time-out.
const DISPATCH_FLOPS: u64 = 1 << 35;
/// What partial results of chunks may take, beyond one result.
const SCRATCH_BYTES: u64 = 32 << 20;

/// How the streamed rows are cut: into chunks that run side by side, and each chunk into parts that run one after
/// the other. All are whole tiles.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    chunks: u32,
    chunk: u32,
    part: u32,
}

impl Cut {
    /// Enough chunks to occupy the adapter where the owned rows alone do not, each of four tiles or more, their partial
    /// results (`row_bytes` a row) within [`SCRATCH_BYTES`]; parts that keep a dispatch within [`DISPATCH_FLOPS`].
    fn of(is_cpu: bool, n: u32, m: u32, row_bytes: u64, flops_a_pair: u64) -> Self {
        let invocations = n.div_ceil(TILE_ROWS);
        let wanted = if is_cpu { 128 } else { 16_384 };
        let tiles = m.div_ceil(TILE_COLUMNS);
        let by_memory = SCRATCH_BYTES / (u64::from(n) * row_bytes);
        let most = (tiles / 4).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).max(1);
        let chunk = tiles.div_ceil((wanted / invocations).clamp(1, most)) * TILE_COLUMNS;
        let chunks = m.div_ceil(chunk);
        let a_tile = u64::from(n) * u64::from(chunks) * u64::from(TILE_COLUMNS) * flops_a_pair;
        let part = (DISPATCH_FLOPS / a_tile).clamp(1, u64::from(chunk / TILE_COLUMNS)) as u32 * TILE_COLUMNS;
        Self { chunks, chunk, part }
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

/// Sizes of a call: `n` rows own their results, `m` rows are streamed, both of `d4` vec4s.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) n: u32,
    pub(super) m: u32,
    pub(super) d4: u32,
    pub(super) queries: u32,
    pub(super) tau: f32,
}

impl Call {
    /// The keys own, the queries are streamed.
    pub(super) fn swapped(self) -> Self {
        Self { n: self.m, m: self.n, ..self }
    }

    /// Log-sum-exp and loss of each row.
    pub(super) fn forward(
        &self,
        q: &Tensor,
        k: &Tensor,
        extra: Option<&Tensor>,
        positive: &Tensor,
        excluded: &Tensor,
    ) -> (Tensor, Tensor) {
        let gpu = q.gpu();
        let cut = Cut::of(gpu.is_cpu(), self.n, self.m, 8, self.flops(1));
        let state = self.alloc(gpu, &[cut.chunks, self.n, 2]);
        for (begin, end) in cut.parts() {
            let Self { n, m, d4, .. } = *self;
            let params = Forward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau: self.tau.recip() };
            self.stream(&FORWARD, &[&state, q, k, excluded], &params, &cut, end - begin, 1);
        }
        let row_losses = self.alloc(gpu, &[self.n]);
        let lse = self.alloc(gpu, &[self.n]);
        let bytes = (8 * u64::from(self.d4) * 4 + 8 * u64::from(cut.chunks) + 8) * u64::from(self.n);
        gpu.run(
            &FINISH,
            &[&row_losses, &lse, &state, q, extra.unwrap_or(k), positive],
            &self.rows(cut.chunks, extra.is_some()),
            Grid::items(self.n),
            Work::new(bytes, u64::from(self.n) * self.flops(1)),
        );
        (row_losses, lse)
    }

    /// Gradient of the rows of `a`, which own, from tiles with those of `b`.
    pub(super) fn backward(&self, kernel: &ByClass, a: &Tensor, b: &Tensor, of: &OfQueries<'_>) -> Tensor {
        let gpu = a.gpu();
        let row_bytes = 16 * u64::from(self.d4);
        let cut = Cut::of(gpu.is_cpu(), self.n, self.m, row_bytes, self.flops(2));
        let parts = self.alloc(gpu, &[cut.chunks, self.n, 4 * self.d4]);
        for (begin, end) in cut.parts() {
            let Self { n, m, d4, tau, .. } = *self;
            let scale = (tau * self.queries as f32).recip();
            let params = Backward { n, m, d4, chunk: cut.chunk, begin, end, inv_tau: tau.recip(), scale };
            let bindings: [&dyn Bind; 7] = [&parts, a, b, of.excluded, of.positive, of.lse, of.dloss];
            self.stream(kernel, &bindings, &params, &cut, end - begin, 2);
        }
        if cut.chunks == 1 {
            return parts.reshape(*a.shape());
        }
        let sum = Tensor::alloc(gpu, "contrastive", a.shape(), DType::F32);
        let n = sum.len() as u32;
        let work =
            Work::new(4 * u64::from(n) * u64::from(cut.chunks + 1), u64::from(n) * u64::from(cut.chunks));
        gpu.run(&SUM_CHUNKS, &[&sum, &parts], &Sum { n, chunks: cut.chunks }, Grid::items(n), work);
        sum
    }

    /// What the extra candidates add to the queries' gradient, and their own gradient.
    pub(super) fn extra_backward(&self, q: &Tensor, extra: &Tensor, of: &OfQueries<'_>) -> (Tensor, Tensor) {
        let gpu = q.gpu();
        let dq = self.alloc(gpu, &[self.n, 4 * self.d4]);
        let dextra = self.alloc(gpu, &[self.n, 4 * self.d4]);
        let work = Work::new(16 * q.len() as u64, 6 * q.len() as u64);
        let bindings: [&dyn Bind; 6] = [&dq, &dextra, q, extra, of.lse, of.dloss];
        gpu.run(&EXTRA_BACKWARD, &bindings, &self.rows(1, true), Grid::items(self.n), work);
        (dq, dextra)
    }

    /// One dispatch over a part of every chunk.
    fn stream(
        &self,
        kernel: &ByClass,
        bindings: &[&dyn Bind],
        params: &impl crate::gpu::Params,
        cut: &Cut,
        columns: u32,
        products: u64,
    ) {
        let gpu = bindings[0].storage().gpu();
        let (kernel, workgroup) = kernel.on(gpu);
        let groups = u64::from(self.n.div_ceil(TILE_ROWS * workgroup)) * u64::from(cut.chunks);
        let pairs = u64::from(self.n) * u64::from(columns.saturating_mul(cut.chunks).min(self.m));
        let rows = u64::from(self.n) * products + u64::from(self.m);
        let work = Work::new(16 * u64::from(self.d4) * rows, pairs * self.flops(products));
        gpu.run(kernel, bindings, params, Grid::groups(groups), work);
    }

    /// Operations for one pair of rows in so many matrix products.
    fn flops(&self, products: u64) -> u64 {
        8 * u64::from(self.d4) * products
    }

    fn rows(&self, chunks: u32, extra: bool) -> Rows {
        let Self { n, m, d4, tau, .. } = *self;
        let scale = (tau * self.queries as f32).recip();
        Rows { n, m, d4, chunks, extra: u32::from(extra), inv_tau: tau.recip(), scale }
    }

    #[expect(clippy::unused_self, reason = "reads as one of the call's steps")]
    fn alloc(&self, gpu: &Gpu, shape: &[u32]) -> Tensor {
        let dims: Vec<usize> = shape.iter().map(|&d| d as usize).collect();
        Tensor::alloc(gpu, "contrastive", &Shape::new(&dims), DType::F32)
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

/// Rows of another width, cut or filled up with zeros; free where the width is the same.
pub(super) fn to_width(x: &Tensor, after: u32) -> Tensor {
    let (rows, before) = (x.shape()[0], x.shape()[1] as u32);
    if before == after {
        return x.stop_gradient();
    }
    let y = Tensor::alloc(x.gpu(), "contrastive", &Shape::new(&[rows, after as usize]), DType::F32);
    let n = y.len() as u32;
    let work = Work::new(4 * u64::from(n) + 4 * x.len() as u64, 0_u64);
    x.gpu().run(&WIDTH, &[&y, x], &Width { n, before, after }, Grid::items(n), work);
    y
}
