//! From device to host.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::{Gpu, Storage};
use crate::error::{Error, Result};

/// Bytes on their way to the host. The copy is recorded and submitted when this is made, so later writes do not change
/// what arrives; awaiting (or [`Readback::wait`]) only collects it.
#[must_use = "a readback does nothing until it is awaited"]
pub struct Readback {
    /// Before `gpu`, so that the device does not outlive its last `Gpu`.
    staging: Result<wgpu::Buffer>,
    gpu: Gpu,
    submission: Option<wgpu::SubmissionIndex>,
    bytes: u64,
    state: Arc<Mutex<State>>,
    polling: bool,
}

#[derive(Default)]
struct State {
    mapped: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Readback {
    pub(super) fn start(gpu: &Gpu, storage: &Storage) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (staging, submission) =
            gpu.copy_to_staging(storage).map_or_else(|e| (Err(e), None), |(b, s)| (Ok(b), s));
        if let Ok(buffer) = &staging {
            let shared = Arc::clone(&state);
            buffer.map_async(wgpu::MapMode::Read, .., move |mapped| {
                let mut state = shared.lock().expect("no panic in the map callback");
                state.mapped = Some(mapped);
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            });
        }
        Self { staging, gpu: gpu.clone(), submission, bytes: storage.bytes, state, polling: false }
    }

    /// Whether the bytes have arrived (or an error has).
    pub fn is_ready(&self) -> bool {
        self.gpu.poll_once();
        self.staging.is_err() || self.state.lock().expect("no panic in the map callback").mapped.is_some()
    }

    /// Waits for the bytes, not for work recorded after them: the blocking form.
    ///
    /// # Errors
    /// The device's first error.
    pub fn wait(self) -> Result<Vec<u8>> {
        if self.staging.is_ok() {
            self.gpu.wait_for(self.submission.clone());
        }
        pollster::block_on(self)
    }

    fn finish(&self, mapped: Result<(), wgpu::BufferAsyncError>) -> Result<Vec<u8>> {
        let staging = self.staging.as_ref().map_err(Clone::clone)?;
        let lost = |what: String| {
            self.gpu.latch(Error::DeviceLost(what));
            self.gpu.error().unwrap_or(Error::Poisoned)
        };
        mapped.map_err(|e| lost(e.to_string()))?;
        let bytes =
            staging.get_mapped_range(..).map_err(|e| lost(e.to_string()))?[..self.bytes as usize].to_vec();
        staging.unmap();
        self.gpu.recycle_staging(staging.clone());
        self.gpu.error().map_or(Ok(bytes), Err)
    }
}

impl Drop for Readback {
    /// Nobody is left to wake. A waker may own other devices, which must not be dropped while this one is.
    fn drop(&mut self) {
        let waker = self.state.lock().map(|mut state| state.waker.take());
        drop(waker);
    }
}

impl Future for Readback {
    type Output = Result<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = &self.staging {
            return Poll::Ready(Err(error.clone()));
        }
        self.gpu.poll_once();
        let mapped = {
            let mut state = self.state.lock().expect("no panic in the map callback");
            state.waker = Some(context.waker().clone());
            state.mapped.take()
        };
        if let Some(mapped) = mapped {
            return Poll::Ready(self.finish(mapped));
        }
        // A browser calls back by itself. Natively somebody must poll the device: one short-lived thread does.
        if !self.polling && cfg!(not(target_family = "wasm")) {
            self.polling = true;
            let (gpu, submission) = (self.gpu.clone(), self.submission.clone());
            std::thread::spawn(move || gpu.wait_for(submission));
        }
        Poll::Pending
    }
}
