use crate::error::Result;
use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The last K embeddings of earlier batches, K x d on the device: a ring that each batch overwrites a part of.
///
/// Rows are kept as they are given; methods give unit rows. It starts as random unit rows, so the loss is near its final
/// form from the first step. An embedding is used for [`staleness`](Self::staleness) steps: its encoder should not have
/// moved far meanwhile, which is what a slow teacher is for (He et al. 2020, "Momentum Contrast", section 3.2).
///
/// Its state is [`rows`](Self::rows) and [`enqueued`](Self::enqueued): write both back and the run goes on bit for bit.
#[derive(Debug)]
pub struct Queue {
    rows: Tensor,
    enqueued: u64,
}

impl Queue {
    /// `len` random unit rows of width `d`, from the next tensor of `rng`.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, len: usize, d: usize, rng: &mut Rng) -> Result<Self> {
        Ok(Self { rows: gpu.normal([len, d], 0.0, 1.0, rng)?.l2_normalize(), enqueued: 0 })
    }

    /// The rows `[K, d]`, without a graph; the order is that of the ring.
    #[must_use]
    pub fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// K.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.shape()[0]
    }

    /// Whether it holds no rows at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row that the next batch starts at.
    #[must_use]
    pub fn pointer(&self) -> usize {
        (self.enqueued % self.len() as u64) as usize
    }

    /// Rows ever enqueued: the pointer is this modulo K.
    #[must_use]
    pub fn enqueued(&self) -> u64 {
        self.enqueued
    }

    /// Whether all random rows have been replaced.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.enqueued >= self.len() as u64
    }

    /// Goes on from a checkpoint, whose rows were written to [`rows`](Self::rows).
    pub fn set_enqueued(&mut self, enqueued: u64) {
        self.enqueued = enqueued;
    }

    /// Steps that a row stays with batches of `batch`: K / batch, the age of the oldest row.
    #[must_use]
    pub fn staleness(&self, batch: usize) -> usize {
        self.len() / batch
    }

    /// Overwrites the oldest rows with `batch` `[n, d]`, in one copy, and moves the pointer on.
    ///
    /// Call it after `backward`: the graph of a loss still reads the rows it was made with, and says so if they changed.
    ///
    /// # Panics
    /// If K is not a multiple of n, or the width differs.
    #[track_caller]
    pub fn enqueue(&mut self, batch: &Tensor) {
        let (queue, rows) = (self.rows.shape(), batch.shape());
        let fits = rows.rank() == 2 && rows[0] > 0 && queue[0].is_multiple_of(rows[0]) && rows[1] == queue[1];
        assert!(fits, "Queue: a batch {rows} does not divide a queue {queue}");
        let place = self.pointer();
        assert!(
            place.is_multiple_of(rows[0]),
            "Queue: batches of {} from row {place} cross the end",
            rows[0]
        );
        self.rows.write_rows(place, batch);
        self.enqueued += rows[0] as u64;
    }
}

/// Measures how stale a queue is: keeps one batch of images with its keys while these are in the queue, and encodes the images
/// again when the queue is about to forget them.
#[derive(Debug)]
pub struct Probe {
    images: Tensor,
    keys: Tensor,
    staleness: Tensor,
}

impl Probe {
    /// For batches of `images` (a shape) and keys `[n, d]` in a queue of width `d`; nothing measured yet.
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, images: impl Into<Shape>, d: usize) -> Result<Self> {
        let images = images.into();
        let keys = gpu.zeros([images[0], d])?;
        Ok(Self { images: gpu.zeros(images)?, keys, staleness: gpu.zeros([])? })
    }

    /// Call it before [`Queue::enqueue`], with the images and unit rows of the batch. Where the queue starts over, it measures
    /// with `encode` as it is now, and then keeps this batch: one more pass of the encoder every K / n steps.
    ///
    /// # Panics
    /// If the shapes are others than those of [`Probe::new`].
    #[track_caller]
    pub fn observe(&self, queue: &Queue, images: &Tensor, keys: &Tensor, encode: impl Fn(&Tensor) -> Tensor) {
        if queue.pointer() != 0 {
            return;
        }
        if queue.is_full() {
            let now = encode(&self.images).stop_gradient().l2_normalize();
            let cosine = now.mul(&self.keys).sum(&[1]).mean_all();
            self.staleness.lerp_(&cosine.mul_scalar(-1.0).add_scalar(1.0), 1.0);
        }
        self.images.write_rows(0, images);
        self.keys.write_rows(0, keys);
    }

    /// 1 - mean cosine between the oldest keys and what the encoder makes of their images now: 0 if it has not moved. The
    /// newest measurement, a scalar on the device; 0 before the first.
    #[must_use]
    pub fn staleness(&self) -> &Tensor {
        &self.staleness
    }

    /// What a checkpoint keeps, by name.
    #[must_use]
    pub fn state(&self) -> [(&'static str, &Tensor); 3] {
        [("images", &self.images), ("keys", &self.keys), ("staleness", &self.staleness)]
    }
}
