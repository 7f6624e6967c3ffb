//! Sticky errors, as in CUDA: the first one is kept, later work is skipped, the next synchronising call returns it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::Error;

/// The first error of a device, and whether the device is gone.
///
/// Three latches feed it: the uncaptured-error handler, the device-lost callback, and an `Err` from map or poll.
#[derive(Debug, Default)]
pub(super) struct Faults {
    set: AtomicBool,
    lost: AtomicBool,
    first: Mutex<Option<Error>>,
}

impl Faults {
    /// Those of a device, whose errors come here from now on.
    pub(super) fn watch(device: &Arc<wgpu::Device>) -> Arc<Self> {
        let faults = Arc::new(Self::default());
        let (latch, watched) = (Arc::clone(&faults), Arc::downgrade(device));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // What is made on a lost device is invalid, and each use of it is an error here, while the loss itself is told by the
            // callback below, later perhaps: a poll brings that forward.
            let polled = watched.upgrade().map(|device| device.poll(wgpu::PollType::wait_indefinitely()));
            if let Some(Err(lost)) = polled {
                latch.latch(Error::DeviceLost(lost.to_string()));
            }
            latch.latch(match error {
                wgpu::Error::OutOfMemory { .. } => {
                    Error::OutOfMemory { op: "device".into(), bytes: 0, in_use: 0, limit: 0 }
                }
                other => Error::Validation(other.to_string()),
            });
        }));
        let latch = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            // A device dropped with its last handle is not lost.
            if reason != wgpu::DeviceLostReason::Destroyed || !message.contains("dropped") {
                latch.latch(Error::DeviceLost(loss(reason, &message)));
            }
        });
        faults
    }

    /// Whether work should be skipped.
    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Keeps `error` unless an earlier one is kept.
    pub(super) fn latch(&self, error: Error) {
        let mut first = self.first.lock().expect("no panic while latching");
        if matches!(error, Error::DeviceLost(_)) {
            self.lost.store(true, Ordering::Release);
        }
        // What fails on a lost device is no news.
        let level = if first.is_some() && self.lost.load(Ordering::Acquire) {
            log::Level::Debug
        } else {
            log::Level::Error
        };
        log::log!(level, "{error}");
        first.get_or_insert(error);
        self.set.store(true, Ordering::Release);
    }

    /// The kept error.
    pub(super) fn get(&self) -> Option<Error> {
        self.is_set().then(|| self.first.lock().expect("no panic while latching").clone()).flatten()
    }

    /// Takes the kept error and lets work go on, unless the device is lost: that stays.
    pub(super) fn take(&self) -> Option<Error> {
        let mut first = self.first.lock().expect("no panic while latching");
        if self.lost.load(Ordering::Acquire) {
            return first.clone();
        }
        self.set.store(false, Ordering::Release);
        first.take()
    }
}

/// One line for a loss: the driver's words, if it has any.
fn loss(reason: wgpu::DeviceLostReason, message: &str) -> String {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { format!("{reason:?}").to_lowercase() } else { words }
}
