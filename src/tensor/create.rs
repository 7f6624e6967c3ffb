//! Tensors from host values, constants and random numbers.

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Grid, Kernel, Source, Work, source, uniforms};
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("random.wgsl");
static UNIFORM: Kernel = SOURCE.kernel("random_uniform");
static NORMAL: Kernel = SOURCE.kernel("random_normal");

uniforms! {
    struct RandomUniforms { n: u32, draw: u32, seed: u32, stream: u32, a: f32, b: f32 }
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

    /// An uninitialised `f32` tensor, for a kernel to write all of: its elements are whatever the pool's buffer had.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn empty(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.create("empty", shape.into(), DType::F32)
    }

    /// [`Gpu::empty`] of `f16`. Every kernel refuses it where the adapter has no f16
    /// ([`AdapterInfo::f16`](crate::gpu::AdapterInfo::f16)).
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn empty_f16(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.create("empty_f16", shape.into(), DType::F16)
    }

    /// [`Gpu::empty`] of `u32`.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn empty_u32(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.create("empty_u32", shape.into(), DType::U32)
    }

    /// Uniform values in `[low, high)`, made on the device; the same bits as [`Rng`] makes on the CPU. All are `low` where
    /// the two are equal.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    ///
    /// # Panics
    /// If `low > high`, or `high - low` is not finite.
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, low: f32, high: f32, rng: &mut Rng) -> Result<Tensor> {
        let fits = low <= high && (high - low).is_finite();
        assert!(fits, "uniform: no values from low {low} to high {high}");
        self.random(&UNIFORM, shape.into(), low, high, rng)
    }

    /// Normal values of this mean and standard deviation, made on the device (Box-Muller).
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    ///
    /// # Panics
    /// If `std` is negative, or one of the two is not finite.
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, mean: f32, std: f32, rng: &mut Rng) -> Result<Tensor> {
        let fits = mean.is_finite() && std >= 0.0 && std.is_finite();
        assert!(fits, "normal: no values of mean {mean} and standard deviation {std}");
        self.random(&NORMAL, shape.into(), mean, std, rng)
    }

    fn random(&self, kernel: &Kernel, shape: Shape, a: f32, b: f32, rng: &mut Rng) -> Result<Tensor> {
        let tensor = self.create("random", shape, DType::F32)?;
        let n = tensor.len() as u32;
        let [seed, stream] = rng.key();
        let uniforms = RandomUniforms { n, draw: rng.next_tensor(), seed, stream, a, b };
        self.run(
            kernel,
            &[&tensor],
            &uniforms,
            Grid::items(n.div_ceil(4)),
            Work::new(4 * u64::from(n), 0_u64),
        );
        Ok(tensor)
    }
}
