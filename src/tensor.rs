//! The tensor: a shape, an element type, a range of a buffer, and maybe a place in a graph.
//!
//! Always contiguous and row-major. Strided views would make every kernel take strides; here `reshape` is free,
//! `transpose` copies, and a kernel can trust flat indices.

use std::fmt;
use std::sync::Arc;

use crate::autograd::{Backward, Node};
use crate::error::{Error, Result};
use crate::gpu::{Bind, Gpu, Grid, Kernel, Readback, Source, Storage, Work, params};
use crate::rng::Rng;
use crate::shape::Shape;

static FILL_SOURCE: Source = Source::new("fill.wgsl", include_str!("../shaders/fill.wgsl"));
static FILL: Kernel = FILL_SOURCE.kernel("fill");
static RANDOM_SOURCE: Source = Source::new("random.wgsl", include_str!("../shaders/random.wgsl"));
static UNIFORM: Kernel = RANDOM_SOURCE.kernel("random_uniform");
static NORMAL: Kernel = RANDOM_SOURCE.kernel("random_normal");

params! {
    struct FillParams { n: u32, value: u32 }
}
params! {
    struct RandomParams { n: u32, draw: u32, seed: u32, stream: u32, a: f32, b: f32 }
}

/// Type of the elements; both take 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 32-bit unsigned integer: indices, labels, masks, packed bytes.
    U32,
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
    /// If the elements are not `f32`.
    #[track_caller]
    #[must_use]
    pub fn requires_grad(&self) -> Tensor {
        assert_eq!(self.dtype, DType::F32, "requires_grad: only f32 tensors have gradients");
        Tensor { node: Some(Node::leaf(self.shape)), ..self.clone() }
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
        Tensor { shape, ..self.stop_gradient() }
            .with_backward("reshape", &[self], &[], move |b| vec![Some(b.dy.reshape(from))])
    }

    /// An output of an op, uninitialised; it holds nothing if memory runs out (the error is sticky).
    #[must_use]
    pub(crate) fn alloc(gpu: &Gpu, op: &str, shape: &Shape, dtype: DType) -> Tensor {
        let storage = if gpu.error().is_some() {
            gpu.poisoned()
        } else {
            gpu.allocate(op, shape.elements()).unwrap_or_else(|error| {
                gpu.latch(error);
                gpu.poisoned()
            })
        };
        Tensor { storage, shape: *shape, dtype, node: None }
    }

    /// A part of `flat` under a shape, sharing its storage. `at` is in elements, a multiple of 64.
    #[must_use]
    pub(crate) fn view(flat: &Tensor, at: usize, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        let storage = if flat.storage.is_poisoned() {
            flat.storage.clone()
        } else {
            flat.storage.range(4 * at as u64, 4 * shape.elements() as u64)
        };
        Tensor { storage, shape, dtype: flat.dtype, node: None }
    }

    /// Puts an op's output into the graph, if any of `parents` is in one.
    ///
    /// `saved` are the tensors the rule needs, kept until backward. The rule gets them and `dy`, and returns one gradient
    /// a parent, never accumulating; a gradient of a shape that the parent was broadcast to is summed by the engine.
    /// The rule must not capture tensors: pass them through `saved`, where writes in place are noticed.
    #[must_use]
    pub fn with_backward(
        self,
        op: &'static str,
        parents: &[&Tensor],
        saved: &[&Tensor],
        backward: impl FnOnce(&Backward<'_>) -> Vec<Option<Tensor>> + Send + 'static,
    ) -> Tensor {
        if parents.iter().all(|p| p.node.is_none()) {
            return self;
        }
        let parents = parents.iter().map(|p| p.node.clone()).collect();
        let node = Node::new(op, self.shape, parents, saved, backward);
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

    /// A tensor like this one, every element `value`.
    #[must_use]
    pub fn full_like(&self, value: f32) -> Tensor {
        let y = Tensor::alloc(self.gpu(), "full_like", &self.shape, DType::F32);
        y.fill_bits(value.to_bits());
        y
    }

    /// A scalar (shape `[]`).
    #[must_use]
    pub(crate) fn scalar(gpu: &Gpu, value: f32) -> Tensor {
        let y = Tensor::alloc(gpu, "scalar", &Shape::new(&[]), DType::F32);
        y.fill_bits(value.to_bits());
        y
    }

    fn fill_bits(&self, value: u32) {
        let n = self.len().div_ceil(4) as u32;
        let work = Work::new(16 * u64::from(n), 0_u64);
        self.gpu().run(&FILL, &[self], &FillParams { n, value }, Grid::items(n), work);
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

    /// The elements on the host; waits for all work before.
    ///
    /// # Errors
    /// The device's first error; [`Error::Poisoned`] if the tensor was made after one.
    ///
    /// # Panics
    /// If the elements are not `f32`.
    #[cfg(not(target_family = "wasm"))]
    #[track_caller]
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        assert_eq!(self.dtype, DType::F32, "to_vec reads f32 tensors; use to_vec_u32");
        self.read().wait().map(|bytes| bytemuck::pod_collect_to_vec(&bytes))
    }

    /// [`Tensor::to_vec`] without blocking the thread.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        assert_eq!(self.dtype, DType::F32, "to_vec_async reads f32 tensors");
        self.read().await.map(|bytes| bytemuck::pod_collect_to_vec(&bytes))
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
        let storage = self.allocate(op, shape.elements())?;
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
