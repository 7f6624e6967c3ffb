use crate::tensor::Tensor;

/// Weights of the three terms of [`vicreg_loss`]; the default is the paper's, 25, 25 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VicRegWeights {
    /// Of the distance between the views, lambda.
    pub invariance: f32,
    /// Of the hinge that keeps each column spread out, mu. With 0 the embedding collapses.
    pub variance: f32,
    /// Of the covariances between columns, nu.
    pub covariance: f32,
}

impl Default for VicRegWeights {
    fn default() -> Self {
        Self { invariance: 25.0, variance: 25.0, covariance: 1.0 }
    }
}

/// What [`vicreg_loss`] returns.
#[derive(Debug, Clone)]
pub struct VicRegLoss {
    /// The weighted sum: a differentiable scalar.
    pub total: Tensor,
    /// Mean squared difference of the views, unweighted and without graph; so are the next two.
    pub invariance: Tensor,
    /// Mean over columns of `max(0, 1 - std)`, averaged over the views: 1 means collapse.
    pub variance: Tensor,
    /// Sum over both views of the squared covariances off the diagonal, divided by D.
    pub covariance: Tensor,
}

/// Standard deviation that the hinge asks for, and what is added to the variance under the root.
const GAMMA: f32 = 1.0;
const EPS: f32 = 1e-4;

/// The loss of VICReg on two views `z1`, `z2` `[N, D]` of the same images.
///
/// ```text
/// invariance = mean over N and D of (z1 - z2)^2
/// variance   = 1/2 sum over views of  mean over columns of  max(0, 1 - sqrt(var + 1e-4))
/// covariance = sum over views of  sum_(i != j) cov_ij^2 / D
/// total      = lambda invariance + mu variance + nu covariance
/// ```
///
/// Variances and covariances are unbiased (N - 1); the embedding is not normalised in any way. The half before the variance
/// is that of the authors' code.
///
/// Source: Bardes, Ponce & LeCun 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
/// eq. 1 to 6.
///
/// # Panics
/// If the shapes are not the same `[N, D]` with N > 1.
#[track_caller]
#[must_use]
pub fn vicreg_loss(z1: &Tensor, z2: &Tensor, weights: VicRegWeights) -> VicRegLoss {
    let (a, b) = (z1.shape(), z2.shape());
    assert!(
        a.rank() == 2 && a == b && a[0] > 1,
        "vicreg_loss: views {a} and {b} must be the same [N, D], N > 1"
    );
    let invariance = z1.sub(z2).square().mean_all();
    let variance = z1.variance_hinge(GAMMA, EPS).add(&z2.variance_hinge(GAMMA, EPS)).mul_scalar(0.5);
    let covariance = z1.covariance_penalty().add(&z2.covariance_penalty());
    let total = invariance
        .mul_scalar(weights.invariance)
        .add(&variance.mul_scalar(weights.variance))
        .add(&covariance.mul_scalar(weights.covariance));
    VicRegLoss {
        total,
        invariance: invariance.stop_gradient(),
        variance: variance.stop_gradient(),
        covariance: covariance.stop_gradient(),
    }
}
