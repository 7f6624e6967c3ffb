//! Optimisers on flat parameter buffers.

mod adamw;
mod clip;
mod ema;
mod lars;
mod schedule;
mod segments;
mod sgd;
