//! One error type for the outside world: adapter, device, memory, kernels, files, arguments.
//!
//! Misuse of shapes is the programmer's error and panics instead (with the op's name and every shape). What depends
//! on the machine or on a file is an [`Error`]. It is `Clone`, because a [`Gpu`](crate::Gpu) keeps its first error and
//! hands it out at the next synchronising call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong outside the program.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits the request. `remedy` says what to install or to set.
    #[error("no adapter found: {wanted}; {remedy}")]
    NoAdapter {
        /// What was asked for and what is there.
        wanted: String,
        /// What to do about it.
        remedy: String,
    },
    /// The adapter refused to give a device.
    #[error("adapter {adapter} gave no device: {message}")]
    Device {
        /// Adapter name.
        adapter: String,
        /// The driver's words.
        message: String,
    },
    /// The device is gone; nothing more can run on it.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// The device reported invalid use; a defect of wgrad or of a user's kernel.
    #[error("GPU validation error: {0}")]
    Validation(String),
    /// An allocation would pass the limit, or the device has no memory left.
    #[error("{op}: out of memory: {bytes} bytes wanted, {in_use} in use, limit {limit}")]
    OutOfMemory {
        /// The op that allocated.
        op: String,
        /// Bytes asked for.
        bytes: u64,
        /// Bytes held by live tensors.
        in_use: u64,
        /// The limit in bytes: [`GpuBuilder::memory_limit`](crate::GpuBuilder::memory_limit), or 0 where the driver refused.
        limit: u64,
    },
    /// One tensor is larger than the adapter can bind, or has 2^32 elements or more.
    #[error("{op}: a tensor of {size} {unit} is over this adapter's limit of {limit} {unit}")]
    TooLarge {
        /// The op that needed the tensor.
        op: String,
        /// Size in `unit`.
        size: u64,
        /// Limit in `unit`.
        limit: u64,
        /// `"bytes"`, `"elements"` or `"workgroups"`.
        unit: &'static str,
    },
    /// Data and shape given to a creation function do not fit.
    #[error("{op}: {message}")]
    Shape {
        /// The function called.
        op: String,
        /// What does not fit.
        message: String,
    },
    /// WGSL that does not parse, validate, or match its launch.
    #[error("kernel {kernel}: {message}")]
    Kernel {
        /// File and entry point.
        kernel: String,
        /// The compiler's words, line numbers as in the file.
        message: String,
    },
    /// The tensor was made after an error and holds nothing.
    #[error("this tensor was made after an earlier error and holds no data")]
    Poisoned,
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: Arc<std::io::Error>,
    },
    /// A data file is broken or short.
    #[error("{path}: at byte {offset}: expected {expected}, found {found}")]
    Data {
        /// The file.
        path: PathBuf,
        /// Byte offset of the fault.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A checkpoint or weight file does not fit the model.
    #[error("{path}: {message}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit; names the tensor, the expected and the found shape.
        message: String,
    },
    /// An argument or a configuration value is wrong.
    #[error("{0}")]
    Argument(String),
    /// An alarm ended the run, as was asked for.
    #[error("{alarm} (--stop-on-collapse); last checkpoint: {checkpoint}")]
    Collapsed {
        /// The alarm's line, which names the step.
        alarm: String,
        /// Path of the last checkpoint, or "none".
        checkpoint: String,
    },
    /// The loss became NaN or infinite.
    #[error("loss is {value} at step {step}; last good checkpoint: {checkpoint}")]
    NotFinite {
        /// The step whose loss it is.
        step: u64,
        /// The value.
        value: f32,
        /// Path of the last good checkpoint, or "none".
        checkpoint: String,
    },
}

impl Error {
    /// An [`Error::Io`] that names its file.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { path: path.as_ref().to_owned(), source: Arc::new(source) }
    }
}

/// The text of `Display`: `fn main() -> wgrad::Result<()>` and `unwrap` show this to people.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
