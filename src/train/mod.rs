//! The training run: flags, run directory, loop, evaluation, checkpoint and resume, pictures.
//!
//! A method is a flat program around five calls. [`Setup::open`] finds adapter, data and configuration; the method builds
//! its modules; a [`Learner`] takes their parameters, with optimiser, loss scaler and schedule; [`Setup::begin`] measures the
//! baselines; then [`Run::next_batch`] and [`Run::end_step`] bracket the method's own step, and [`Run::finish`] evaluates and
//! writes the summary. `examples/simclr.rs` is such a program.
//!
//! The loop is the method's, not a trait's: a step reads top to bottom in one place, and a teacher, a queue or a bank is ordinary code
//! there. Each tensor that a checkpoint must keep is listed once, in a [`State`].
//!
//! Nothing in the loop waits for the GPU: losses travel through a ring on the device and are logged when they have arrived.

mod alarm;
mod augmentation;
mod checkpoint;
mod clock;
mod config;
mod contact_sheet;
mod embedder;
mod embeddings;
mod evaluate;
pub mod figure;
mod flags;
mod interrupt;
mod learner;
mod losses;
mod metrics;
pub mod plot;
mod progress;
mod recipe;
mod report;
mod run;
mod run_dir;
mod setup;
mod table;

use std::process::ExitCode;

pub use alarm::{Collapse, Part};
pub use augmentation::Augmentation;
pub use checkpoint::{Checkpoint, Meta, State};
pub use config::{Config, OptimizerConfig, TeacherMomentum};
pub use contact_sheet::{ContactRow, check_png, contact_sheet};
pub use embedder::Embedder;
pub use embeddings::Embeddings;
pub use evaluate::Model;
pub use flags::{Flags, no_flags, parse};
pub use interrupt::Interrupt;
pub use learner::{Learner, Step, Teacher};
pub use metrics::{Metrics, Quality, Row, Summary};
pub use progress::Progress;
pub use recipe::RECIPES;
pub use run::Run;
pub use run_dir::{RunDir, write_atomic};
pub use setup::Setup;

pub use table::FewLabels;

use crate::error::{Error, Result};

/// Refuses a queue, a method's setting `key`, that batches do not divide.
///
/// # Errors
/// [`Error::Argument`] naming it.
pub fn check_queue(key: &str, len: usize, rows: usize) -> Result<()> {
    if len.is_multiple_of(rows) {
        return Ok(());
    }
    Err(Error::Argument(format!("--set {key}={len}: must be a multiple of the {rows} rows of a step")))
}

/// Runs a program; an error is one line on stderr and exit status 1.
pub fn main<T>(program: impl FnOnce() -> Result<T>) -> ExitCode {
    match program() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
