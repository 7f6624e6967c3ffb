//! Buffers, and the pool that a dropped tensor's buffer returns to.
//!
//! All work runs on one queue in recorded order, so a buffer may be handed to later work the moment its tensor is
//! dropped, even while earlier recorded work still reads it. Sizes are rounded up to classes, four to an octave, so that
//! a buffer fits its next use. Free lists are stacks: a training step asks for the same sizes in the same order and gets
//! the same buffers, so its cached bind groups hit.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::Gpu;

/// Bytes held on a device, as the pool counts them (size classes, not payload).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by tensors.
    pub live: u64,
    /// Kept for reuse.
    pub pooled: u64,
    /// The highest `live` so far (since [`Gpu::reset_peak`]).
    pub peak: u64,
}

/// A wgpu buffer with the facts that outlive one tensor.
#[derive(Debug)]
pub(super) struct RawBuffer {
    pub(super) id: u64,
    pub(super) wgpu: wgpu::Buffer,
    /// Size class in bytes.
    pub(super) class: u64,
    /// The recording (see `Recorder::epoch`) that last used it.
    pub(super) touched: AtomicU64,
}

/// What a tensor owns: a buffer that goes back to the pool when dropped. Without `raw` it is poisoned.
#[derive(Debug)]
pub(crate) struct Buffer {
    raw: Option<RawBuffer>,
    gpu: Gpu,
    writes: Mutex<Writes>,
}

impl Buffer {
    pub(super) fn new(gpu: Gpu, raw: Option<RawBuffer>) -> Self {
        Self { raw, gpu, writes: Mutex::default() }
    }
}

/// Which bytes of a buffer were last written when, counted in writes: what tells [`crate::autograd`] that a saved tensor was
/// written in place. By range, because the parameters of a model share one buffer and so do its running statistics: a write
/// to one of them is none to the others.
#[derive(Debug, Default)]
struct Writes {
    /// Number of writes.
    count: u64,
    /// What the newest one wrote. Most buffers are only ever written whole, and need no list.
    newest: Range<u64>,
    /// Ranges written before, none of them inside a newer one, each with the number of its last write.
    older: Vec<(Range<u64>, u64)>,
}

impl Writes {
    /// Older ranges kept; more become one.
    const MOST: usize = 1024;

    fn add(&mut self, bytes: Range<u64>) {
        let before = std::mem::replace(&mut self.newest, bytes.clone());
        if self.older.len() == Self::MOST {
            let all = self
                .older
                .iter()
                .fold(before.clone(), |all, (r, _)| all.start.min(r.start)..all.end.max(r.end));
            self.older.clear();
            self.older.push((all, self.count));
        } else if !before.is_empty() {
            self.older.push((before, self.count));
        }
        self.older.retain(|(old, _)| old.start < bytes.start || old.end > bytes.end);
        self.count += 1;
    }

    /// Number of the last write that met `bytes`; 0 if none did.
    fn last(&self, bytes: &Range<u64>) -> u64 {
        let meets = |old: &Range<u64>| old.start < bytes.end && bytes.start < old.end;
        if meets(&self.newest) {
            return self.count;
        }
        self.older.iter().filter(|(old, _)| meets(old)).map(|(_, number)| *number).max().unwrap_or(0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.gpu.release(raw);
        }
    }
}

/// A byte range of a buffer: what a kernel binds. Starts at a multiple of 256 bytes.
#[derive(Debug, Clone)]
pub struct Storage {
    pub(super) buffer: Arc<Buffer>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Storage {
    /// The device it lives on.
    pub(crate) fn gpu(&self) -> &Gpu {
        &self.buffer.gpu
    }

    pub(super) fn raw(&self) -> Option<&RawBuffer> {
        self.buffer.raw.as_ref()
    }

    /// A part of this range, in bytes relative to it.
    pub(crate) fn range(&self, offset: u64, bytes: u64) -> Storage {
        assert!(offset + bytes <= self.bytes, "range {offset}+{bytes} of {} bytes", self.bytes);
        assert_eq!((self.offset + offset) % 256, 0, "a storage range starts at a multiple of 256 bytes");
        Storage { buffer: Arc::clone(&self.buffer), offset: self.offset + offset, bytes }
    }

    /// Whether both are ranges of one buffer.
    pub(super) fn shares_buffer(&self, other: &Storage) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Whether the ranges have a byte in common.
    pub(super) fn overlaps(&self, other: &Storage) -> bool {
        let before = |a: &Storage, b: &Storage| a.offset + a.bytes <= b.offset;
        self.shares_buffer(other) && !before(self, other) && !before(other, self)
    }

    /// A number that changes whenever a byte of this range is written. A launch, a copy and an upload count their writes
    /// themselves when they are recorded.
    pub(crate) fn version(&self) -> u64 {
        self.writes().last(&(self.offset..self.offset + self.bytes))
    }

    /// Counts a write to `bytes` bytes from `at`, relative to this range.
    pub(super) fn count_write(&self, at: u64, bytes: u64) {
        if bytes > 0 {
            self.writes().add(self.offset + at..self.offset + at + bytes);
        }
    }

    fn writes(&self) -> std::sync::MutexGuard<'_, Writes> {
        self.buffer.writes.lock().expect("no panic while counting")
    }

