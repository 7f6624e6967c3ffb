//! Matrix products A B, A Bᵀ and Aᵀ B, plain or batched. Each is the backward of the others, so none copies a transpose.

pub(super) mod matrix;

use super::unary::assert_float;
use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static NAIVE_SOURCE: Source =
    Source::new("matmul/1_naive.wgsl", include_str!("../../shaders/matmul/1_naive.wgsl"));
static NAIVE: Kernel = NAIVE_SOURCE.kernel("matmul");
static REGISTER_SOURCE: Source =
    Source::new("matmul/2_register.wgsl", include_str!("../../shaders/matmul/2_register.wgsl"));
static REGISTER: [Kernel; 3] =
    [REGISTER_SOURCE.kernel("nn"), REGISTER_SOURCE.kernel("nt"), REGISTER_SOURCE.kernel("tn")];
static RAGGED: Kernel = REGISTER_SOURCE.kernel("ragged");
static WORKGROUP_SOURCE: Source =
    Source::new("matmul/3_workgroup.wgsl", include_str!("../../shaders/matmul/3_workgroup.wgsl"));
static WORKGROUP: Kernel = WORKGROUP_SOURCE.kernel("matmul");
static BROADCAST_SOURCE: Source =
    Source::new("matmul/10_broadcast.wgsl", include_str!("../../shaders/matmul/10_broadcast.wgsl"));
static BROADCAST: [Kernel; 3] =
    [BROADCAST_SOURCE.kernel("nn"), BROADCAST_SOURCE.kernel("nt"), BROADCAST_SOURCE.kernel("tn")];
static BROADCAST_RAGGED: Kernel = BROADCAST_SOURCE.kernel("ragged");
static SUM_SOURCE: Source =
    Source::new("matmul/sum_splits.wgsl", include_str!("../../shaders/matmul/sum_splits.wgsl"));
static SUM_SPLITS: Kernel = SUM_SOURCE.kernel("sum_splits");

params! {
    #[derive(Default)]
    struct Params {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
    }
}
params! {
    struct RegisterParams {
        batch: u32, m: u32, n: u32, k: u32, chunk: u32, splits: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32,
        lanes_n: u32,
    }
}
params! {
    struct SumParams { n: u32, splits: u32 }
}

/// Which operand is transposed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A B
    Nn,
    /// A Bᵀ
    Nt,
    /// Aᵀ B
    Tn,
}

impl Tensor {
    /// A B: `[M, K]` times `[K, N]` is `[M, N]`; `[B, M, K]` times `[B, K, N]` is `[B, M, N]`, a product a batch.
    /// Gradients: `dA = dC Bᵀ`, `dB = Aᵀ dC`. Operands of `f16` give `f16`, of sums in `f32`.
    ///
    /// # Panics
    /// If the shapes do not fit, or the operands are not floats of one type.
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        product("matmul", Form::Nn, self, other, self.dtype()).with_backward(
            "matmul",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nt, g.dy, b, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Tn, a, g.dy, g.dtype(1))),
                ]
            },
        )
    }

    /// A Bᵀ: `[M, K]` and `[N, K]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = dC B`, `dB = dCᵀ A`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_nt(&self, other: &Tensor) -> Tensor {
        product("matmul_nt", Form::Nt, self, other, self.dtype()).with_backward(
            "matmul_nt",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nn, g.dy, b, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Tn, g.dy, a, g.dtype(1))),
                ]
            },
        )
    }

    /// Aᵀ B: `[K, M]` and `[K, N]` give `[M, N]`; batched as [`Tensor::matmul`].
    /// Gradients: `dA = B dCᵀ`, `dB = A dC`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    #[must_use]
    pub fn matmul_tn(&self, other: &Tensor) -> Tensor {
        product("matmul_tn", Form::Tn, self, other, self.dtype()).with_backward(
            "matmul_tn",
            &[self, other],
            &[self, other],
            |g| {
                let [a, b] = g.saved();
                vec![
                    g.needs(0).then(|| product("matmul", Form::Nt, b, g.dy, g.dtype(0))),
                    g.needs(1).then(|| product("matmul", Form::Nn, a, g.dy, g.dtype(1))),
                ]
            },
        )
    }
}

/// The product, of `f32` sums whatever the operands are, stored as `dtype`.
#[track_caller]
fn product(op: &'static str, form: Form, a: &Tensor, b: &Tensor, dtype: DType) -> Tensor {
    let misfit = || -> ! { panic!("{op}: shapes {} and {} do not fit", a.shape(), b.shape()) };
    assert_float(op, &[a, b]);
    let (batch, [a0, a1], [b0, b1]) = match (&**a.shape(), &**b.shape()) {
        (&[a0, a1], &[b0, b1]) => (1, [a0, a1], [b0, b1]),
        (&[s, a0, a1], &[t, b0, b1]) if s == t => (s, [a0, a1], [b0, b1]),
        _ => misfit(),
    };
    let (m, k) = if form == Form::Tn { (a1, a0) } else { (a0, a1) };
    let (n, k2) = if form == Form::Nt { (b0, b1) } else { (b1, b0) };
    if k != k2 {
        misfit();
    }
    let shape = if a.shape().rank() == 2 { Shape::new(&[m, n]) } else { Shape::new(&[batch, m, n]) };
    let c = Tensor::alloc(a.gpu(), op, &shape, dtype);
    if k == 0 {
        return c.full_like(0.0);
    }
    if !c.is_empty() {
        let [batch, m, n, k] = [batch, m, n, k].map(|d| d as u32);
        launch(op, form, Params { batch, m, n, k, ..Params::default() }, &c, a, b);
    }
    c
}

