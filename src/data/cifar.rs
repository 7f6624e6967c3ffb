//! CIFAR-10 and CIFAR-100 in the binary version: records of one or two label bytes and 3072 bytes, the red, the green and
//! the blue plane of a 32 x 32 image. Source: Krizhevsky 2009, cs.toronto.edu/~kriz/cifar.html.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Splits};
use super::file;
use crate::{Error, Result};

const SIZE: usize = 32;
const PLANE: usize = SIZE * SIZE;

const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ten classes, one label byte.
    Cifar10,
    /// A hundred classes, a coarse label byte (skipped) and a fine one.
    Cifar100,
}

impl Kind {
    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// Mean and standard deviation over the training images.
    fn statistics(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Cifar10 => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
            Self::Cifar100 => ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
        }
    }
}

/// Appends the records in `content` to pixels (NHWC) and labels; `path` is for messages.
///
/// # Errors
/// [`Error::Data`] where the last record is cut short, or a label is none of the classes.
pub fn parse(
    path: &Path,
    content: &[u8],
    kind: Kind,
    images: &mut Vec<u8>,
    labels: &mut Vec<u32>,
) -> Result<()> {
    let record = kind.label_bytes() + 3 * PLANE;
    let rest = content.len() % record;
    if rest != 0 || content.is_empty() {
        let expected = format!("records of {record} bytes");
        let found =
            if content.is_empty() { "an empty file".into() } else { format!("a last record of {rest}") };
        return Err(file::broken(path, content.len() - rest, expected, found));
    }
    images.reserve(content.len() / record * 3 * PLANE);
    for (i, record_bytes) in content.chunks_exact(record).enumerate() {
        let (label, planes) = record_bytes.split_at(kind.label_bytes());
        let label = label[label.len() - 1];
        if usize::from(label) >= kind.classes() {
            let offset = i * record + kind.label_bytes() - 1;
            return Err(file::broken(
                path,
                offset,
                format!("a label below {}", kind.classes()),
                label.to_string(),
            ));
        }
        labels.push(u32::from(label));
        images.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok(())
}

/// All parts of both splits in `dir`, or in the folder the official archive unpacks to inside it. A part's name ends in
/// `.bin` or `.bin.gz`; one that starts with `test` is a test part, with `data_batch` or `train` a training part.
///
/// # Errors
/// No part of a split, or one that cannot be read, is broken or is short.
pub fn read(dir: &Path, kind: Kind) -> Result<Splits> {
    let (archive, name) = match kind {
        Kind::Cifar10 => ("cifar-10-batches-bin", "cifar10"),
        Kind::Cifar100 => ("cifar-100-binary", "cifar100"),
    };
    let inner = dir.join(archive);
    let dir = if inner.is_dir() { inner } else { dir.to_owned() };
    let class_names = class_names(&dir, kind)?;
    let (mean, std) = kind.statistics();
    let split = |prefixes: &[&str]| {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for path in parts(&dir, prefixes)? {
            parse(&path, &file::read(&path)?, kind, &mut images, &mut labels)?;
        }
        let class_names = class_names.clone();
        Ok(Dataset {
            name: name.into(),
            images,
            labels,
            height: SIZE,
            width: SIZE,
            channels: 3,
            class_names,
            mean,
            std,
        })
    };
    Ok(Splits { train: split(&["data_batch", "train"])?, test: split(&["test"])? })
}

/// The parts whose names start with one of `prefixes`, by name. Of a part that is there twice the plain one counts.
fn parts(dir: &Path, prefixes: &[&str]) -> Result<Vec<PathBuf>> {
    let mut parts = BTreeMap::new();
    for path in file::list(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        if stem.ends_with(".bin") && prefixes.iter().any(|prefix| stem.starts_with(prefix)) {
            // Sorted by name, `x.bin` comes before `x.bin.gz`.
            parts.entry(stem.to_owned()).or_insert(path);
        }
    }
    if parts.is_empty() {
        let message = format!("no file here is called {}*.bin or *.bin.gz", prefixes.join("*.bin, "));
        return Err(file::missing(dir, &message));
    }
    Ok(parts.into_values().collect())
}

/// CIFAR-100's names stand in a file of the archive; without it a class is called by its number.
fn class_names(dir: &Path, kind: Kind) -> Result<Vec<String>> {
    let path = dir.join("fine_label_names.txt");
    if kind == Kind::Cifar10 {
        return Ok(CIFAR10_CLASSES.map(String::from).to_vec());
    }
    if !path.is_file() {
        return Ok((0..kind.classes()).map(|class| class.to_string()).collect());
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let names: Vec<String> = text.split_whitespace().map(String::from).collect();
    if names.len() != kind.classes() {
        return Err(file::broken(&path, text.len(), "100 class names", names.len().to_string()));
    }
    Ok(names)
}
