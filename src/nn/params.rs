//! The weights of a network: one flat buffer, and a second one for running statistics.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::precision::Precision;
use super::segments::{BufferId, ParamId, Segment, SegmentTable};
use crate::autograd::{Backward, Gradients};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor};

/// Parameters and buffers of a network, made by [`ParamBuilder::finish`](super::ParamBuilder::finish).
///
/// All parameters lie in one flat `f32` tensor, each a range that starts at a multiple of 128 elements (512 bytes);
/// the padding between them is zero and stays zero. So an optimiser or EMA step is a launch or two for the whole model,
/// and a checkpoint is one copy. Running statistics lie in a second flat tensor, which optimisers and EMA leave alone.
///
/// `{:?}` counts them; [`Params::get`] has the values of one.
pub struct Params {
    layout: Arc<Layout>,
    flat: Tensor,
    buffers: Tensor,
    /// A view of `flat` for each segment, kept so that gradients can be looked up by it.
    leaves: Vec<Tensor>,
    precision: Precision,
    /// An f16 copy of `flat`, and the version of `flat` that it is of.
    half: Mutex<Option<(u64, Tensor)>>,
}

#[derive(Debug)]
struct Layout {
    params: Vec<Segment>,
    buffers: Vec<Segment>,
    table: SegmentTable,
}

impl Params {
    /// Segments and values of the parameters, then of the buffers.
    pub(super) fn new(
        gpu: &Gpu,
        params: (&[Segment], &[f32]),
        buffers: (&[Segment], &[f32]),
    ) -> Result<Self> {
        let table = SegmentTable::new(gpu, params.0)?;
        let layout = Layout { params: params.0.to_vec(), buffers: buffers.0.to_vec(), table };
        let flat = gpu.tensor(params.1, [params.1.len()])?;
        let statistics = gpu.tensor(buffers.1, [buffers.1.len()])?;
        Ok(Self::with_tensors(Arc::new(layout), flat, statistics, Precision::F32, true))
    }

    fn with_tensors(
        layout: Arc<Layout>,
        flat: Tensor,
        buffers: Tensor,
        precision: Precision,
        trained: bool,
    ) -> Self {
        let leaf = |segment: &Segment| {
            let view = Tensor::view(&flat, segment.offset, segment.shape);
            if trained { view.requires_grad() } else { view }
        };
        let leaves = layout.params.iter().map(leaf).collect();
        Self { layout, flat, buffers, leaves, precision, half: Mutex::default() }
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        self.flat.gpu()
    }

    /// A parameter, as a leaf that requires grad unless this is a [`fork`](Self::fork) or [`frozen`](Self::frozen).
    #[must_use]
    pub fn get(&self, id: ParamId) -> Tensor {
        self.leaves[id.0].clone()
    }

