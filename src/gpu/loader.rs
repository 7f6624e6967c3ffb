//! One device at a time comes or goes.
//!
//! The Vulkan loader keeps the devices of a process in lists that it walks and changes without one lock: versions up to
//! 1.4.341 crash when two threads create and destroy devices at once, and when one names an object for debuggers while
//! another destroys a device (Vulkan-Loader issue 2018). The specification allows both, so the fault is the loader's; it is
//! avoided here. Instances, adapters and devices are made and dropped under [`lock`], and objects have no names unless
//! `WGPU_DEBUG=1` asks for them.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held while an instance, an adapter or a device is made or dropped, by whichever `Gpu`.
pub(super) fn lock() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value whose fields hold the last handles of a device: dropped under [`lock`].
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken in drop only")
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let _guard = lock();
        drop(self.0.take());
    }
}
