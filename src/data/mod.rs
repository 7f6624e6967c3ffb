//! Images in, batches out.

mod augment;
mod cifar;
mod dataset;
mod embedded;
mod folder;
mod idx;
mod loader;
mod synthetic;
