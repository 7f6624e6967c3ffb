//! Sticky errors, as in CUDA: the first one is kept, later work is skipped, the next synchronising call returns it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

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
        log::error!("{error}");
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
