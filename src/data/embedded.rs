//! Real images inside the crate, so that the first run needs no download: 10,000 training and 2,000 test images of
//! Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747), the first 1000 and 200 of each class. MIT licence, kept in
//! `src/data/embedded/LICENSE`; `make.py` beside it makes the files.

use std::path::Path;

use super::dataset::Splits;
use super::{file, idx};
use crate::Result;

macro_rules! embed {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("embedded/", $name, ".gz")).as_slice())),*]
    };
}

const FILES: [(&str, &[u8]); 4] = embed![
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte"
];

/// The subset: 28 x 28, one channel, ten classes.
///
/// # Errors
/// None in a sound binary; the type is that of the other sources.
pub fn fashion_mnist() -> Result<Splits> {
    idx::fashion_mnist_from("embedded", |name| {
        let (name, packed) =
            FILES.into_iter().find(|file| file.0 == name).expect("the four names are those of idx.rs");
        let path = Path::new(name);
        Ok((path, file::unpack(path, packed.to_vec())?))
    })
}
