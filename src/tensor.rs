//! The tensor: a shape, an element type, a range of a buffer, and maybe a place in a graph.
//!
//! Always contiguous and row-major. Strided views would make every kernel take strides; here `reshape` is free,
//! `transpose` copies, and a kernel can trust flat indices.

mod create;
mod debug;

use std::sync::Arc;

use half::f16;

use crate::autograd::{Backward, Node};
use crate::error::Result;
use crate::gpu::{Bind, Gpu, Grid, Kernel, Readback, Source, Storage, Work, source, uniforms};
use crate::shape::Shape;

static FILL_SOURCE: Source = source!("fill.wgsl");
static FILL: Kernel = FILL_SOURCE.kernel("fill");

uniforms! {
    struct FillUniforms { n: u32, value: u32 }
}

/// Type of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float, as activations are stored in mixed precision; arithmetic on it is f32. Made by [`Tensor::cast`] where
    /// the adapter has it ([`AdapterInfo::f16`](crate::gpu::AdapterInfo::f16)).
    F16,
    /// 32-bit unsigned integer: indices, labels, masks, packed bytes.
    U32,
}

impl DType {
    /// Bytes an element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }

    /// Whether it is a float.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// 4-byte words that `elements` take: f16 values lie two in a word, and the last word of an odd number is half used.
    fn words(self, elements: usize) -> usize {
        (elements * self.size()).div_ceil(4)
    }
}

/// A multi-dimensional array on a [`Gpu`]: a cheap clone of shared storage, contiguous and row-major.
///
/// Shape misuse panics with the op's name and every shape. Errors of the device are sticky (see [`Gpu`]): ops return
/// tensors that hold nothing, and the next read returns the first error.
///
/// `{:?}` shows element type, shape and values, of more than 1000 elements the first and last three along each axis. For
/// that it reads them, so it waits for all work before; of a tensor that cannot be read it shows the error. `{}` shows type
/// and shape alone, and reads nothing.
#[derive(Clone)]
pub struct Tensor {
    storage: Storage,
    shape: Shape,
    dtype: DType,
    node: Option<Arc<Node>>,
}

impl Bind for Tensor {
    fn storage(&self) -> &Storage {
        &self.storage
    }

    fn is_half(&self) -> bool {
        self.dtype == DType::F16
    }
}

