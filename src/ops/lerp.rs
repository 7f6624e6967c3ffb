//! Moving averages in place.

use crate::gpu::{Grid, Kernel, Source, Work, params};
use crate::ops::unary::assert_f32;
use crate::tensor::Tensor;

static SOURCE: Source = Source::new("lerp.wgsl", include_str!("../../shaders/lerp.wgsl"));
static LERP: Kernel = SOURCE.kernel("lerp");

params! {
    struct Params { n: u32, weight: f32 }
}

impl Tensor {
    /// `self += weight * (other - self)`, in place, in one launch: the update of a teacher with momentum `1 - weight`.
    ///
    /// Weight 0 changes nothing, weight 1 copies exactly. No gradient flows.
    ///
    /// # Panics
    /// If the shapes differ or the elements are not `f32`.
    #[track_caller]
    pub fn lerp_(&self, other: &Tensor, weight: f32) {
        assert_f32("lerp_", &[self, other]);
        assert_eq!(self.shape(), other.shape(), "lerp_: {} towards {}", self.shape(), other.shape());
        let n = self.len();
        let params = Params { n: n.div_ceil(4) as u32, weight };
        self.gpu().run(&LERP, &[self, other], &params, Grid::items(n.div_ceil(4)), Work::new(12 * n, 3 * n));
        self.mark_written();
    }
}
