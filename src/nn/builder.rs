//! Collects the parameters of a network while its modules are made.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use super::init::Init;
use super::params::Params;
use super::segments::{ALIGN, BufferId, FileLayout, ParamId, Segment};
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

/// The segments of one flat buffer in order of registration, and how each starts.
#[derive(Debug, Default)]
struct Flat {
    segments: Vec<Segment>,
    inits: Vec<Init>,
    len: usize,
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
        let name = self.full(name);
        ParamId(self.registry.borrow_mut().params.push(name, shape.into(), layout, init))
    }

    /// Registers a buffer: state that is saved but not trained, such as a running mean.
    ///
    /// # Panics
    /// As [`param`](Self::param).
    #[track_caller]
    #[must_use]
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, value: f32) -> BufferId {
        let (name, init) = (self.full(name), Init::Constant(value));
        BufferId(self.registry.borrow_mut().buffers.push(name, shape.into(), FileLayout::Same, init))
    }

    /// Segments registered so far, in all scopes: of parameters, then of buffers. Needs no GPU.
    #[must_use]
    pub fn segments(&self) -> (Vec<Segment>, Vec<Segment>) {
        let registry = self.registry.borrow();
        (registry.params.segments.clone(), registry.buffers.segments.clone())
    }

    /// Draws the initial values and uploads them. Modules made from this builder work with the result.
    ///
    /// # Errors
    /// Out of memory, or a model larger than one binding of the adapter.
    pub fn finish(self, gpu: &Gpu) -> Result<Params> {
        let Registry { rng, params, buffers } = &*self.registry.borrow();
        let [flat, statistics] = [params, buffers].map(|f| f.draw(rng));
        Params::new(gpu, (&params.segments, &flat), (&buffers.segments, &statistics))
    }

    fn full(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

impl Flat {
    #[track_caller]
    fn push(&mut self, name: String, shape: Shape, layout: FileLayout, init: Init) -> usize {
        assert!(self.segments.iter().all(|s| s.name != name), "parameter {name} is registered twice");
        assert!(shape.elements() > 0, "parameter {name} has shape {shape}: no elements");
        let segment = Segment { name, offset: self.len, shape, layout };
        self.len += segment.padded();
        self.segments.push(segment);
        self.inits.push(init);
        self.segments.len() - 1
    }

    /// Initial values, zero in the padding; one block at least, since empty tensors cannot be bound.
    fn draw(&self, rng: &Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.len.max(ALIGN)];
        for (segment, init) in self.segments.iter().zip(&self.inits) {
            init.fill(&mut values[segment.range()], &mut rng.stream(stream_of(&segment.name)));
        }
        values
    }
}

/// FNV-1a of the name, with the top bit set so that it meets none of the small stream numbers used elsewhere.
fn stream_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    hash | 1 << 31
}
