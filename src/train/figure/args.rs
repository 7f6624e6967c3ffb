//! Flags of every figure.

use std::path::PathBuf;

use clap::Parser;

use crate::error::{Error, Result};
use crate::gpu::{Gpu, GpuBuilder};
use crate::rng::Rng;

/// Flags of every figure.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Args {
    /// Folder for NAME.csv and NAME.svg
    #[arg(long, value_name = "DIR", default_value = "runs/figures")]
    pub out: PathBuf,
    /// Names every random draw
    #[arg(long, value_name = "N", default_value_t = Args::SEED)]
    pub seed: u32,
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
}

impl Args {
    /// The seed of what is shown, where another is not asked for.
    pub const SEED: u32 = 0;

    /// The device, with profiling on: a figure says which kernels did its work. Makes the folder too, so that one that cannot be
    /// is refused before the work.
    ///
    /// # Errors
    /// [`Error::Io`]; as [`GpuBuilder::build`].
    pub fn gpu(&self) -> Result<Gpu> {
        std::fs::create_dir_all(&self.out).map_err(|e| Error::io(&self.out, e))?;
        self.adapter.iter().fold(Gpu::builder().profile(true), GpuBuilder::adapter).build()
    }

    /// Random numbers of this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed)
    }
}
