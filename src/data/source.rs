//! `--data`: which images a run uses.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::dataset::{Listing, Splits};
use super::synthetic::Synthetic;
use super::{cifar, embedded, folder, idx};
use crate::{Error, Result};

/// A data set by name. [`FromStr`] and [`Display`](fmt::Display) use the form of the command line, see the variants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DataSource {
    /// `embedded`: the Fashion-MNIST subset inside the crate.
    #[default]
    Embedded,
    /// `fashion-mnist:DIR`: four idx files.
    FashionMnist(PathBuf),
    /// `cifar10:DIR`: the binary version.
    Cifar10(PathBuf),
    /// `cifar100:DIR`: the binary version, fine labels.
    Cifar100(PathBuf),
    /// `folder:DIR` or `folder:DIR@SIZE`: PNG and JPEG images, one subfolder a class, resized to 32 x 32 or SIZE x SIZE.
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Height and width to resize to.
        size: usize,
    },
    /// `synthetic`: stripes, see [`Synthetic`].
    Synthetic,
}

const DEFAULT_FOLDER_SIZE: usize = 32;

impl DataSource {
    /// Reads it all into memory.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that is not there, [`Error::Data`] for one that is broken or short.
    pub fn load(&self) -> Result<Splits> {
        match self {
            Self::Embedded => embedded::fashion_mnist(),
            Self::FashionMnist(dir) => idx::fashion_mnist(dir),
            Self::Cifar10(dir) => cifar::read(dir, cifar::Kind::Cifar10),
            Self::Cifar100(dir) => cifar::read(dir, cifar::Kind::Cifar100),
            Self::Folder { dir, size } => folder::read(dir, *size),
            Self::Synthetic => Ok(Synthetic::default().build()),
        }
    }

    /// Reads all images, with a name each. A folder may have images right in it, which then have no classes.
    ///
    /// # Errors
    /// As [`DataSource::load`].
    pub fn list(&self) -> Result<Listing> {
        match self {
            Self::Folder { dir, size } => folder::list(dir, *size),
            _ => Ok(Listing::of(self.load()?)),
        }
    }
}

impl FromStr for DataSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, dir) = text.split_once(':').unwrap_or((text, ""));
        match (kind, dir) {
            ("embedded", "") => Ok(Self::Embedded),
            ("synthetic", "") => Ok(Self::Synthetic),
            ("fashion-mnist" | "cifar10" | "cifar100" | "folder", "") => {
                Err(Error::Argument(format!("data source {kind} needs a folder: {kind}:DIR")))
            }
            ("fashion-mnist", _) => Ok(Self::FashionMnist(dir.into())),
            ("cifar10", _) => Ok(Self::Cifar10(dir.into())),
            ("cifar100", _) => Ok(Self::Cifar100(dir.into())),
            ("folder", _) => {
                let sized = dir.rsplit_once('@').and_then(|(dir, size)| Some((dir, size.parse().ok()?)));
                let (dir, size) = sized.unwrap_or((dir, DEFAULT_FOLDER_SIZE));
                Ok(Self::Folder { dir: dir.into(), size })
            }
            _ => Err(Error::Argument(format!(
                "data source {text:?} is none of embedded, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR, synthetic"
            ))),
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => write!(f, "embedded"),
            Self::FashionMnist(dir) => write!(f, "fashion-mnist:{}", dir.display()),
            Self::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            Self::Cifar100(dir) => write!(f, "cifar100:{}", dir.display()),
            Self::Folder { dir, size } => write!(f, "folder:{}@{size}", dir.display()),
            Self::Synthetic => write!(f, "synthetic"),
        }
    }
}
