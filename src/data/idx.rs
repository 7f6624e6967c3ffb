//! The idx format of MNIST and its successors: a big-endian header (0, 0, type, rank, then one size a dimension) and the
//! elements. Only unsigned bytes (type 8) are read. Source: yann.lecun.com/exdb/mnist, "the IDX file format".

use std::path::Path;

use super::dataset::{Dataset, Splits};
use super::file;
use crate::Result;

/// An array of bytes with its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Size of each dimension.
    pub dims: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<u8>,
}

/// Reads the content of an idx file of `rank` dimensions; `path` is for messages.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) where the header is not of this rank and type, or the length is not what it says.
pub fn parse(path: &Path, mut content: Vec<u8>, rank: usize) -> Result<Idx> {
    let header = 4 + 4 * rank;
    if content.len() < header {
        let expected = format!("an idx header of {header} bytes");
        return Err(file::broken(path, content.len(), expected, "the end of the file"));
    }
    let magic = [0, 0, 8, rank as u8];
    if content[..4] != magic {
        let expected = format!("idx of unsigned bytes with {rank} dimensions ({magic:02x?})");
        return Err(file::broken(path, 0, expected, format!("{:02x?}", &content[..4])));
    }
    let size = |bytes: &[u8]| bytes.iter().fold(0, |n, &b| n << 8 | usize::from(b));
    let dims: Vec<usize> = content[4..header].chunks_exact(4).map(size).collect();
    let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let found = content.len() - header;
    if elements != Some(found) {
        let expected = match elements {
            Some(n) => format!("{n} elements, as the sizes {dims:?} say"),
            None => format!("sizes that fit in memory, not {dims:?}"),
        };
        let fault = header + elements.map_or(0, |n| n.min(found));
        return Err(file::broken(path, fault, expected, format!("{found} bytes after the header")));
    }
    content.drain(..header);
    Ok(Idx { dims, data: content })
}

const FASHION_CLASSES: [&str; 10] =
    ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// Fashion-MNIST: the four idx files in `dir`, gzipped or not.
///
/// # Errors
/// A file that is missing, broken or short, or an images file that does not go with its labels file.
pub fn fashion_mnist(dir: &Path) -> Result<Splits> {
    let file = |name: &str| {
        let path = file::find(dir, name)?;
        let content = file::read(&path)?;
        Ok((path, content))
    };
    fashion_mnist_from("fashion-mnist", file)
}

/// The same with the files' paths and contents from `file`.
pub(super) fn fashion_mnist_from<P: AsRef<Path>>(
    name: &str,
    file: impl Fn(&str) -> Result<(P, Vec<u8>)>,
) -> Result<Splits> {
    let split = |part: &str| {
        let (images_path, images) = file(&format!("{part}-images-idx3-ubyte"))?;
        let (labels_path, labels) = file(&format!("{part}-labels-idx1-ubyte"))?;
        let images = parse(images_path.as_ref(), images, 3)?;
        let labels = parse(labels_path.as_ref(), labels, 1)?;
        let count = images.dims[0];
        if labels.dims[0] != count {
            let expected = format!("{count} labels, one for each image");
            return Err(file::broken(labels_path.as_ref(), 4, expected, labels.dims[0].to_string()));
        }
        let classes = FASHION_CLASSES.len();
        if let Some(i) = labels.data.iter().position(|&label| usize::from(label) >= classes) {
            let expected = format!("a label below {classes}");
            return Err(file::broken(labels_path.as_ref(), 8 + i, expected, labels.data[i].to_string()));
        }
        Ok(Dataset {
            name: name.into(),
            images: images.data,
            labels: labels.data.into_iter().map(u32::from).collect(),
            height: images.dims[1],
            width: images.dims[2],
            channels: 1,
            class_names: FASHION_CLASSES.map(String::from).to_vec(),
            mean: [0.2860; 3],
            std: [0.3530; 3],
        })
    };
    Ok(Splits { train: split("train")?, test: split("t10k")? })
}
