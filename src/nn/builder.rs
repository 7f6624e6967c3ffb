//! Collects the parameters of a network while its modules are made.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use super::init::Init;
use super::params::Params;
use super::segments::{BufferId, FileLayout, ParamId, Segment};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::rng::Rng;
use crate::shape::Shape;

/// A named place in a network under construction, where modules register their parameters.
///
/// Scopes share one registry, so `build.scope("layer1.0")` can be handed to a block while `build` stays in use.
/// Each parameter draws from a Philox stream named by a hash of its full name: the same name and seed give the same
/// weights, whatever else the network holds.
#[derive(Debug, Clone)]
pub struct ParamBuilder {
    registry: Rc<RefCell<Registry>>,
    prefix: String,
}

#[derive(Debug)]
struct Registry {
    rng: Rng,
    params: Flat,
    buffers: Flat,
}

/// Segments in order of registration and their initial values, padding included.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub(super) segments: Vec<Segment>,
    pub(super) values: Vec<f32>,
}

impl ParamBuilder {
    /// The root of a new network. `rng` gives the seed; its position does not matter.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        let registry = Registry { rng, params: Flat::default(), buffers: Flat::default() };
        Self { registry: Rc::new(RefCell::new(registry)), prefix: String::new() }
    }

    /// The place `name` below this one; names join with a dot.
    #[must_use]
    pub fn scope(&self, name: impl Display) -> Self {
        Self { registry: Rc::clone(&self.registry), prefix: self.full(name) }
    }

    /// Registers a trained parameter.
    ///
    /// # Panics
    /// If the name is taken or the shape has no elements.
    #[track_caller]
    #[must_use]
    pub fn param(&self, name: &str, shape: impl Into<Shape>, layout: FileLayout, init: Init) -> ParamId {
        let mut registry = self.registry.borrow_mut();
        let name = self.full(name);
        let mut rng = registry.rng.stream(stream_of(&name));
        ParamId(registry.params.push(name, shape.into(), layout, init, &mut rng))
    }

    /// Registers a buffer: state that is saved but not trained, such as a running mean.
    ///
    /// # Panics
    /// As [`param`](Self::param).
    #[track_caller]
    #[must_use]
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, value: f32) -> BufferId {
        let mut registry = self.registry.borrow_mut();
        let mut rng = registry.rng.clone();
        let init = Init::Constant(value);
        BufferId(registry.buffers.push(self.full(name), shape.into(), FileLayout::Same, init, &mut rng))
    }

    /// Allocates and fills the flat buffers on `gpu`. Modules made from this builder work with the result.
    ///
    /// # Errors
    /// Out of memory, or a model larger than one binding of the adapter.
    pub fn finish(self, gpu: &Gpu) -> Result<Params> {
        let registry = self.registry.borrow();
        Params::new(gpu, &registry.params, &registry.buffers)
    }

    fn full(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

impl Flat {
    #[track_caller]
    fn push(&mut self, name: String, shape: Shape, layout: FileLayout, init: Init, rng: &mut Rng) -> usize {
        assert!(self.segments.iter().all(|s| s.name != name), "parameter {name} is registered twice");
        assert!(shape.elements() > 0, "parameter {name} has shape {shape}: no elements");
        let segment = Segment { name, offset: self.values.len(), shape, layout };
        self.values.resize(segment.offset + segment.padded(), 0.0);
        init.fill(&mut self.values[segment.range()], rng);
        self.segments.push(segment);
        self.segments.len() - 1
    }
}

/// FNV-1a of the name, with the top bit set so that it meets none of the small stream numbers used elsewhere.
fn stream_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    hash | 1 << 31
}
