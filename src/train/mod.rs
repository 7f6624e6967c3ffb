//! The training run.

mod checkpoint;
mod flags;
mod interrupt;
mod metrics;
mod plot;
mod progress;
mod run;
mod run_dir;