/// Chooses kernel and split, and launches: the sizes of `p` are given, the rest of it is set here.
fn launch(op: &str, form: Form, p: Params, c: &Tensor, a: &Tensor, b: &Tensor) {
    let gpu = c.gpu();
    let (a_row, a_k) = if form == Form::Tn { (1, p.m) } else { (p.k, 1) };
    let (b_k, b_col) = if form == Form::Nt { (1, p.k) } else { (p.n, 1) };
    let tiles =
        |rows, columns| u64::from(p.batch) * u64::from(p.m.div_ceil(rows)) * u64::from(p.n.div_ceil(columns));
    let file = match gpu.kernel_choice("matmul") {
        None if matrix::fits(a, b) => "11_matrix",
        _ => super::rung(gpu, "matmul"),
    };
    match file {
        "11_matrix" => return matrix::half(op, form, &p, c, a, b),
        "13_split_f32" => return matrix::split_f32(op, form, &p, c, a, b),
        _ => {}
    }
    // Lanes lie along the columns as far as there are columns, the rest along the rows.
    let lanes_n = p.n.div_ceil(8).next_power_of_two().min(8);
    let groups = match file {
        "1_naive" => tiles(1, 1).div_ceil(64),
        "2_register" => tiles(8 * (8 / lanes_n), 8 * lanes_n),
        "3_workgroup" => tiles(64, 64),
        "10_broadcast" => tiles(16, 64),
        other => panic!("{op}: there is no shaders/matmul/{other}.wgsl"),
    };
    let splits = splits(gpu.is_cpu(), groups, u64::from(p.k));
    let chunk = p.k.div_ceil(splits).next_multiple_of(4);
    let splits = p.k.div_ceil(chunk);
    let p = Params { chunk, splits, a_row, a_k, b_k, b_col, ..p };

    let part = split_output(op, c, splits);
    let flops = 2 * u64::from(p.batch) * u64::from(p.m) * u64::from(p.n) * u64::from(p.k);
    let work = Work::new((a.bytes() + b.bytes() + part.bytes()) as u64, flops);
    let grid = Grid::groups(groups * u64::from(splits));
    match file {
        "1_naive" => gpu.run(&NAIVE, &[&part, a, b], &p, grid, work),
        "3_workgroup" => gpu.run(&WORKGROUP, &[&part, a, b], &p, grid, work),
        "10_broadcast" => {
            let vectors = [a, b, c].iter().all(|t| t.shape()[t.shape().rank() - 1] % 4 == 0);
            let kernel = if vectors { &BROADCAST[form as usize] } else { &BROADCAST_RAGGED };
            gpu.run(kernel, &[&part, a, b], &p, grid, work);
        }
        _ => {
            let vectors = [a, b, c].iter().all(|t| t.shape()[t.shape().rank() - 1] % 4 == 0);
            let kernel = if vectors { &REGISTER[form as usize] } else { &RAGGED };
            let Params { batch, m, n, k, .. } = p;
            let p = RegisterParams { batch, m, n, k, chunk, splits, a_row, a_k, b_k, b_col, lanes_n };
            gpu.run(kernel, &[&part, a, b], &p, grid, work);
        }
    }
    sum_splits(c, &part, splits);
}

/// Into how many parts a sum over `k` is cut when `groups` workgroups alone do not fill the adapter.
///
/// Depends on shapes and adapter class only, so results are the same bits every time. On CPU adapters a part is at most
/// 4,096 long, whatever that costs: lavapipe ends an invocation's loops, without a word, when they have made 65,535
/// iterations in all, and a kernel's inner loops may make ten for each step of `k`.
pub(super) fn splits(cpu: bool, groups: u64, k: u64) -> u32 {
    let (enough, least, longest) = if cpu { (16, 64, 4096) } else { (256, 128, u64::from(u32::MAX)) };
    (enough / groups.max(1)).min(k / least).max(k.div_ceil(longest)).max(1) as u32
}

/// Where a split kernel writes: `y` itself, or `splits` partial copies of it for [`sum_splits`].
pub(super) fn split_output(op: &str, y: &Tensor, splits: u32) -> Tensor {
    if splits == 1 {
        return y.clone();
    }
    Tensor::alloc(y.gpu(), op, &Shape::new(&[splits as usize, y.len()]), DType::F32)
}

/// Adds the partial results of a split sum in fixed order.
pub(super) fn sum_splits(y: &Tensor, part: &Tensor, splits: u32) {
    if splits > 1 {
        let n = y.len() as u32;
        let work = Work::new((part.bytes() + y.bytes()) as u64, part.len() as u64);
        y.gpu().run(&SUM_SPLITS, &[y, part], &SumParams { n, splits }, Grid::items(n), work);
    }
}
