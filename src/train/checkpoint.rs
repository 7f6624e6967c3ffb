//! Checkpoints: a run's tensors, position and configuration, from which it continues bit for bit.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::error::{Error, Result};
use crate::nn::{NamedTensor, Params, Segment, read_safetensors, write_safetensors};
use crate::optim::{LossScaler, Optimizer};
use crate::ssl::Queue;
use crate::tensor::Tensor;

/// File name of the checkpoint in a run directory.
pub(super) const FILE: &str = "checkpoint.safetensors";
/// The only metadata entry, so that equal states make equal files.
const KEY: &str = "wgrad";

/// Position and configuration of a run, in the checkpoint's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Steps done. Schedule, loader and augmentation follow from it.
    pub step: u64,
    /// Philox key of the run: seed and stream.
    pub rng_key: [u32; 2],
    /// Wall-clock time so far.
    pub seconds: f64,
    /// Configuration.
    pub config: Config,
    /// Height, width and channels of the training images.
    pub image: [usize; 3],
    /// Mean and standard deviation of each channel of the training images, which the network saw them normalised by.
    pub normalization: [[f32; 3]; 2],
    /// The measured choices of kernels, which decide the last bits ([`Gpu::tuned`](crate::Gpu::tuned)); none without
    /// `--tune`.
    #[serde(default)]
    pub tuned: BTreeMap<String, String>,
}

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// Position and configuration.
    pub meta: Meta,
    tensors: HashMap<String, NamedTensor>,
}

impl Checkpoint {
    /// Reads a checkpoint file, or that of a run directory.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Checkpoint`] if the file is not one of a run.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let (tensors, metadata) = read_safetensors(&path)?;
        let meta =
            metadata.get(KEY).ok_or("no metadata of a run: weights alone cannot be resumed".to_owned());
        let meta = meta.and_then(|json| serde_json::from_str(json).map_err(|e| format!("metadata: {e}")));
        let meta = meta.map_err(|message| Error::Checkpoint { path: path.clone(), message })?;
        Ok(Self { path, meta, tensors: tensors.into_iter().map(|t| (t.name.clone(), t)).collect() })
    }

    /// The directory it lies in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The tensor of this name, in the file's layout.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name)
    }

    /// Loads the tensors whose names start with `prefix`, such as `"encoder."`, into the parameters and running statistics of
    /// the same names. The other parameters keep their values; tensors without a parameter stay unused.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if one is missing or of another shape; nothing is changed then.
    pub fn load(&self, prefix: &str, params: &Params) -> Result<()> {
        let wanted = |s: &Segment| s.name.starts_with(prefix).then(|| s.name.clone());
        let [weights, statistics] = parts(params);
        let values = [self.laid_out(weights, wanted)?, self.laid_out(statistics, wanted)?];
        weights.1.write(&values[0]);
        statistics.1.write(&values[1]);
        Ok(())
    }

    /// The values of a flat tensor, where `name` gives one replaced by the file's tensor of that name.
    fn laid_out(
        &self,
        (segments, flat): (&[Segment], &Tensor),
        name: impl Fn(&Segment) -> Option<String>,
    ) -> Result<Vec<f32>> {
        let mut values = flat.to_vec()?;
        for s in segments {
            if let Some(name) = name(s) {
                let found = self.values(&name, &s.layout.file_shape(&s.shape))?;
                values[s.range()].copy_from_slice(&s.layout.from_file(&s.shape, found));
            }
        }
        Ok(values)
    }

    /// An error that names the file.
    pub(super) fn error(&self, message: String) -> Error {
        Error::Checkpoint { path: self.path.clone(), message }
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let fail = |found: String| self.error(format!("tensor {name}: expected {shape:?}, found {found}"));
        let tensor = self.tensors.get(name).ok_or_else(|| fail("none of this name".into()))?;
        if tensor.shape == shape { Ok(&tensor.data) } else { Err(fail(format!("{:?}", tensor.shape))) }
    }
}

/// The tensors of a run by name: handles, so they are read and written where they live.
#[derive(Debug)]
pub struct State {
    step: u64,
    networks: Vec<(String, Params)>,
    tensors: Vec<(String, Tensor)>,
    /// The loss scaler's state; its first element, the scale, is logged.
    loss_scale: Option<Tensor>,
}