    /// Whether it holds nothing: made after an error.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.buffer.raw.is_none()
    }
}

/// Something a kernel can bind: a tensor.
pub trait Bind {
    /// Its range of a buffer.
    fn storage(&self) -> &Storage;

    /// Whether its elements are f16; such a tensor takes the kernel's f16 text.
    fn is_half(&self) -> bool {
        false
    }
}

impl Bind for Storage {
    fn storage(&self) -> &Storage {
        self
    }
}

/// Free buffers by size class, and the counts.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: HashMap<u64, Vec<RawBuffer>>,
    next_id: u64,
    pub(super) memory: Memory,
}

impl Pool {
    /// Bytes rounded up to a size class: 256 bytes at least, then four classes an octave.
    pub(super) fn class(bytes: u64) -> u64 {
        let bytes = bytes.max(256);
        let step = (bytes.next_power_of_two() / 8).max(256);
        bytes.next_multiple_of(step)
    }

    /// A free buffer of the class, if there is one.
    pub(super) fn take(&mut self, class: u64) -> Option<RawBuffer> {
        let raw = self.free.get_mut(&class)?.pop()?;
        self.memory.pooled -= class;
        self.count_live(class);
        Some(raw)
    }

    /// Takes a new buffer into the books.
    pub(super) fn adopt(&mut self, wgpu: wgpu::Buffer, class: u64) -> RawBuffer {
        self.next_id += 1;
        self.count_live(class);
        RawBuffer { id: self.next_id, wgpu, class, touched: AtomicU64::new(0) }
    }

    fn count_live(&mut self, class: u64) {
        self.memory.live += class;
        self.memory.peak = self.memory.peak.max(self.memory.live);
    }

    /// Puts a buffer back.
    pub(super) fn put(&mut self, raw: RawBuffer) {
        self.memory.live -= raw.class;
        self.memory.pooled += raw.class;
        self.free.entry(raw.class).or_default().push(raw);
    }

    /// Frees every pooled buffer; returns whether there was one.
    pub(super) fn trim(&mut self) -> bool {
        self.memory.pooled = 0;
        let had = self.free.values().any(|list| !list.is_empty());
        self.free.clear();
        had
    }
}

#[cfg(test)]
mod tests {
    use super::{Pool, Writes};

    #[test]
    fn a_write_changes_the_version_of_what_it_meets_and_of_no_more() {
        let mut writes = Writes::default();
        let (a, b, all) = (0..256, 256..512, 0..512);
        assert_eq!([&a, &b, &all].map(|r| writes.last(r)), [0, 0, 0]);
        writes.add(a.clone());
        assert_eq!([&a, &b, &all].map(|r| writes.last(r)), [1, 0, 1]);
        writes.add(b.clone());
        assert_eq!([&a, &b, &all].map(|r| writes.last(r)), [1, 2, 2]);
        writes.add(200..300);
        assert_eq!([&a, &b, &all].map(|r| writes.last(r)), [3, 3, 3]);
        assert_eq!([writes.last(&(0..200)), writes.last(&(300..512))], [1, 2]);
        writes.add(all.clone());
        assert_eq!([&a, &b, &all].map(|r| writes.last(r)), [4, 4, 4]);
        assert_eq!(writes.older.len(), 0, "what a newer write covers is forgotten");
    }

    /// Ranges that never cover each other do not pile up; each write still changes the version of its bytes.
    #[test]
    fn the_record_of_writes_stays_short() {
        let mut writes = Writes::default();
        for i in 0..10_000 {
            let range = 4 * i..4 * i + 6;
            let before = writes.last(&range);
            writes.add(range.clone());
            assert!(writes.last(&range) > before && writes.older.len() <= Writes::MOST);
        }
    }

    #[test]
    fn classes_waste_little_and_are_ordered() {
        let mut last = 0;
        for bytes in 1..100_000 {
            let class = Pool::class(bytes);
            assert!(class >= bytes && class >= last && class.is_multiple_of(256));
            assert!(class <= bytes.max(256) + (bytes / 4).max(256), "{bytes} -> {class}");
            last = class;
        }
    }
}
