//! Images in, batches out.
//!
//! A [`DataSource`] names a data set and loads it as [`Splits`], bytes NHWC in memory. A [`Loader`] walks one split in
//! an order that follows from seed and epoch alone, one thread ahead of the consumer. [`Images`] carries a batch of
//! bytes to the GPU, where [`Augment`] makes float views of it: a quarter of the traffic that floats would need, and
//! the same views on every machine. For figures of the theory there are data whose answer is known: [`Gaussians`], [`dna`],
//! [`powder`].
//!
//! ```
//! use wgrad::data::{DataSource, Loader};
//!
//! let source: DataSource = "synthetic".parse()?;
//! let train = std::sync::Arc::new(source.load()?.train);
//! let mut loader = Loader::builder(&train, 32).seed(1).epochs(2).build()?;
//! let batch = loader.next().unwrap();
//! assert_eq!((batch.images.len(), batch.labels.len(), batch.step), (32 * 32 * 32 * 3, 32, 0));
//! # Ok::<(), wgrad::Error>(())
//! ```

mod augment;
pub mod cifar;
mod dataset;
pub mod dna;
pub mod embedded;
mod file;
pub mod folder;
mod gaussians;
pub mod idx;
mod labels;
mod loader;
mod moved;
pub mod powder;
mod source;
mod synthetic;

pub use crate::reference::augment::{Blur, Crop, Jitter, Recipe, Solarize};
pub use augment::{Augment, Images};
pub use dataset::{Dataset, Listing, Splits};
pub use gaussians::Gaussians;
pub use labels::LabelBudget;
pub use loader::{Batch, Loader, LoaderBuilder};
#[cfg(feature = "train")]
pub(crate) use moved::reach;
pub use source::DataSource;
pub use synthetic::Synthetic;
