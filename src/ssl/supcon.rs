use super::nt_xent;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor};

/// Supervised contrastive loss: every row of the same class is a positive.
///
/// Holds the identity matrix of the classes, whose rows turn labels into one-hot rows.
#[derive(Debug)]
pub struct SupCon {
    identity: Tensor,
    tau: f32,
}

impl SupCon {
    /// For labels below `classes`.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, classes: usize, tau: f32) -> Result<Self> {
        let mut identity = vec![0.0; classes * classes];
        identity.iter_mut().step_by(classes + 1).for_each(|v| *v = 1.0);
        Ok(Self { identity: gpu.tensor(&identity, [classes, classes])?, tau })
    }

    /// Loss of two views `z1`, `z2` `[N, d]` of N images with `labels` (`u32` `[N]`).
    ///
    /// With the 2N unit rows z and P(i) the other rows of the class of i, the mean over i of
    /// `-1 / |P(i)| sum_(p in P(i)) ln e^(z_i . z_p / tau) / sum_(a != i) e^(z_i . z_a / tau)`. If all labels differ it is
    /// [`nt_xent`](super::nt_xent).
    ///
    /// The 2N x 2N logits are never stored: the loss is NT-Xent plus the mean of `z_i . (z_pair(i) - mean of P(i)) / tau`. That mean is
    /// of the pair and of the class's other images, whose sums are exactly 0 for an image alone in its class. A label out of range
    /// gives NaN.
    ///
    /// Source: Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2 (L_out).
    ///
    /// # Panics
    /// If the shapes are not those, N is 0, or `tau` is not positive.
    #[track_caller]
    #[must_use]
    pub fn loss(&self, z1: &Tensor, z2: &Tensor, labels: &Tensor) -> Tensor {
        let (a, b) = (z1.shape(), z2.shape());
        let labelled = labels.dtype() == DType::U32 && **labels.shape() == a[..1];
        assert!(a.rank() == 2 && a == b && labelled, "SupCon: views {a} and {b} with labels {labels}");
        let n = a[0];
        let z = nt_xent::views(z1, z2).l2_normalize();
        let (a, b) = (z.slice_rows(0, n), z.slice_rows(n, n));

        // With c other images in the class of i, whose views add up to `others`: P(i) has 2 c + 1 rows, and
        // z_pair - mean of P(i) = (2 c z_pair - others) / (2 c + 1).
        let one = self.identity.gather_rows(labels);
        let both = a.add(&b);
        let others = one.matmul(&one.matmul_tn(&both)).sub(&both);
        let count = one.matmul(&one.sum(&[0]).reshape([one.shape()[1], 1])).sub_scalar(1.0).mul_scalar(2.0);
        // Both views: a . (2 c b - others) + b . (2 c a - others).
        let pairs = a.mul(&b).mul_scalar(2.0).mul(&count).sub(&both.mul(&others));
        let scale = 1.0 / (2.0 * n as f32 * self.tau);
        let correction = pairs.div(&count.add_scalar(1.0)).sum_all().mul_scalar(scale);
        nt_xent::stacked(&z, self.tau).add(&correction)
    }
}
