//! Losses of the methods against their specification in f64 and against PyTorch, and what each holds constant.
#[path = "../common/mod.rs"]
mod common;

mod barlow;
mod byol;
mod cost;
mod dino;
mod heads;
mod instance;
mod moco;
mod nnclr;
mod simclr;
mod simsiam;
mod supcon;
mod support;
mod swav;
mod vicreg;