impl State {
    /// The state of a run at `step`, empty.
    #[must_use]
    pub fn new(step: u64) -> Self {
        Self { step, networks: vec![], tensors: vec![], loss_scale: None }
    }

    /// Adds parameters and running statistics, saved as `prefix` + name in PyTorch's layouts. A teacher is a network too.
    #[must_use]
    pub fn network(mut self, prefix: &str, params: &Params) -> Self {
        self.networks.push((prefix.to_owned(), params.frozen()));
        self
    }

    /// Adds an optimiser's state, saved as `name.` + its names, and on resume tells it the step.
    #[must_use]
    pub fn optimizer(mut self, name: &str, optimizer: &mut dyn Optimizer) -> Self {
        optimizer.set_steps(self.step);
        for (part, tensor) in optimizer.state() {
            self.tensors.push((format!("{name}.{part}"), tensor.clone()));
        }
        self
    }

    /// Adds a queue, saved as `name`, and on resume tells it that `each` rows came with every step.
    #[must_use]
    pub fn queue(self, name: &str, queue: &mut Queue, each: usize) -> Self {
        queue.set_enqueued(self.step * each as u64);
        let rows = queue.rows().clone();
        self.tensor(name, &rows)
    }

    /// Adds tensors, saved as `name.` + their names.
    #[must_use]
    pub fn tensors<'t>(
        self,
        name: &str,
        tensors: impl IntoIterator<Item = (&'static str, &'t Tensor)>,
    ) -> Self {
        let add =
            |state: Self, (part, tensor): (&str, &Tensor)| state.tensor(&format!("{name}.{part}"), tensor);
        tensors.into_iter().fold(self, add)
    }

    /// Adds a loss scaler, saved as `loss_scaler`; its scale is logged. Nothing where it does nothing, in `f32`.
    #[must_use]
    pub fn scaler(mut self, scaler: &LossScaler) -> Self {
        let Some(state) = scaler.state() else { return self };
        self.loss_scale = Some(state.clone());
        self.tensor("loss_scaler", state)
    }

    /// The tensor whose first element is the loss scale, if the run has one.
    pub(super) fn loss_scale(&self) -> Option<&Tensor> {
        self.loss_scale.as_ref()
    }

    /// Adds an `f32` tensor that is written in place: a queue, a bank, a centre.
    #[must_use]
    pub fn tensor(mut self, name: &str, tensor: &Tensor) -> Self {
        self.tensors.push((name.to_owned(), tensor.stop_gradient()));
        self
    }

    /// Writes all of it to `path`, whole or not at all.
    ///
    /// # Errors
    /// The device's first error, or [`Error::Io`].
    pub fn save(&self, path: &Path, meta: &Meta) -> Result<()> {
        let mut tensors = vec![];
        for (prefix, params) in &self.networks {
            for (segments, flat) in parts(params) {
                let flat = flat.to_vec()?;
                tensors.extend(segments.iter().map(|s| NamedTensor {
                    name: format!("{prefix}{}", s.name),
                    shape: s.layout.file_shape(&s.shape),
                    data: s.layout.to_file(&s.shape, &flat[s.range()]),
                }));
            }
        }
        for (name, tensor) in &self.tensors {
            let (shape, data) = (tensor.shape().to_vec(), tensor.to_vec()?);
            tensors.push(NamedTensor { name: name.clone(), shape, data });
        }
        let meta = serde_json::to_string(meta).map_err(|e| Error::Argument(e.to_string()))?;
        write_safetensors(path, &tensors, &HashMap::from([(KEY.to_owned(), meta)]))
    }

    /// Takes every value from a checkpoint, or changes nothing.
    pub(super) fn restore(&self, from: &Checkpoint) -> Result<()> {
        let mut writes = vec![];
        for (prefix, params) in &self.networks {
            for part in parts(params) {
                let values = from.laid_out(part, |s| Some(format!("{prefix}{}", s.name)))?;
                writes.push((part.1, values));
            }
        }
        for (name, tensor) in &self.tensors {
            writes.push((tensor, from.values(name, tensor.shape())?.to_vec()));
        }
        for (tensor, values) in writes {
            tensor.write(&values);
        }
        Ok(())
    }
}

/// Parameters, then running statistics.
fn parts(params: &Params) -> [(&[Segment], &Tensor); 2] {
    [(params.segments(), params.flat()), (params.buffer_segments(), params.buffers())]
}
