//! Wall-clock time of a run: of all of it, and of training alone.

use std::time::Instant;

/// A clock that counts training in windows and leaves out what lies between them: evaluations and checkpoints.
pub(super) struct Clock {
    started: Instant,
    /// Seconds of the runs that this one continues.
    earlier: f64,
    window: Instant,
    trained: f64,
    steps: u64,
}

impl Clock {
    /// A run that started then and continues runs of `earlier` seconds; training starts now.
    pub(super) fn new(started: Instant, earlier: f64) -> Self {
        Self { started, earlier, window: Instant::now(), trained: 0.0, steps: 0 }
    }

    /// Seconds of the whole run.
    pub(super) fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    /// Ends a window of `steps` steps and opens the next; returns steps a second in it.
    pub(super) fn lap(&mut self, steps: usize) -> f64 {
        let seconds = self.window.elapsed().as_secs_f64().max(1e-9);
        self.window = Instant::now();
        self.trained += seconds;
        self.steps += steps as u64;
        steps as f64 / seconds
    }

    /// Does `pause` outside the open window.
    pub(super) fn outside<T>(&mut self, pause: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = pause();
        self.window += began.elapsed();
        result
    }

    /// Steps a second over all windows.
    pub(super) fn rate(&self) -> f64 {
        self.steps as f64 / self.trained.max(1e-9)
    }
}
