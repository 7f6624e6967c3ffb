//! Ctrl-C: the first asks the loop to save and end, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// A request to end the run after the current step. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

/// What the signal handler sets; the system has one handler a process.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and Ctrl-C from here on. Later calls change nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] if the system refuses a handler.
    pub fn catch_signals() -> Result<()> {
        let handler = || {
            if SIGNALS.fetch_add(1, Ordering::SeqCst) > 0 {
                std::process::exit(130);
            }
            eprintln!("\nending after this step and saving; once more to end at once");
        };
        match ctrlc::try_set_handler(handler) {
            Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(()),
            Err(error) => Err(Error::Argument(format!("cannot catch Ctrl-C: {error}"))),
        }
    }

    /// Asks the run to end, as Ctrl-C does.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run was asked to end.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) || SIGNALS.load(Ordering::SeqCst) > 0
    }
}
