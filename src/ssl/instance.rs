use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops::Contrastive;
use crate::rng::Rng;
use crate::tensor::{DType, Tensor};

/// A unit vector for every image of the data set, M x d on the device.
///
/// Row `i` follows the embedding of image `i`, so the loader must give the images' indices. It starts as random unit rows. A row
/// is as old as the last epoch's visit. Its state is [`rows`](Self::rows).
#[derive(Debug)]
pub struct Bank {
    rows: Tensor,
}

impl Bank {
    /// `images` random unit rows of width `d`, from the next tensor of `rng`.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, images: usize, d: usize, rng: &mut Rng) -> Result<Self> {
        Ok(Self { rows: gpu.normal([images, d], 0.0, 1.0, rng)?.l2_normalize() })
    }

    /// The rows `[M, d]`, without a graph.
    #[must_use]
    pub fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// `M_i <- n(momentum M_i + (1 - momentum) n(z))` for the batch's images, `n` the scaling to unit length; two launches.
    ///
    /// Call it after `backward`: the graph of a loss still reads the rows it was made with. The indices of a batch differ,
    /// since a loader visits each image once an epoch; equal ones would race for their row.
    ///
    /// # Panics
    /// If `z` is not `[N, d]` or `indices` not `u32` `[N]`.
    #[track_caller]
    pub fn update(&self, indices: &Tensor, z: &Tensor, momentum: f32) {
        self.rows.lerp_unit_rows_(indices, &z.stop_gradient().l2_normalize(), 1.0 - momentum);
    }

    /// 1 - mean cosine between the images' rows and `z` `[N, d]`, what the encoder makes of them now: a scalar, without a graph.
    /// Before [`Bank::update`], rows are an epoch old.
    ///
    /// # Panics
    /// As [`Bank::update`].
    #[track_caller]
    #[must_use]
    pub fn staleness(&self, indices: &Tensor, z: &Tensor) -> Tensor {
        self.check("Bank", z, indices);
        let cosine = z.stop_gradient().l2_normalize().mul(&self.rows.gather_rows(indices)).sum(&[1]);
        cosine.mean_all().mul_scalar(-1.0).add_scalar(1.0)
    }

    /// `count` image indices for [`Nce::loss`], each drawn evenly from all M, on the device and from the next tensor of `rng`;
    /// the image itself may be among them.
    ///
    /// # Errors
    /// As [`Bank::new`].
    pub fn draw(&self, count: usize, rng: &mut Rng) -> Result<Tensor> {
        // A uniform f32 below 1 times M rounds to below M.
        let places = self.rows.gpu().uniform([count], 0.0, self.rows.shape()[0] as f32, rng)?;
        Ok(places.cast(DType::U32))
    }

    #[track_caller]
    fn check(&self, name: &str, z: &Tensor, indices: &Tensor) {
        let (a, b) = (z.shape(), self.rows.shape());
        let indexed = indices.dtype() == DType::U32 && **indices.shape() == a[..1];
        assert!(
            a.rank() == 2 && a[0] > 0 && a[1] == b[1] && indexed,
            "{name}: embeddings {a} of images {indices} against a bank {b}"
        );
    }
}

/// Instance discrimination by the full softmax: every image is a class, its weight the bank's row.
///
/// For embeddings `z` `[N, d]` of images `indices` (`u32` `[N]`), the mean over rows of
/// `-ln e^(v_i . M_index(i) / tau) / sum_j e^(v_i . M_j / tau)` with `v = n(z)` and j over all M images. A gradient flows to `z`
/// alone. The N x M logits are never stored. Update the bank after the loss.
///
/// Source: Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", eq. 2 and 3.
/// [`mi_bound`](super::mi_bound) turns the value into a bound, with M candidates.
///
/// # Panics
/// If the shapes are not those, N is 0, or `tau` is not positive.
#[track_caller]
#[must_use]
pub fn instance_discrimination_loss(z: &Tensor, bank: &Bank, indices: &Tensor, tau: f32) -> Tensor {
    bank.check("instance_discrimination_loss", z, indices);
    Contrastive::new(tau).positive_columns(indices).forward(&z.l2_normalize(), bank.rows()).loss
}

