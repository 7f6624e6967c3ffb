//! Nearest neighbours by dot product, and the vote over their labels.

use super::elementwise::assert_f32;
use crate::gpu::{Bind, Grid, Kernel, Source, Work, source, uniforms};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("knn.wgsl");
/// One query an invocation, and four.
static KNN_SELECT: [Kernel; 2] =
    [SOURCE.kernel("knn_select"), SOURCE.kernel("knn_select").with(&[("WG", 8.0)]).lib("lane", "lane_4")];
static KNN_SORT: Kernel = SOURCE.kernel("knn_sort");
static VOTE_SOURCE: Source = source!("knn_vote.wgsl");
static KNN_VOTE: Kernel = VOTE_SOURCE.kernel("knn_vote");

uniforms! { struct Uniforms { n: u32, k: u32, rows: u32, base: u32 } }
uniforms! { struct Vote { n: u32, k: u32, classes: u32, bank: u32, tau: f32 } }

/// Rows of the bank and queries in one strip of similarities. Multiples of 64, so that a view can start at each.
const STRIP: usize = 1024;

/// Neighbours at most where [`loop_iterations`](crate::gpu::AdapterInfo::loop_iterations) has a limit: `knn_select` makes up to
/// `20 k + 11,000`, of 65,535 on lavapipe.
const MOST_WHERE_LOOPS_END: usize = 2500;

impl Tensor {
    /// The `k` rows of `bank` `[m, d]` with the largest dot product with each row of this `[n, d]`.
    ///
    /// Returns similarities and `u32` indices, `[n, k]` each, best first; of equal similarities the lower index comes
    /// first. Similarities are made in strips of at most 1024 x 4096 and each query keeps a running top-k, so memory grows
    /// with `n k`, not with `n m`. No gradient flows. A similarity that is NaN is never among the nearest; what it leaves
    /// empty has the index `u32::MAX`.
    ///
    /// # Panics
    /// If the shapes are not `[n, d]` and `[m, d]`, or `k` is not in `1..=m`, or above 2,500 on a CPU adapter.
    #[track_caller]
    #[must_use]
    pub fn knn(&self, bank: &Tensor, k: usize) -> (Tensor, Tensor) {
        let (a, b) = (self.shape(), bank.shape());
        assert!(a.rank() == 2 && b.rank() == 2 && a[1] == b[1], "knn: queries {a} and bank {b}");
        let (n, m, d) = (a[0], b[0], a[1]);
        assert!((1..=m).contains(&k), "knn: k = {k} of a bank {b}");
        let gpu = self.gpu();
        let most = if gpu.info().loop_iterations == u32::MAX { usize::MAX } else { MOST_WHERE_LOOPS_END };
        assert!(k <= most, "knn: k = {k}: at most {most} on an adapter that ends long loops");
        let new = |shape: [usize; 2], dtype| Tensor::alloc(gpu, "knn", &shape.into(), dtype);
        let (similarity, index) = (new([n, k], DType::F32), new([n, k], DType::U32));
        let at_once = gpu.facts().queries as usize;
        for first in (0..n).step_by(at_once) {
            let count = at_once.min(n - first);
            let part = Tensor::view(self, first * d, [count, d]);
            let lists = || (new([k, count], DType::F32), new([k, count], DType::U32));
            let (mut kept, mut next) = (lists(), lists());
            let uniforms = |n: usize, rows: usize, base: usize| {
                let [n, k, rows, base] = [n, k, rows, base].map(|d| d as u32);
                Uniforms { n, k, rows, base }
            };
            let wide = gpu.facts().wide_queries && count.is_multiple_of(4);
            let lanes = if wide { count / 4 } else { count };
            for base in (0..m).step_by(STRIP) {
                let rows = STRIP.min(m - base);
                let strip = Tensor::view(bank, base * d, [rows, d]).matmul_nt(&part);
                let work = Work::new(4 * strip.len(), 0_u64);
                let tensors: [&dyn Bind; 5] = [&next.0, &next.1, &kept.0, &kept.1, &strip];
                let uniforms = uniforms(lanes, rows, base);
                gpu.run(&KNN_SELECT[usize::from(wide)], &tensors, &uniforms, Grid::items(lanes), work);
                std::mem::swap(&mut kept, &mut next);
            }
            let out = |whole: &Tensor| Tensor::view(whole, first * k, [count, k]);
            let work = Work::new(16 * kept.0.len(), 0_u64);
            let tensors: [&dyn Bind; 4] = [&out(&similarity), &out(&index), &kept.0, &kept.1];
            gpu.run(&KNN_SORT, &tensors, &uniforms(count, 0, 0), Grid::items(count * k.div_ceil(8)), work);
        }
        (similarity, index)
    }

    /// Class scores `[n, classes]` of neighbours: this has the similarities `[n, k]`, `index` their rows in a bank whose
    /// classes are `labels` `[m]`. A class scores the sum of `exp((similarity - 1) / tau)` over its neighbours.
    ///
    /// The 1 is the largest cosine, so that no weight overflows; it changes no vote. No gradient flows.
    ///
    /// # Panics
    /// If the similarities are not `f32`, `index` not `u32` of this shape, or `labels` not `u32` of one axis.
    #[track_caller]
    #[must_use]
    pub fn knn_vote(&self, index: &Tensor, labels: &Tensor, classes: usize, tau: f32) -> Tensor {
        assert_f32("knn_vote", &[self]);
        let fits = self.shape().rank() == 2 && index.shape() == self.shape() && index.dtype() == DType::U32;
        assert!(fits, "knn_vote: similarities {self} at {index}");
        assert!(
            labels.shape().rank() == 1 && labels.dtype() == DType::U32,
            "knn_vote: labels {labels} must be u32 [m]"
        );
        let (n, k) = (self.shape()[0], self.shape()[1]);
        let scores = Tensor::alloc(self.gpu(), "knn_vote", &[n, classes].into(), DType::F32);
        let uniforms =
            Vote { n: n as u32, k: k as u32, classes: classes as u32, bank: labels.len() as u32, tau };
        let work = Work::new(8 * self.len() + 4 * scores.len(), 4 * self.len());
        let tensors: [&dyn Bind; 4] = [&scores, self, index, labels];
        self.gpu().run(&KNN_VOTE, &tensors, &uniforms, Grid::items(n * classes.div_ceil(8)), work);
        scores
    }
}