impl Tensor {
    /// The shape; derefs to `[usize]`.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.elements()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all elements, as a launch's [`Work`] counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device it lives on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        self.storage.gpu()
    }

    /// Whether ops on it are recorded for [`Tensor::backward`].
    #[must_use]
    pub fn tracks_grad(&self) -> bool {
        self.node.is_some()
    }

    /// The same storage as a leaf: gradients with respect to the returned tensor can be asked for.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    #[must_use]
    pub fn requires_grad(&self) -> Tensor {
        assert!(self.dtype.is_float(), "requires_grad: only f32 and f16 tensors have gradients");
        Tensor { node: Some(Node::leaf(self.shape, self.dtype)), ..self.clone() }
    }

    /// The same storage without a graph: a constant to everything that follows. PyTorch's `detach`.
    #[doc(alias = "detach")]
    #[must_use]
    pub fn stop_gradient(&self) -> Tensor {
        Tensor { node: None, ..self.clone() }
    }

    /// The same elements under another shape; free. Gradient: the same, reshaped back.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    #[must_use]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert_eq!(self.len(), shape.elements(), "reshape: {} to {shape}", self.shape);
        let from = self.shape;
        let dtype = self.node.as_ref().map_or(self.dtype, |node| node.dtype());
        let rule = move |b: &Backward<'_>| vec![Some(b.dy.reshape(from))];
        Tensor { shape, ..self.stop_gradient() }.with_backward_of(dtype, "reshape", &[self], &[], rule)
    }

    /// The output of an op of your own, for a kernel to write all of. Its elements are whatever the pool's buffer had: it is
    /// not zeroed.
    ///
    /// As in the ops of this crate, what goes wrong (no memory, a size over the adapter's limits) becomes the device's first
    /// error, which names `op`, and the tensor holds nothing. [`Gpu::empty`] returns the error.
    #[must_use]
    pub fn empty(gpu: &Gpu, op: &str, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        Tensor::alloc(gpu, op, &shape.into(), dtype)
    }

    /// [`Tensor::empty`] of this one's device, shape and element type.
    #[must_use]
    pub fn empty_like(&self) -> Tensor {
        Tensor::alloc(self.gpu(), "empty_like", &self.shape, self.dtype)
    }

    /// [`Tensor::empty`] for the ops of this crate, which have their shape at hand.
    #[must_use]
    pub(crate) fn alloc(gpu: &Gpu, op: &str, shape: &Shape, dtype: DType) -> Tensor {
        let storage = if gpu.error().is_some() {
            gpu.poisoned()
        } else {
            gpu.allocate(op, dtype.words(shape.elements())).unwrap_or_else(|error| {
                gpu.latch(error);
                gpu.poisoned()
            })
        };
        Tensor { storage, shape: *shape, dtype, node: None }
    }

    /// A part of `flat` under a shape, sharing its storage. `at` is in elements and starts a multiple of 256 bytes.
    #[must_use]
    pub(crate) fn view(flat: &Tensor, at: usize, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let storage = if flat.storage.is_poisoned() {
            flat.storage.clone()
        } else {
            let bytes = 4 * flat.dtype.words(shape.elements());
            flat.storage.range((at * flat.dtype.size()) as u64, bytes as u64)
        };
        Tensor { storage, shape, dtype: flat.dtype, node: None }
    }

    /// Puts an op's output into the graph, if any of `parents` is in one: the last line of an op, and how one of your own takes
    /// part in [`Tensor::backward`]. `examples/04_own_op.rs` shows it.
    ///
    /// Called after the launches that write the output and the saved tensors, since a later write to one of those is a mistake
    /// that backward panics about, naming `op`.
    ///
    /// `saved` are the tensors the rule needs, kept until backward. The rule gets them and `dy`, and returns one gradient
    /// a parent, never accumulating; a gradient of a shape that the parent was broadcast to is summed by the engine, and
    /// one of another float type is cast to the parent's ([`Backward::dtype`]).
    /// The rule must not capture tensors: pass them through `saved`, where writes in place are noticed.
    #[must_use]
    pub fn with_backward(
        self,
        op: &'static str,
        parents: &[&Tensor],
        saved: &[&Tensor],
        backward: impl FnOnce(&Backward<'_>) -> Vec<Option<Tensor>> + Send + 'static,
    ) -> Tensor {
        let dtype = self.dtype;
        self.with_backward_of(dtype, op, parents, saved, backward)
    }

    /// [`Tensor::with_backward`] for a tensor whose gradient is not of its own type: the rule gets `dy` as `dtype`.
    #[must_use]
    pub(crate) fn with_backward_of(
        self,
        dtype: DType,
        op: &'static str,
        parents: &[&Tensor],
        saved: &[&Tensor],
        backward: impl FnOnce(&Backward<'_>) -> Vec<Option<Tensor>> + Send + 'static,
    ) -> Tensor {
        if parents.iter().all(|p| p.node.is_none()) {
            return self;
        }
        let parents = parents.iter().map(|p| p.node.clone()).collect();
        let node = Node::new(op, (self.shape, dtype), parents, saved, backward);
        Tensor { node: Some(node), ..self }
    }

    pub(crate) fn version(&self) -> u64 {
        self.storage.version()
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// A tensor like this one (`f32` where this has integers), every element `value`.
    #[must_use]
    pub fn full_like(&self, value: f32) -> Tensor {
        let dtype = if self.dtype == DType::F16 { DType::F16 } else { DType::F32 };
        Tensor::filled(self.gpu(), "full_like", &self.shape, dtype, value)
    }

    /// An output of an op, every element `value`.
    #[must_use]
    pub(crate) fn filled(gpu: &Gpu, op: &str, shape: &Shape, dtype: DType, value: f32) -> Tensor {
        let y = Tensor::alloc(gpu, op, shape, dtype);
        y.fill_bits(match dtype {
            DType::F16 => u32::from(f16::from_f32(value).to_bits()) * 0x0001_0001,
            DType::F32 | DType::U32 => value.to_bits(),
        });
        y
    }

    /// A scalar (shape `[]`).
    #[must_use]
    pub(crate) fn scalar(gpu: &Gpu, value: f32) -> Tensor {
        Tensor::filled(gpu, "scalar", &Shape::new(&[]), DType::F32, value)
    }

    /// Writes `value` to every 4-byte word.
    fn fill_bits(&self, value: u32) {
        let n = self.dtype.words(self.len()).div_ceil(4) as u32;
        let work = Work::new(16 * u64::from(n), 0_u64);
        self.gpu().run(&FILL, &[&self.storage], &FillUniforms { n, value }, Grid::items(n), work);
    }

    /// Replaces the contents, after all work recorded so far.
    ///
    /// # Panics
    /// If `data` has another number of elements, or the elements are not `f32`.
    #[track_caller]
    pub fn write(&self, data: &[f32]) {
        assert!(
            self.dtype == DType::F32 && data.len() == self.len(),
            "write: {} values into {self}",
            data.len()
        );
        self.gpu().upload(self, bytemuck::cast_slice(data));
    }

    /// [`Tensor::write`] for `u32` elements.
    ///
    /// # Panics
    /// If `data` has another number of elements, or the elements are not `u32`.
    #[track_caller]
    pub fn write_u32(&self, data: &[u32]) {
        assert!(
            self.dtype == DType::U32 && data.len() == self.len(),
            "write: {} values into {self}",
            data.len()
        );
        self.gpu().upload(self, bytemuck::cast_slice(data));
    }

    /// Starts reading the storage as it is now; collect it later with `wait` or `await`.
    pub fn read(&self) -> Readback {
        self.gpu().read(&self.storage)
    }

    /// The elements on the host, `f16` ones widened; waits for all work before.
    ///
    /// # Errors
    /// The device's first error; [`Error::Poisoned`](crate::Error::Poisoned) if the tensor was made after one.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[cfg(not(target_family = "wasm"))]
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        assert!(self.dtype.is_float(), "to_vec reads f32 and f16 tensors; use to_vec_u32");
        self.read().wait().map(|bytes| self.widen(&bytes))
    }

    /// 4-byte words that the elements take.
    pub(crate) fn words(&self) -> usize {
        self.dtype.words(self.len())
    }

    fn widen(&self, bytes: &[u8]) -> Vec<f32> {
        if self.dtype == DType::F32 {
            return bytemuck::pod_collect_to_vec(bytes);
        }
        let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
        halves[..self.len()].iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
    }

    /// [`Tensor::to_vec`] without blocking the thread.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        assert!(self.dtype.is_float(), "to_vec_async reads f32 and f16 tensors");
        self.read().await.map(|bytes| self.widen(&bytes))
    }

    /// The `u32` elements on the host.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    ///
    /// # Panics
    /// If the elements are not `u32`.
    #[cfg(not(target_family = "wasm"))]
    #[track_caller]
    pub fn to_vec_u32(&self) -> Result<Vec<u32>> {
        assert_eq!(self.dtype, DType::U32, "to_vec_u32 reads u32 tensors; use to_vec");
        self.read().wait().map(|bytes| bytemuck::pod_collect_to_vec(&bytes))
    }

    /// The only element of a one-element tensor.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    ///
    /// # Panics
    /// If there is not exactly one element.
    #[cfg(not(target_family = "wasm"))]
    #[track_caller]
    pub fn item(&self) -> Result<f32> {
        assert_eq!(self.len(), 1, "item: shape {} has not one element", self.shape);
        self.to_vec().map(|v| v[0])
    }
}
