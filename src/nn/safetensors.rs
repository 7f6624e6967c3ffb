//! safetensors files: PyTorch's names and layouts outside, ours inside.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::params::Params;
use super::segments::Segment;
use crate::error::{Error, Result};

/// Saved by PyTorch beside the running statistics; nothing here needs it.
const IGNORED: &str = "num_batches_tracked";

/// A tensor of a file, in the file's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Name.
    pub name: String,
    /// Shape; convolution weights are `[out, in, kh, kw]`, linear weights `[out, in]`.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
}

/// Writes a safetensors file of `f32` tensors, whole or not at all: to a temporary file beside it, synced, then renamed.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[NamedTensor],
    metadata: &HashMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let fail = |e: ::safetensors::SafeTensorError| broken(path, e.to_string());
    let views = tensors
        .iter()
        .map(|t| Ok((&t.name, TensorView::new(Dtype::F32, t.shape.clone(), bytemuck::cast_slice(&t.data))?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    let metadata = (!metadata.is_empty()).then(|| metadata.clone());
    write_atomically(path, &::safetensors::serialize(views, metadata).map_err(fail)?)
}

/// Reads every `f32` tensor of a safetensors file, in name order, and the file's metadata.
///
/// PyTorch's integer counters `num_batches_tracked` are left out.
///
/// # Errors
/// [`Error::Io`], or [`Error::Checkpoint`] if the file is broken or holds another element type.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<(Vec<NamedTensor>, HashMap<String, String>)> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let fail = |e: ::safetensors::SafeTensorError| broken(path, e.to_string());
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(fail)?;
    let file = SafeTensors::deserialize(&bytes).map_err(fail)?;
    let mut tensors = vec![];
    for (name, view) in file.iter() {
        if name.ends_with(IGNORED) {
            continue;
        }
        if view.dtype() != Dtype::F32 {
            return Err(broken(path, format!("tensor {name}: expected F32, found {}", view.dtype())));
        }
        let data = bytemuck::pod_collect_to_vec(view.data());
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

impl Params {
    /// Saves parameters and running statistics under their names, in PyTorch's layouts.
    ///
    /// # Errors
    /// The device's first error, or [`Error::Io`].
    #[cfg(not(target_family = "wasm"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(path, |name| Some(name.to_owned()))
    }

    /// [`save`](Self::save) under other names; where `rename` gives `None`, the tensor is left out.
    ///
    /// `|name| name.strip_prefix("encoder.").map(str::to_owned)` saves an encoder alone, as torchvision names it.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    #[cfg(not(target_family = "wasm"))]
    pub fn save_as(&self, path: impl AsRef<Path>, rename: impl Fn(&str) -> Option<String>) -> Result<()> {
        let mut tensors = vec![];
        for (segments, flat) in
            [(self.segments(), self.flat().to_vec()?), (self.buffer_segments(), self.buffers().to_vec()?)]
        {
            for s in segments {
                if let Some(name) = rename(&s.name) {
                    let data = s.layout.to_file(&s.shape, &flat[s.range()]);
                    tensors.push(NamedTensor { name, shape: s.layout.file_shape(&s.shape), data });
                }
            }
        }
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_safetensors(path, &tensors, &format)
    }

    /// Loads every parameter and running statistic from a file in PyTorch's layouts, or changes nothing.
    ///
    /// Returns the names in the file that this network has no use for (a classifier, for instance).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] if the file is broken, or a tensor is missing or of another shape.
    #[cfg(not(target_family = "wasm"))]
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        self.load_as(path, |name| Some(name.to_owned()))
    }

    /// [`load`](Self::load) from other names; where `rename` gives `None`, the tensor keeps its values.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    #[cfg(not(target_family = "wasm"))]
    pub fn load_as(
        &self,
        path: impl AsRef<Path>,
        rename: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<String>> {
        let path = path.as_ref();
        let (tensors, _) = read_safetensors(path)?;
        let mut unused: HashMap<String, NamedTensor> =
            tensors.into_iter().map(|t| (t.name.clone(), t)).collect();
        let (mut flat, mut buffers) = (self.flat().to_vec()?, self.buffers().to_vec()?);
        for (segments, values) in [(self.segments(), &mut flat), (self.buffer_segments(), &mut buffers)] {
            for segment in segments {
                if let Some(name) = rename(&segment.name) {
                    let found = unused.remove(&name);
                    values[segment.range()].copy_from_slice(&converted(path, segment, &name, found)?);
                }
            }
        }
        self.flat().write(&flat);
        self.buffers().write(&buffers);
        let mut unused: Vec<String> = unused.into_keys().collect();
        unused.sort();
        Ok(unused)
    }
}

/// The values of a segment from the file's tensor, whose shape must fit.
fn converted(path: &Path, segment: &Segment, name: &str, found: Option<NamedTensor>) -> Result<Vec<f32>> {
    let expected = segment.layout.file_shape(&segment.shape);
    match found {
        None => Err(broken(path, format!("tensor {name}: expected {expected:?}, found none of this name"))),
        Some(t) if t.shape != expected => {
            Err(broken(path, format!("tensor {name}: expected {expected:?}, found {:?}", t.shape)))
        }
        Some(t) => Ok(segment.layout.from_file(&segment.shape, &t.data)),
    }
}

fn broken(path: &Path, message: String) -> Error {
    Error::Checkpoint { path: path.to_owned(), message }
}

/// Replaces `path` by `bytes` so that a kill at any moment leaves the old file or the new one, whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let fail = |e| Error::io(path, e);
    let mut file = File::create(&temporary).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    drop(file);
    std::fs::rename(&temporary, path).map_err(fail)?;
    // The rename itself reaches the disk with its directory; where directories cannot be opened there is nothing to do.
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}
