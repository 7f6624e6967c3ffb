//! Compiles pipelines beside the recording: on threads of its own, and through wgpu's pipeline cache, which is kept on disk.
//!
//! A first training step meets dozens of kernels. The recorder goes on behind a launch whose pipeline is not there yet and
//! waits when it submits, so that the kernels of a step compile side by side.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::{fs, thread};

use super::{disk, trust};

type Job = Box<dyn FnOnce(Option<&wgpu::PipelineCache>) + Send>;

/// A pipeline that is being compiled, or is there. `None` inside: the compiler panicked.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline(Arc<OnceLock<Option<wgpu::ComputePipeline>>>);

impl Pipeline {
    /// Whether [`Pipeline::wait`] returns at once.
    pub(super) fn is_ready(&self) -> bool {
        self.0.get().is_some()
    }

    /// The pipeline, when it is there.
    ///
    /// # Panics
    /// If its compiler did.
    pub(super) fn wait(&self) -> &wgpu::ComputePipeline {
        self.0.wait().as_ref().expect("the thread that compiled a kernel said why it panicked")
    }
}

/// Sets the cell however the job ends, so that nobody waits forever.
struct Promise(Pipeline);

impl Drop for Promise {
    fn drop(&mut self) {
        let _ = self.0.0.set(None);
    }
}

/// The threads of one device and its pipeline cache.
pub(super) struct Compiler {
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<thread::JoinHandle<()>>,
    cache: Arc<Cache>,
}

/// wgpu's pipeline cache and its file. Drivers without one (DX12, Metal keep their own) have neither.
#[derive(Default)]
struct Cache {
    wgpu: Option<wgpu::PipelineCache>,
    file: Option<PathBuf>,
    /// Hash of the file when it was read.
    read: u64,
    compiled: AtomicUsize,
}

impl Compiler {
    /// For `device` on the adapter that `info` describes; the cache's file is in `folder`.
    pub(super) fn new(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: Option<PathBuf>) -> Self {
        let cache = Arc::new(Cache::open(device, info, folder));
        if cfg!(target_family = "wasm") {
            return Self { jobs: None, threads: vec![], cache };
        }
        let (jobs, inbox) = mpsc::channel::<Job>();
        let inbox = Arc::new(Mutex::new(inbox));
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let spawn = |_| {
            let (inbox, cache) = (Arc::clone(&inbox), Arc::clone(&cache));
            let work = move || {
                loop {
                    // The lock is free again before the job runs. Without senders there is no further job.
                    let job = inbox.lock().map(|inbox| inbox.recv());
                    let Ok(Ok(job)) = job else { return };
                    job(cache.wgpu.as_ref());
                    cache.compiled.fetch_add(1, Ordering::Relaxed);
                }
            };
            thread::Builder::new().name("wgrad compiler".into()).spawn(work).ok()
        };
        let threads: Vec<_> = (0..threads).filter_map(spawn).collect();
        Self { jobs: (!threads.is_empty()).then_some(jobs), threads, cache }
    }

    /// Starts compiling; `compile` gets the cache.
    pub(super) fn start(
        &self,
        compile: impl FnOnce(Option<&wgpu::PipelineCache>) -> wgpu::ComputePipeline + Send + 'static,
    ) -> Pipeline {
        let pipeline = Pipeline::default();
        let promise = Promise(pipeline.clone());
        let job = move |cache: Option<&wgpu::PipelineCache>| {
            let _ = promise.0.0.set(Some(compile(cache)));
        };
        match &self.jobs {
            Some(jobs) => jobs.send(Box::new(job)).expect("the threads outlive the sender"),
            None => job(self.cache.wgpu.as_ref()),
        }
        pipeline
    }
}

impl Drop for Compiler {
    /// Lets the threads end, and keeps the cache.
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.cache.save();
    }
}

impl Cache {
    fn open(device: &wgpu::Device, info: &wgpu::AdapterInfo, folder: Option<PathBuf>) -> Self {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Self::default();
        }
        let file = folder.map(|folder| folder.join(format!("pipelines-{:016x}", key(info))));
        let data = file.as_ref().and_then(|file| unseal(fs::read(file).ok()?));
        let read = data.as_ref().map_or(0, disk::hash);
        let wgpu = trust::pipeline_cache(device, data.as_deref());
        Self { wgpu: Some(wgpu), file, read, compiled: AtomicUsize::new(0) }
    }

    /// Writes the file, if anything was compiled. A folder that cannot be written costs time at the next start and no more.
    fn save(&self) {
        let (Some(wgpu), Some(file)) = (&self.wgpu, &self.file) else { return };
        if self.compiled.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(data) = wgpu.get_data().filter(|data| disk::hash(data) != self.read)
            && let Err(error) = disk::replace(file, &seal(data))
        {
            log::debug!("{}: {error}", file.display());
        }
    }
}

/// Names the file: adapter, driver and its version, and this crate's.
fn key(info: &wgpu::AdapterInfo) -> u64 {
    let who = (&info.name, info.vendor, info.device, info.backend as u8);
    disk::hash((who, &info.driver, &info.driver_info, env!("CARGO_PKG_VERSION")))
}

/// The data with its checksum at the end.
fn seal(mut data: Vec<u8>) -> Vec<u8> {
    let sum = disk::hash(&data);
    data.extend(sum.to_le_bytes());
    data
}

/// The data of a sealed file; `None` if it was cut or changed.
fn unseal(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let sum = file.split_off(file.len().checked_sub(8)?);
    (disk::hash(&file).to_le_bytes() == sum[..]).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn a_changed_file_is_refused() {
        let sealed = seal(b"pipelines".to_vec());
        assert_eq!(unseal(sealed.clone()), Some(b"pipelines".to_vec()));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(unseal(changed), None);
            assert_eq!(unseal(sealed[..at].to_vec()), None);
        }
    }
}
