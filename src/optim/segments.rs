//! Hyper-parameters by tensor, and norms by tensor.

use crate::error::Result;
use crate::gpu::{Grid, Kernel, Source, Work, source, uniforms};
use crate::nn::{Params, Segment};
use crate::tensor::{DType, Tensor};

static SOURCE: Source = source!("segment_norms.wgsl");
static CHUNK_SQUARES: [Kernel; 2] = by_class("chunk_squares");
static CHUNK_UPDATE_SQUARES: [Kernel; 2] = by_class("chunk_update_squares");
static RANGE_NORMS: [Kernel; 2] = by_class("range_norms");

/// In the WGSL's workgroups, and in narrow ones ([`Facts::narrow_workgroups`](crate::gpu::Facts::narrow_workgroups)).
const fn by_class(entry: &'static str) -> [Kernel; 2] {
    [SOURCE.kernel(entry), SOURCE.kernel(entry).with(&[("WG", 8.0)])]
}

uniforms! { struct Chunks { chunks: u32, weight_decay: f32 } }
uniforms! { struct Plain { chunks: u32 } }
uniforms! { struct Ranges { ranges: u32 } }

/// How an optimiser treats one parameter. The learning rate is `lr_scale * lr + lr_fixed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Factor on the optimiser's weight decay; 0 excludes.
    pub weight_decay: f32,
    /// Factor on the learning rate of the step.
    pub lr_scale: f32,
    /// Added to it, whatever the schedule does.
    pub lr_fixed: f32,
    /// Whether LARS scales the update by the trust ratio.
    pub adapt: bool,
}

impl Group {
    /// Everything applies.
    pub const ALL: Self = Self { weight_decay: 1.0, lr_scale: 1.0, lr_fixed: 0.0, adapt: true };
    /// Neither weight decay nor LARS's trust ratio: for biases and normalisation.
    pub const EXCLUDED: Self = Self { weight_decay: 0.0, adapt: false, ..Self::ALL };
    /// Not trained at all.
    pub const FROZEN: Self = Self { lr_scale: 0.0, ..Self::ALL };

    /// A constant learning rate beside the schedule, as SimSiam gives its predictor.
    #[must_use]
    pub fn fixed_lr(lr: f32) -> Self {
        Self { lr_scale: 0.0, lr_fixed: lr, ..Self::ALL }
    }

    /// [`Group::ALL`] for every parameter: PyTorch's behaviour without groups.
    #[must_use]
    pub fn default_for(_: &Segment) -> Self {
        Self::ALL
    }

    /// [`Group::EXCLUDED`] for parameters of one axis (biases, normalisation), [`Group::ALL`] for the rest: LARS.
    #[must_use]
    pub fn exclude_1d(segment: &Segment) -> Self {
        if segment.shape.rank() <= 1 { Self::EXCLUDED } else { Self::ALL }
    }
}

/// The groups of all segments on the device, `[segments, 4]`: weight decay, lr scale, fixed lr, adapt.
pub(super) fn upload_groups(params: &Params, group_of: impl Fn(&Segment) -> Group) -> Result<Tensor> {
    let row = |g: Group| [g.weight_decay, g.lr_scale, g.lr_fixed, f32::from(u8::from(g.adapt))];
    let rows: Vec<[f32; 4]> = params.segments().iter().map(|s| row(group_of(s))).collect();
    params.gpu().tensor(rows.as_flattened(), [rows.len(), 4])
}

/// Panics unless `grads` is laid out as the parameters are; returns the number of vec4s.
#[track_caller]
pub(super) fn check_flat(op: &str, params: &Params, grads: &Tensor) -> u32 {
    let (p, g) = (params.flat().shape(), grads.shape());
    assert_eq!(p, g, "{op}: flat parameters are {p}, flat gradient is {g}");
    params.flat().len() as u32 / 4
}

/// Which sums [`norms`] takes.
pub(super) enum Of<'a> {
    /// The gradient of each segment.
    Gradient,
    /// The gradient of the whole model: one row.
    WholeGradient,
    /// Of each segment, its parameters and `g + wd w`.
    Update { groups: &'a Tensor, weight_decay: f32 },
}

/// Norms in two launches and fixed order: `[rows, 2]`, the second column of the gradient or update, the first of the
/// parameters (0 where not asked for).
pub(super) fn norms(params: &Params, grads: &Tensor, of: &Of<'_>) -> Tensor {
    let (gpu, table) = (params.gpu(), params.table());
    let chunks = table.chunks.shape()[0] as u32;
    let partials = Tensor::alloc(gpu, "norms", &[chunks as usize, 2].into(), DType::F32);
    let n = grads.len() as u64;
    let class = usize::from(gpu.facts().narrow_workgroups);
    match of {
        Of::Update { groups, weight_decay } => gpu.run(
            &CHUNK_UPDATE_SQUARES[class],
            &[&partials, grads, &table.chunks, *groups, params.flat()],
            &Chunks { chunks, weight_decay: *weight_decay },
            Grid::groups(chunks),
            Work::new(8 * n, 6 * n),
        ),
        Of::Gradient | Of::WholeGradient => gpu.run(
            &CHUNK_SQUARES[class],
            &[&partials, grads, &table.chunks],
            &Plain { chunks },
            Grid::groups(chunks),
            Work::new(4 * n, 2 * n),
        ),
    }
    let ranges = if matches!(of, Of::WholeGradient) { &table.all } else { &table.ranges };
    let rows = ranges.shape()[0];
    let norms = Tensor::alloc(gpu, "norms", &[rows, 2].into(), DType::F32);
    gpu.run(
        &RANGE_NORMS[class],
        &[&norms, &partials, ranges],
        &Ranges { ranges: rows as u32 },
        Grid::groups(rows as u32),
        Work::new(8 * u64::from(chunks) + 16 * rows as u64, 2 * u64::from(chunks)),
    );
    norms
}