/// Instance discrimination by noise-contrastive estimation: an image's row against `m` drawn at random.
///
/// `P(j | v) = e^(v . M_j / tau) / Z` is compared with the noise 1 / M of an even draw:
///
/// ```text
/// h(j, v) = P(j | v) / (P(j | v) + m / M)
/// loss = mean over rows of  -ln h(i, v_i) - sum_(j of m negatives) ln(1 - h(j, v_i))
/// ```
///
/// The constant Z is M times the mean of `e^(v . M_j / tau)` over the first batch, and fixed from then on. It is kept as a
/// logarithm: `h` is a sigmoid of `v . M_j / tau - ln Z - ln(m / M)`, which no temperature overflows.
///
/// Source: Wu et al. 2018, eq. 4 to 8. Their code adds 1e-7 in the denominators of `h`; none is needed here.
#[derive(Debug)]
pub struct Nce {
    tau: f32,
    ln_z: Tensor,
    known: bool,
}

impl Nce {
    /// At this temperature, Z not yet known.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(tau: f32, gpu: &Gpu) -> Result<Self> {
        Ok(Self { tau, ln_z: gpu.zeros([])?, known: false })
    }

    /// `ln Z`, a scalar written at the first batch.
    #[must_use]
    pub fn ln_z(&self) -> &Tensor {
        &self.ln_z
    }

    /// Goes on with the `ln Z` that a checkpoint's value was or will be written to.
    pub fn resume(&mut self) {
        self.known = true;
    }

    /// Loss of embeddings `z` `[N, d]` of images `indices` (`u32` `[N]`) against `negatives` (`u32` `[N m]`, a row's `m` side by
    /// side; see [`Bank::draw`]). A gradient flows to `z` alone. Their rows of the bank are copied: N m d numbers.
    ///
    /// # Panics
    /// If the shapes are not those, N or m is 0, or `tau` is not positive.
    #[track_caller]
    #[must_use]
    pub fn loss(&mut self, z: &Tensor, bank: &Bank, indices: &Tensor, negatives: &Tensor) -> Tensor {
        bank.check("Nce", z, indices);
        assert!(self.tau > 0.0, "Nce: temperature {} is not positive", self.tau);
        let (n, d, images) = (z.shape()[0], z.shape()[1], bank.rows().shape()[0]);
        let count = negatives.len();
        assert!(count > 0 && count.is_multiple_of(n), "Nce: {count} negatives for {n} rows");
        let m = count / n;

        let v = z.l2_normalize();
        let own = v.mul(&bank.rows.gather_rows(indices)).sum(&[1]);
        let noise = bank.rows.gather_rows(negatives).reshape([n, m, d]);
        let noise = v.reshape([n, 1, d]).matmul_nt(&noise).reshape([count]);
        let (own, noise) = (own.div_scalar(self.tau), noise.div_scalar(self.tau));

        if !std::mem::replace(&mut self.known, true) {
            let s = Tensor::concat_rows(&[&own.stop_gradient(), &noise.stop_gradient()]);
            let top = s.max_all();
            let share = images as f32 / s.len() as f32;
            self.ln_z.lerp_(&s.sub(&top).exp().sum_all().mul_scalar(share).ln().add(&top), 1.0);
        }
        // Log-odds of being drawn from P and not from the noise.
        let shift = self.ln_z.add_scalar((m as f32 / images as f32).ln());
        let own = own.sub(&shift);
        let noise = shift.sub(&noise);
        log_sigmoid(&Tensor::concat_rows(&[&own, &noise])).sum_all().mul_scalar(-1.0 / n as f32)
    }
}

/// `-ln(1 + e^-x)` for x `[n]`, as the logarithm of a softmax between `x` and 0: exact in both tails.
fn log_sigmoid(x: &Tensor) -> Tensor {
    let row = x.reshape([1, x.len()]);
    let pairs = Tensor::concat_rows(&[&row, &row.full_like(0.0)]).transpose();
    pairs.log_softmax(None).transpose().slice_rows(0, 1)
}
