//! Batches in a seeded order, made one thread ahead.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::dataset::Dataset;
use crate::rng::{below, philox, streams};
use crate::{Error, Result};

/// Some images of a data set, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Pixels, NHWC.
    pub images: Vec<u8>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Index of each image in its data set: what augmentation and memory banks know it by.
    pub indices: Vec<u32>,
    /// Height, width, channels.
    pub dims: [usize; 3],
    /// Epoch, from 0.
    pub epoch: u32,
    /// Step since the start of epoch 0, from 0.
    pub step: u64,
}

impl Batch {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none; a loader never yields such a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Settings of a [`Loader`].
#[derive(Clone, Debug)]
pub struct LoaderBuilder {
    dataset: Arc<Dataset>,
    batch: usize,
    seed: u32,
    shuffle: bool,
    drop_last: bool,
    prefetch: usize,
    epochs: Option<u32>,
    start: u64,
}

impl LoaderBuilder {
    /// Seed of the order. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = seed;
        self
    }

    /// Whether each epoch has an order of its own (default), or that of the data set.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Whether an epoch leaves out what does not fill a batch (default), or ends with a smaller one.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.drop_last = drop_last;
        self
    }

    /// Batches made ahead, at least one. Default 4.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = batches.max(1);
        self
    }

    /// Ends after epoch `epochs - 1`. Default: never.
    #[must_use]
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = Some(epochs);
        self
    }

    /// The first step to yield, counted from the start of epoch 0. What follows is what an uninterrupted loader yields.
    #[must_use]
    pub fn start(mut self, step: u64) -> Self {
        self.start = step;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Argument`] where not even one batch fits in an epoch; [`Error::Io`] where no thread can be started.
    pub fn build(self) -> Result<Loader> {
        let (images, batch) = (self.dataset.len(), self.batch);
        let steps_per_epoch = match (batch, self.drop_last) {
            (0, _) => 0,
            (_, true) => images / batch,
            (_, false) => images.div_ceil(batch),
        };
        if steps_per_epoch == 0 {
            let name = &self.dataset.name;
            return Err(Error::Argument(format!("no batch of {batch} in the {images} images of {name}")));
        }
        let (sender, receiver) = sync_channel(self.prefetch);
        let worker = move || {
            let per_epoch = steps_per_epoch as u64;
            let mut order = (u32::MAX, Vec::new());
            for step in self.start.. {
                let epoch = (step / per_epoch) as u32;
                if self.epochs.is_some_and(|epochs| epoch >= epochs) {
                    return;
                }
                if order.0 != epoch {
                    order = (epoch, self.order(epoch));
                }
                // An error means that the loader was dropped.
                if sender.send(self.gather(&order.1, epoch, step, (step % per_epoch) as usize)).is_err() {
                    return;
                }
            }
        };
        let worker = std::thread::Builder::new()
            .name("wgrad-loader".into())
            .spawn(worker)
            .map_err(|e| Error::io("loader thread", e))?;
        Ok(Loader { receiver: Some(receiver), worker: Some(worker), steps_per_epoch })
    }

    /// The order of one epoch: Fisher-Yates with word i % 4 of the block (i / 4, epoch, 0, 0) for place i.
    fn order(&self, epoch: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.dataset.len() as u32).collect();
        if self.shuffle {
            for i in (1..order.len()).rev() {
                let place = i as u32;
                let block = philox([place / 4, epoch, 0, 0], [self.seed, streams::SHUFFLE]);
                order.swap(i, below(block[i % 4], place + 1) as usize);
            }
        }
        order
    }

    fn gather(&self, order: &[u32], epoch: u32, step: u64, step_in_epoch: usize) -> Batch {
        let first = step_in_epoch * self.batch;
        let indices = order[first..order.len().min(first + self.batch)].to_vec();
        let mut images = Vec::with_capacity(indices.len() * self.dataset.image_len());
        for &i in &indices {
            images.extend_from_slice(self.dataset.image(i as usize));
        }
        let labels = indices.iter().map(|&i| self.dataset.labels[i as usize]).collect();
        Batch { images, labels, indices, dims: self.dataset.dims(), epoch, step }
    }
}

/// An iterator over batches. The order of epoch e follows from (seed, e) alone, so a loader started at any step yields
/// what an uninterrupted one would. Dropping it ends its thread.
#[derive(Debug)]
pub struct Loader {
    receiver: Option<Receiver<Batch>>,
    worker: Option<JoinHandle<()>>,
    steps_per_epoch: usize,
}

impl Loader {
    /// Batches of `batch` images of a data set; see [`LoaderBuilder`] for the defaults.
    #[must_use]
    pub fn builder(dataset: &Arc<Dataset>, batch: usize) -> LoaderBuilder {
        LoaderBuilder {
            dataset: Arc::clone(dataset),
            batch,
            seed: 0,
            shuffle: true,
            drop_last: true,
            prefetch: 4,
            epochs: None,
            start: 0,
        }
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.steps_per_epoch
    }

    /// Waits for the thread, and panics if it did.
    fn join(&mut self) {
        self.receiver = None;
        if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Iterator for Loader {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let batch = self.receiver.as_ref()?.recv().ok();
        if batch.is_none() {
            self.join();
        }
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.join();
    }
}
