//! The tensor: a shape, an element type, a range of a buffer, and maybe a place in a graph.
//!
//! Always contiguous and row-major. Strided views would make every kernel take strides; here `reshape` is free,
//! `transpose` copies, and a kernel can trust flat indices.

use std::fmt;
use std::sync::Arc;

use half::f16;

use crate::autograd::{Backward, Node};
use crate::error::{Error, Result};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Readback, Source, Storage, Work, params, source};
use crate::rng::Rng;
use crate::shape::Shape;

static FILL_SOURCE: Source = source!("fill.wgsl");
static FILL: Kernel = FILL_SOURCE.kernel("fill");
static RANDOM_SOURCE: Source = source!("random.wgsl");
static UNIFORM: Kernel = RANDOM_SOURCE.kernel("random_uniform");
static NORMAL: Kernel = RANDOM_SOURCE.kernel("random_normal");

params! {
    struct FillParams { n: u32, value: u32 }
}
params! {
    struct RandomParams { n: u32, draw: u32, seed: u32, stream: u32, a: f32, b: f32 }
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

    /// An output of an op, uninitialised; it holds nothing if memory runs out (the error is sticky).
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

    /// Puts an op's output into the graph, if any of `parents` is in one.
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

    /// Says that the storage was written in place: a backward that saved it will panic. Every writer in place calls
    /// this.
    pub(crate) fn mark_written(&self) {
        self.storage.bump_version();
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
        self.gpu().run(&FILL, &[&self.storage], &FillParams { n, value }, Grid::items(n), work);
    }

    /// Replaces the contents, after all work recorded so far.
    ///
    /// # Panics
    /// If `data` has another number of elements, or the elements are not `f32`.
    #[track_caller]
    pub fn write(&self, data: &[f32]) {
        assert!(
            self.dtype == DType::F32 && data.len() == self.len(),
            "write: {} values into {self:?}",
            data.len()
        );
        self.gpu().upload(self, bytemuck::cast_slice(data));
        self.mark_written();
    }

    /// [`Tensor::write`] for `u32` elements.
    ///
    /// # Panics
    /// If `data` has another number of elements, or the elements are not `u32`.
    #[track_caller]
    pub fn write_u32(&self, data: &[u32]) {
        assert!(
            self.dtype == DType::U32 && data.len() == self.len(),
            "write: {} values into {self:?}",
            data.len()
        );
        self.gpu().upload(self, bytemuck::cast_slice(data));
        self.mark_written();
    }

    /// Starts reading the storage as it is now; collect it later with `wait` or `await`.
    pub fn read(&self) -> Readback {
        self.gpu().read(&self.storage)
    }

    /// The elements on the host, `f16` ones widened; waits for all work before.
    ///
    /// # Errors
    /// The device's first error; [`Error::Poisoned`] if the tensor was made after one.
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

impl Gpu {
    fn create(&self, op: &str, shape: Shape, dtype: DType) -> Result<Tensor> {
        if let Some(error) = self.error() {
            return Err(error);
        }
        let storage = self.allocate(op, dtype.words(shape.elements()))?;
        Ok(Tensor { storage, shape, dtype, node: None })
    }

    fn create_from(&self, op: &str, bytes: &[u8], shape: Shape, dtype: DType) -> Result<Tensor> {
        if bytes.len() / 4 != shape.elements() {
            let message =
                format!("{} values for shape {shape} of {} elements", bytes.len() / 4, shape.elements());
            return Err(Error::Shape { op: op.to_owned(), message });
        }
        let tensor = self.create(op, shape, dtype)?;
        self.upload(&tensor, bytes);
        Ok(tensor)
    }

    /// A tensor of `f32` values in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] if their number does not fit; [`Error::TooLarge`], [`Error::OutOfMemory`], or an earlier error
    /// of the device.
    pub fn tensor(&self, data: &[f32], shape: impl Into<Shape>) -> Result<Tensor> {
        self.create_from("tensor", bytemuck::cast_slice(data), shape.into(), DType::F32)
    }

    /// A tensor of `u32` values in row-major order.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn tensor_u32(&self, data: &[u32], shape: impl Into<Shape>) -> Result<Tensor> {
        self.create_from("tensor_u32", bytemuck::cast_slice(data), shape.into(), DType::U32)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn zeros(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.full(shape, 0.0)
    }

    /// A tensor of one value.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn full(&self, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
        let tensor = self.create("full", shape.into(), DType::F32)?;
        tensor.fill_bits(value.to_bits());
        Ok(tensor)
    }

    /// A `u32` tensor of zeros.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn zeros_u32(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let tensor = self.create("zeros_u32", shape.into(), DType::U32)?;
        tensor.fill_bits(0);
        Ok(tensor)
    }

    /// Uniform values in `[low, high)`, made on the device; the same bits as [`Rng`] makes on the CPU.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn uniform(&self, shape: impl Into<Shape>, low: f32, high: f32, rng: &mut Rng) -> Result<Tensor> {
        self.random(&UNIFORM, shape.into(), low, high, rng)
    }

    /// Normal values of this mean and standard deviation, made on the device (Box-Muller).
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn normal(&self, shape: impl Into<Shape>, mean: f32, std: f32, rng: &mut Rng) -> Result<Tensor> {
        self.random(&NORMAL, shape.into(), mean, std, rng)
    }

    fn random(&self, kernel: &Kernel, shape: Shape, a: f32, b: f32, rng: &mut Rng) -> Result<Tensor> {
        let tensor = self.create("random", shape, DType::F32)?;
        let n = tensor.len() as u32;
        let [seed, stream] = rng.key();
        let params = RandomParams { n, draw: rng.next_tensor(), seed, stream, a, b };
        self.run(kernel, &[&tensor], &params, Grid::items(n.div_ceil(4)), Work::new(4 * u64::from(n), 0_u64));
        Ok(tensor)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tensor({:?}, {}{})",
            self.dtype,
            self.shape,
            if self.tracks_grad() { ", tracks grad" } else { "" }
        )
    }
}