    /// The same parameters for modules to run with in `precision`; forks and frozen ones inherit it.
    ///
    /// # Panics
    /// If the adapter does not have it ([`Precision::runs_on`]).
    #[track_caller]
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let info = self.gpu().info();
        assert!(precision.runs_on(self.gpu()), "with_precision: {} has no {}", info.name, precision.name());
        Self { precision, ..self }
    }

    /// Type of the activations that modules store when they run with these parameters.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// A parameter as an operand beside activations of `dtype`: itself, or its part of an `f16` copy of all parameters. The
    /// copy is one launch, made when first asked for after the parameters were written. Its gradient is `f32`.
    #[must_use]
    pub fn get_as(&self, id: ParamId, dtype: DType) -> Tensor {
        let leaf = &self.leaves[id.0];
        if dtype != DType::F16 {
            return leaf.clone();
        }
        let version = self.flat.version();
        let mut half = self.half.lock().expect("no panic while casting");
        let flat = match &*half {
            Some((of, flat)) if *of == version => flat,
            _ => &half.insert((version, self.flat.cast(DType::F16))).1,
        };
        let segment = &self.layout.params[id.0];
        let rule = |b: &Backward<'_>| vec![Some(b.dy.clone())];
        let view = Tensor::view(flat, segment.offset, segment.shape);
        view.with_backward_of(DType::F32, "get_as", &[leaf], &[], rule)
    }

    /// A parameter as an operand beside activations, in the type that these are stored in ([`Params::precision`]): what a layer
    /// multiplies by and adds. Its gradient is `f32`, and goes to the parameter of [`get`](Self::get).
    ///
    /// A layer of your own that takes its input by [`activations`](Self::activations) and its parameters by this runs in either
    /// precision:
    ///
    /// ```no_run
    /// use wgrad::Tensor;
    /// use wgrad::nn::{FileLayout, Init, ParamBuilder, ParamId, Params};
    ///
    /// struct Dense { weight: ParamId, bias: ParamId }
    ///
    /// impl Dense {
    ///     fn new(build: &ParamBuilder, inputs: usize, outputs: usize) -> Self {
    ///         let init = Init::linear(inputs);
    ///         Self {
    ///             weight: build.param("weight", [inputs, outputs], FileLayout::Linear, init),
    ///             bias: build.param("bias", [outputs], FileLayout::Same, init),
    ///         }
    ///     }
    ///
    ///     fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
    ///         let x = params.activations(x);
    ///         x.matmul(&params.operand(self.weight)).add(&params.operand(self.bias)).relu()
    ///     }
    /// }
    /// ```
    ///
    /// Scale and shift of a normalisation stay `f32` ([`get`](Self::get)), as [`Tensor::batch_norm`] and
    /// [`Tensor::layer_norm`] take them in either precision.
    #[must_use]
    pub fn operand(&self, id: ParamId) -> Tensor {
        self.get_as(id, self.precision.dtype())
    }

    /// `x` in the type that modules store activations in when they run with these parameters: itself, or a copy. Its gradient
    /// is `f32` where `x` is.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    #[must_use]
    pub fn activations(&self, x: &Tensor) -> Tensor {
        assert!(x.dtype().is_float(), "activations: {x} is not of floats");
        x.cast(self.precision.dtype())
    }

    /// A buffer; writers in place go through the op that updates it.
    #[must_use]
    pub fn buffer(&self, id: BufferId) -> Tensor {
        let segment = &self.layout.buffers[id.0];
        Tensor::view(&self.buffers, segment.offset, segment.shape)
    }

    /// Every parameter, padding included: `[n]`, `n` a multiple of 64.
    #[must_use]
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Every buffer, padding included: `[n]`.
    #[must_use]
    pub fn buffers(&self) -> &Tensor {
        &self.buffers
    }

    /// The parameters in order of registration.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.layout.params
    }

    /// The buffers in order of registration.
    #[must_use]
    pub fn buffer_segments(&self) -> &[Segment] {
        &self.layout.buffers
    }

    /// The segment table on the device.
    #[must_use]
    pub fn table(&self) -> &SegmentTable {
        &self.layout.table
    }

    /// Number of trained values, padding not counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layout.params.iter().map(Segment::len).sum()
    }

    /// A deep copy that needs no gradients: a teacher, to be moved by [`Ema`](crate::optim::Ema).
    #[must_use]
    pub fn fork(&self) -> Params {
        let layout = Arc::clone(&self.layout);
        Self::with_tensors(layout, copy_of(&self.flat), copy_of(&self.buffers), self.precision, false)
    }

    /// The same storage without gradients: for evaluation, where a graph would only hold on to activations.
    #[must_use]
    pub fn frozen(&self) -> Params {
        let (flat, buffers) = (self.flat.clone(), self.buffers.clone());
        Self::with_tensors(Arc::clone(&self.layout), flat, buffers, self.precision, false)
    }

    /// The flat gradient, in the layout of [`flat`](Self::flat): zero where `grads` has nothing. One fill and one
    /// recorded copy a parameter.
    #[must_use]
    pub fn pack(&self, grads: &Gradients) -> Tensor {
        let flat = self.flat.full_like(0.0);
        for (leaf, segment) in self.leaves.iter().zip(self.segments()) {
            if let Some(grad) = grads.get(leaf) {
                self.gpu().copy(grad, 0, &flat, segment.offset, segment.len());
            }
        }
        flat
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("tensors", &self.segments().len())
            .field("values", &self.count())
            .field("buffers", &self.buffer_segments().len())
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

fn copy_of(source: &Tensor) -> Tensor {
    let copy = Tensor::alloc(source.gpu(), "fork", source.shape(), DType::F32);
    source.gpu().copy(source, 0, &copy, 0, source.len());
    copy
}
