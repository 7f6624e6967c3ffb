//! Files, gzipped or not, and what is wrong with them.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// A fault in a file's content, at a byte of the unpacked content.
pub(super) fn broken(
    path: &Path,
    offset: usize,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Error {
    Error::Data {
        path: path.to_owned(),
        offset: offset as u64,
        expected: expected.into(),
        found: found.into(),
    }
}

/// The content of a file, unpacked where it is gzipped.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    unpack(path, std::fs::read(path).map_err(|e| Error::io(path, e))?)
}

/// Unpacks what starts as gzip does, and leaves the rest as it is: the content decides, not the name.
pub(super) fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut content = Vec::with_capacity(bytes.len() * 2);
    match MultiGzDecoder::new(&bytes[..]).read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(e) => Err(broken(path, content.len(), "gzip data that unpacks to its end", e.to_string())),
    }
}

/// `dir/name` or `dir/name.gz`, whichever is there.
pub(super) fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [dir.join(name), dir.join(format!("{name}.gz"))];
    if let Some(path) = candidates.iter().find(|path| path.is_file()) {
        return Ok(path.clone());
    }
    Err(missing(&candidates[0], &format!("no such file, nor {name}.gz beside it")))
}

/// What should be at `path` is not there.
pub(super) fn missing(path: &Path, message: &str) -> Error {
    Error::io(path, std::io::Error::new(std::io::ErrorKind::NotFound, message))
}

/// The entries of a directory, sorted by name.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(|e| Error::io(dir, e))?;
    paths.sort();
    Ok(paths)
}
