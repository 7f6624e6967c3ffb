use crate::error::Result;
use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::tensor::Tensor;

/// A random order of a batch and the way back: MoCo's shuffling of the images that make keys.
///
/// Batch normalisation lets the images of a group see one another. If a query and its key were normalised in the same company,
/// the statistics alone would tell which key is the right one. So keys are made in another order, and batch normalisation runs
/// over parts of the batch ([`nn::in_parts`](crate::nn::in_parts)): with one part, another order changes nothing (He et al.
/// 2020, "Momentum Contrast", section 3.3).
#[derive(Debug)]
pub struct Shuffle {
    order: Tensor,
    back: Tensor,
}

impl Shuffle {
    /// An order of `n` rows, drawn from `rng` on the CPU.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, n: usize, rng: &mut Rng) -> Result<Self> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        rng.shuffle(&mut order);
        let mut back = vec![0; n];
        for (place, &row) in order.iter().enumerate() {
            back[row as usize] = place as u32;
        }
        Ok(Self { order: gpu.tensor_u32(&order, [n])?, back: gpu.tensor_u32(&back, [n])? })
    }

    /// The rows of `x` `[n, ..]` in the random order.
    ///
    /// # Panics
    /// If `x` has another number of rows.
    #[track_caller]
    #[must_use]
    pub fn shuffle(&self, x: &Tensor) -> Tensor {
        self.assert_rows(x);
        x.gather_rows(&self.order)
    }

    /// The rows of `x` `[n, ..]`, made from shuffled ones, in the first order again.
    ///
    /// # Panics
    /// If `x` has another number of rows.
    #[track_caller]
    #[must_use]
    pub fn restore(&self, x: &Tensor) -> Tensor {
        self.assert_rows(x);
        x.gather_rows(&self.back)
    }

    #[track_caller]
    fn assert_rows(&self, x: &Tensor) {
        assert_eq!(
            x.shape()[..1],
            self.order.shape()[..],
            "Shuffle: {} rows for {}",
            self.order.len(),
            x.shape()
        );
    }
}
