//! Losses on their way back: the loop never waits for one.

use std::collections::VecDeque;

use crate::error::Result;
use crate::gpu::{Gpu, Readback};
use crate::tensor::Tensor;

/// Slots of the ring: one readback, and at most one submission more, for this many steps.
const SLOTS: usize = 8;
/// Readbacks under way before the oldest is waited for.
const MAX_PENDING: usize = 3;

/// What a step leaves on the device to be logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) loss: f32,
    /// Scale of the loss after the step, where there is one.
    pub(super) loss_scale: Option<f32>,
}

/// A ring of scalars on the device. Each step copies its loss into a slot; a full ring starts on its way to the host and is
/// collected when it has arrived, some steps later. What arrives is what was there when the readback started.
#[derive(Debug)]
pub(super) struct Losses {
    /// `[2, SLOTS]`: losses and their scales.
    ring: Tensor,
    scaled: bool,
    filled: usize,
    pending: VecDeque<(usize, Readback)>,
}

impl Losses {
    /// `scaled` says whether losses have a scale.
    pub(super) fn new(gpu: &Gpu, scaled: bool) -> Result<Self> {
        Ok(Self { ring: gpu.zeros([2, SLOTS])?, scaled, filled: 0, pending: VecDeque::new() })
    }

    /// Records the loss of the next step, and its scale: the first element of `scale`.
    pub(super) fn push(&mut self, loss: &Tensor, scale: Option<&Tensor>) {
        assert_eq!(loss.len(), 1, "a loss is one number, not {}", loss.shape());
        self.ring.gpu().copy(loss, 0, &self.ring, self.filled, 1);
        if let Some(scale) = scale {
            self.ring.gpu().copy(scale, 0, &self.ring, SLOTS + self.filled, 1);
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
    pub(super) fn arrived(&mut self) -> Result<Option<Vec<Step>>> {
        let ready = self.pending.front().is_some_and(|(_, oldest)| oldest.is_ready());
        if ready || self.pending.len() > MAX_PENDING { self.oldest() } else { Ok(None) }
    }

    /// Waits for every loss so far; they come in order, a ring at a time.
    pub(super) fn drain(&mut self) -> Result<Option<Vec<Step>>> {
        self.send();
        self.oldest()
    }

    fn oldest(&mut self) -> Result<Option<Vec<Step>>> {
        let Some((count, readback)) = self.pending.pop_front() else { return Ok(None) };
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&readback.wait()?);
        let (losses, scales) = values.split_at(SLOTS);
        let step = |(&loss, &scale)| Step { loss, loss_scale: self.scaled.then_some(scale) };
        Ok(Some(losses.iter().zip(scales).take(count).map(step).collect()))
    }
}
