//! A ring of losses on the device, read back up to 32 steps late, so that no step waits for its own loss.

use std::collections::VecDeque;

use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::tensor::Tensor;

/// Slots of the ring: one readback, and at most one submission more, for this many steps.
const SLOTS: usize = 8;
/// Readbacks under way before the oldest is waited for.
const MAX_PENDING: usize = 3;

/// The numbers of one step in the order of [`Losses::push`], the loss first. In place of a `None` stands an older step's number.
pub(super) type Values = Vec<f32>;

/// A ring of 8 slots on the device. Each step copies its numbers into one slot; after 8 steps the ring is copied to a buffer
/// that the host can map, and the next 8 steps overwrite it. Up to 3 such copies are under way; a fourth waits for the oldest.
#[derive(Debug)]
pub(super) struct Losses {
    /// `[values, SLOTS]`.
    ring: Tensor,
    filled: usize,
    pending: VecDeque<(usize, Readback)>,
}

impl Losses {
    /// For steps of `values` numbers each, the loss included.
    pub(super) fn new(gpu: &Gpu, values: usize) -> Result<Self> {
        Ok(Self { ring: gpu.zeros([values, SLOTS])?, filled: 0, pending: VecDeque::new() })
    }

    /// Records the numbers of the next step: the first element of each tensor, none for `None`.
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

    /// The numbers of the oldest 8 steps under way, if their copy is complete, else `None`.
    pub(super) fn arrived(&mut self) -> Result<Option<Vec<Values>>> {
        let ready = self.pending.front().is_some_and(|(_, oldest)| oldest.is_ready());
        if ready || self.pending.len() > MAX_PENDING { self.oldest() } else { Ok(None) }
    }

    /// Sends a ring that is not full, waits for the oldest copy and returns its steps, at most 8; `None` once all steps have
    /// been returned.
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
