//! Losses on their way back: the loop never waits for one.

use std::collections::VecDeque;

use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::tensor::Tensor;

/// Slots of the ring: one readback, and at most one submission more, for this many steps.
const SLOTS: usize = 8;
/// Readbacks under way before the oldest is waited for.
const MAX_PENDING: usize = 3;

/// What a step left on the device to be logged: its loss, then the values that were pushed with it. What was absent is
/// whatever the ring held.
pub(super) type Values = Vec<f32>;

/// A ring of scalars on the device. Each step copies its loss into a slot; a full ring starts on its way to the host and is
/// collected when it has arrived, some steps later. What arrives is what was there when the readback started.
#[derive(Debug)]
pub(super) struct Losses {
    /// `[values, SLOTS]`.
    ring: Tensor,
    filled: usize,
    pending: VecDeque<(usize, Readback)>,
}

impl Losses {
    /// For steps of so many values, the loss included.
    pub(super) fn new(gpu: &Gpu, values: usize) -> Result<Self> {
        Ok(Self { ring: gpu.zeros([values, SLOTS])?, filled: 0, pending: VecDeque::new() })
    }

    /// Records the values of the next step: the first element of each tensor.
    pub(super) fn push(&mut self, values: &[Option<&Tensor>]) {
        for (place, value) in values.iter().enumerate() {
            if let Some(value) = value {
                self.ring.gpu().copy(*value, 0, &self.ring, place * SLOTS + self.filled, 1);
            }
        }
        self.filled += 1;
        if self.filled == SLOTS {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.filled > 0 {
            self.pending.push_back((self.filled, self.ring.read()));
            self.filled = 0;
        }
    }

    /// The losses of the oldest full ring, if it has arrived.
    pub(super) fn arrived(&mut self) -> Result<Option<Vec<Values>>> {
        let ready = self.pending.front().is_some_and(|(_, oldest)| oldest.is_ready());
        if ready || self.pending.len() > MAX_PENDING { self.oldest() } else { Ok(None) }
    }

    /// Waits for every loss so far; they come in order, a ring at a time.
    pub(super) fn drain(&mut self) -> Result<Option<Vec<Values>>> {
        self.send();
        self.oldest()
    }

    fn oldest(&mut self) -> Result<Option<Vec<Values>>> {
        let Some((count, readback)) = self.pending.pop_front() else { return Ok(None) };
        let ring: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.wait()?);
        Ok(Some((0..count).map(|slot| ring[slot..].iter().step_by(SLOTS).copied().collect()).collect()))
    }
}
