//! Embeddings as a file for other programs: safetensors, CSV or NPY.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::run_dir::write_atomic;
use crate::error::{Error, Result};

/// A row of numbers an image, and what is known of the image.
#[derive(Debug, Clone, Copy)]
pub struct Embeddings<'a> {
    /// `[n, dims]`, row-major.
    pub values: &'a [f32],
    /// Numbers in a row.
    pub dims: usize,
    /// One name a row.
    pub names: &'a [String],
    /// One class a row; not written where `class_names` is empty.
    pub labels: &'a [u32],
    /// One name a class.
    pub class_names: &'a [String],
}

impl Embeddings<'_> {
    /// Whether [`write`](Self::write) knows the file's ending; to be asked before the work is done.
    ///
    /// # Errors
    /// [`Error::Argument`] in one line.
    pub fn check(path: &Path) -> Result<()> {
        match ending(path).as_str() {
            "safetensors" | "csv" | "npy" => Ok(()),
            _ => {
                let path = path.display();
                Err(Error::Argument(format!("--out {path}: must end in .safetensors, .csv or .npy")))
            }
        }
    }

    /// Writes the file that `path` ends in, whole or not at all:
    ///
    /// - `.safetensors`: `embeddings` f32 `[n, dims]`; `labels` i64 `[n]` where known; metadata `images`, a JSON object with
    ///   the lists `names` and, where known, `classes`.
    /// - `.csv`: columns `name`, `label` (the class's name, empty where not known), `e0`, `e1`, ...; the numbers read back to
    ///   the same bits.
    /// - `.npy`: the matrix, version 1.0, and beside it a `.txt` of the same name with a line a row: the name, and after a
    ///   tab the class's name where known.
    ///
    /// # Errors
    /// As [`check`](Self::check), or [`Error::Io`].
    ///
    /// # Panics
    /// If names or labels are not one a row.
    #[track_caller]
    pub fn write(&self, path: &Path) -> Result<()> {
        Self::check(path)?;
        let rows = self.names.len();
        assert!(
            self.values.len() == rows * self.dims && self.labels.len() == rows,
            "Embeddings: {} values of {} dimensions, {rows} names, {} labels",
            self.values.len(),
            self.dims,
            self.labels.len()
        );
        match ending(path).as_str() {
            "safetensors" => write_atomic(path, &self.safetensors()?),
            "csv" => write_atomic(path, self.csv().as_bytes()),
            _ => {
                write_atomic(&path.with_extension("txt"), self.lines().as_bytes())?;
                write_atomic(path, &self.npy())
            }
        }
    }

    /// The name of row `i`'s class.
    fn class(&self, i: usize) -> Option<&str> {
        self.class_names.get(self.labels[i] as usize).map(String::as_str)
    }

    fn safetensors(&self) -> Result<Vec<u8>> {
        let labels: Vec<i64> = self.labels.iter().map(|&label| label.into()).collect();
        let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(message);
        let rows = self.names.len();
        let values = view(Dtype::F32, vec![rows, self.dims], bytemuck::cast_slice(self.values))?;
        let labels = view(Dtype::I64, vec![rows], bytemuck::cast_slice(&labels))?;
        let (mut tensors, mut images) =
            (vec![("embeddings", values)], BTreeMap::from([("names", self.names)]));
        if !self.class_names.is_empty() {
            tensors.push(("labels", labels));
            images.insert("classes", self.class_names);
        }
        // One entry, so that equal rows make equal files.
        let images = serde_json::to_string(&images).map_err(message)?;
        safetensors::serialize(tensors, Some(HashMap::from([("images".to_owned(), images)]))).map_err(message)
    }

    fn csv(&self) -> String {
        let mut text = "name,label".to_owned();
        for i in 0..self.dims {
            let _ = write!(text, ",e{i}"); // a String takes all
        }
        text.push('\n');
        for (i, (name, row)) in self.names.iter().zip(self.values.chunks(self.dims)).enumerate() {
            text += &quoted(name);
            text.push(',');
            text += &quoted(self.class(i).unwrap_or_default());
            for value in row {
                let _ = write!(text, ",{value}");
            }
            text.push('\n');
        }
        text
    }

    /// NumPy's format, version 1.0: magic, version, length of the header, the header as a Python literal padded with spaces
    /// so that the numbers start at a multiple of 64, the numbers.
    fn npy(&self) -> Vec<u8> {
        const BEFORE: usize = 10;
        let shape = (self.names.len(), self.dims);
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape:?}, }}");
        let length = (BEFORE + header.len() + 1).next_multiple_of(64) - BEFORE;
        header = format!("{header:<0$}\n", length - 1);
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for (i, name) in self.names.iter().enumerate() {
            text += name;
            if let Some(class) = self.class(i) {
                text.push('\t');
                text += class;
            }
            text.push('\n');
        }
        text
    }
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn message(error: impl std::fmt::Display) -> Error {
    Error::Argument(error.to_string())
}

/// A cell of a CSV file (RFC 4180).
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
