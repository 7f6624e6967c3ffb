//! A kernel: WGSL text, entry point, override values. What WGSL states is read from there with naga.
//!
//! Bindings, workgroup size and the layout of `Uniforms` stand once, in the WGSL file. [`reflect`] reads them; a launch
//! is checked against them.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::source::{Source, Target, Variant, assemble, has_variants};
use crate::error::{Error, Result};

/// A compute kernel, launched with [`Gpu::launch`](crate::Gpu::launch). Device-free: one kernel serves every `Gpu`.
#[derive(Debug)]
pub struct Kernel {
    /// Number within the process, and whether the text has variants.
    id: OnceLock<(u32, bool)>,
    text: Text,
    entry: Cow<'static, str>,
    constants: &'static [(&'static str, f64)],
    /// Whether `// lib: lane` is four columns.
    wide: bool,
    /// Whether `// lib: row` adds up in the registers of a subgroup.
    shuffled: bool,
}

/// Where the WGSL comes from. Only text compiled into this crate may ever run unchecked.
#[derive(Debug)]
pub(super) enum Text {
    Builtin(&'static Source),
    User(Arc<str>),
}

impl Source {
    /// The kernel at `entry`, with the file's own values for its overrides.
    #[must_use]
    pub(crate) const fn kernel(&'static self, entry: &'static str) -> Kernel {
        Kernel::from_text(Text::Builtin(self), entry)
    }
}

impl Kernel {
    /// A kernel from your own WGSL, parsed and validated at once. It may name library files in a `// lib:` line.
    ///
    /// Conventions: group 0 only; binding 0 is the `var<uniform>` (absent if there are none), storage
    /// bindings follow from 1 without holes, in the order the tensors are passed. Always runs with runtime checks.
    ///
    /// # Errors
    /// [`Error::Kernel`] with naga's message if the text does not parse or validate, has no such entry point, or breaks
    /// a convention.
    pub fn new(wgsl: &str, entry: &str) -> Result<Self> {
        let mut kernel = Self::from_text(Text::User(wgsl.into()), "");
        kernel.entry = Cow::Owned(entry.to_owned());
        let text = kernel.assembled(Variant::F32, Target::default())?;
        reflect(&kernel.name(), &text, entry, &[])?;
        Ok(kernel)
    }

    pub(super) const fn from_text(text: Text, entry: &'static str) -> Self {
        Self {
            id: OnceLock::new(),
            text,
            entry: Cow::Borrowed(entry),
            constants: &[],
            wide: false,
            shuffled: false,
        }
    }

    /// The same kernel with values for `override` constants.
    #[must_use]
    pub const fn with(mut self, constants: &'static [(&'static str, f64)]) -> Self {
        self.constants = constants;
        self
    }

    /// The same kernel with `// lib: lane` of four columns (`shaders/lib/lane_4.wgsl`) instead of one.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// The same kernel with sums over a row's lanes by shuffles (`shaders/lib/row_shuffle.wgsl`) instead of workgroup memory,
    /// for adapters whose subgroups hold the lanes of a row in order.
    #[must_use]
    pub const fn shuffled(mut self) -> Self {
        self.shuffled = true;
        self
    }

    /// `file/entry`, as profiles and errors print it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.text {
            Text::Builtin(source) => format!("{}/{}", source.name().trim_end_matches(".wgsl"), self.entry),
            Text::User(_) => format!("user/{}", self.entry),
        }
    }

    /// The variant of it for a launch of `wanted`, and a number that tells kernels and variants apart within the process.
    pub(super) fn variant(&self, wanted: Variant) -> (Variant, u32) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (id, varies) =
            *self.id.get_or_init(|| (NEXT.fetch_add(1, Ordering::Relaxed), has_variants(self.wgsl())));
        let variant = if varies { wanted } else { Variant::F32 };
        (variant, id * Variant::ALL.len() as u32 + variant as u32)
    }

    fn wgsl(&self) -> &str {
        match &self.text {
            Text::Builtin(source) => source.wgsl(),
            Text::User(wgsl) => wgsl,
        }
    }

    pub(super) fn entry(&self) -> &str {
        &self.entry
    }

    pub(super) fn constants(&self) -> &'static [(&'static str, f64)] {
        self.constants
    }

    /// Whether the text is compiled into this crate.
    pub(super) fn is_builtin(&self) -> bool {
        matches!(self.text, Text::Builtin(_))
    }

    /// The text handed to the compiler.
    pub(super) fn assembled(&self, variant: Variant, target: Target) -> Result<String> {
        assemble(
            &self.name(),
            self.wgsl(),
            variant,
            Target { wide: self.wide, shuffled: self.shuffled, ..target },
        )
    }
}

/// Uniforms of a launch, the same for all of its invocations: named scalars in the order of the WGSL struct.
/// Made by [`uniforms!`](crate::uniforms).
pub trait Uniforms {
    /// Name and type of each field.
    const FIELDS: &'static [(&'static str, Scalar)];
    /// Appends the fields in WGSL layout (only scalars and `[u32; 4]`, which aligns to 16 bytes).
    fn write(&self, out: &mut Vec<u8>);
}

impl Uniforms for () {
    const FIELDS: &'static [(&'static str, Scalar)] = &[];
    fn write(&self, _out: &mut Vec<u8>) {}
}

/// Type of a field of [`Uniforms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
    /// `vec4u`
    Vec4U,
}

/// A Rust type that can be a field of [`Uniforms`].
pub trait UniformField: Copy {
    /// The WGSL type.
    const SCALAR: Scalar;
    /// Appends the value; `out` starts at a multiple of 16 bytes.
    fn write(self, start: usize, out: &mut Vec<u8>);
}

macro_rules! uniform_field {
    ($rust:ty, $scalar:ident) => {
        impl UniformField for $rust {
            const SCALAR: Scalar = Scalar::$scalar;
            fn write(self, _start: usize, out: &mut Vec<u8>) {
                out.extend_from_slice(bytemuck::bytes_of(&self));
            }
        }
    };
}
uniform_field!(u32, U32);
uniform_field!(i32, I32);
uniform_field!(f32, F32);

impl UniformField for [u32; 4] {
    const SCALAR: Scalar = Scalar::Vec4U;
    fn write(self, start: usize, out: &mut Vec<u8>) {
        let aligned = start + (out.len() - start).next_multiple_of(16);
        out.resize(aligned, 0);
        out.extend_from_slice(bytemuck::bytes_of(&self));
    }
}

/// Declares the uniforms of a kernel: the Rust twin of its WGSL `struct Uniforms`, compared with it by name, type and
/// order when the kernel is first launched.
///
/// ```
/// wgrad::uniforms! { struct Uniforms { n: u32, alpha: f32 } }
/// let p = Uniforms { n: 3, alpha: 0.5 };
/// # assert_eq!((p.n, p.alpha), (3, 0.5));
/// ```
#[macro_export]
macro_rules! uniforms {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        $vis struct $name { $($vis $field: $ty),+ }
        impl $crate::gpu::Uniforms for $name {
            const FIELDS: &'static [(&'static str, $crate::gpu::Scalar)] =
                &[$((stringify!($field), <$ty as $crate::gpu::UniformField>::SCALAR)),+];
            fn write(&self, out: &mut Vec<u8>) {
                let start = out.len();
                $($crate::gpu::UniformField::write(self.$field, start, out);)+
            }
        }
    };
}

/// What a WGSL entry point states about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reflection {
    /// Fields of the uniform at binding 0, in order; empty if there is none.
    pub uniforms: Vec<(String, Scalar)>,
    /// Bytes of the uniform at binding 0.
    pub uniforms_bytes: u32,
    /// For each storage binding from 1 on: whether it is `read_write`.
    pub writable: Vec<bool>,
    /// For each storage binding from 1 on: whether its elements are f16.
    pub half: Vec<bool>,
    /// Invocations in a workgroup, overrides resolved.
    pub workgroup_size: u32,
}

/// Reads what `entry` of an assembled WGSL text states about itself.
///
/// # Errors
/// [`Error::Kernel`] if the text does not parse or validate, or breaks a convention of [`Kernel::new`].
pub fn reflect(name: &str, wgsl: &str, entry: &str, constants: &[(&str, f64)]) -> Result<Reflection> {
    let fail = |message: String| Error::Kernel { kernel: name.to_owned(), message };
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| fail(e.emit_to_string(wgsl)))?;
    let info =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
            .validate(&module)
            .map_err(|e| fail(e.emit_to_string(wgsl)))?;
    let index = module
        .entry_points
        .iter()
        .position(|e| e.name == entry && e.stage == naga::ShaderStage::Compute)
        .ok_or_else(|| fail(format!("no compute entry point `{entry}`")))?;
    let uses = info.get_entry_point(index);

    let mut reflection =
        Reflection { uniforms: vec![], uniforms_bytes: 0, writable: vec![], half: vec![], workgroup_size: 1 };
    let mut storage = vec![];
    for (handle, global) in module.global_variables.iter() {
        let Some(binding) = &global.binding else { continue };
        if uses[handle].is_empty() {
            continue;
        }
        let label = global.name.as_deref().unwrap_or("?");
        if binding.group != 0 {
            return Err(fail(format!("`{label}` is in group {}; only group 0 is used", binding.group)));
        }
        match global.space {
            naga::AddressSpace::Uniform if binding.binding == 0 => {
                reflection.uniforms = fields(&module, global.ty).map_err(&fail)?;
                reflection.uniforms_bytes = module.types[global.ty].inner.size(module.to_ctx());
            }
            naga::AddressSpace::Storage { access } if binding.binding > 0 => {
                let writable = access.contains(naga::StorageAccess::STORE);
                storage.push((binding.binding, writable, is_half(&module, global.ty)));
            }
            _ => {
                return Err(fail(format!(
                    "`{label}` at binding {}: binding 0 is the uniform, storage starts at 1",
                    binding.binding
                )));
            }
        }
    }
    storage.sort_unstable();
    for (i, (binding, writable, half)) in storage.into_iter().enumerate() {
        if binding as usize != i + 1 {
            return Err(fail(format!(
                "storage bindings must run from 1 without holes; {} is missing",
                i + 1
            )));
        }
        reflection.writable.push(writable);
        reflection.half.push(half);
    }
    reflection.workgroup_size = workgroup_size(&module, index, constants).map_err(fail)?;
    Ok(reflection)
}

/// Whether an array's elements, or their components, are f16.
fn is_half(module: &naga::Module, ty: naga::Handle<naga::Type>) -> bool {
    match module.types[ty].inner {
        naga::TypeInner::Array { base, .. } => is_half(module, base),
        naga::TypeInner::Scalar(scalar) | naga::TypeInner::Vector { scalar, .. } => {
            scalar == naga::Scalar::F16
        }
        _ => false,
    }
}

fn fields(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Result<Vec<(String, Scalar)>, String> {
    let naga::TypeInner::Struct { members, .. } = &module.types[ty].inner else {
        return Err("the uniform must be a struct".into());
    };
    let scalar = |inner: &naga::TypeInner| match inner {
        naga::TypeInner::Scalar(s) if s.width == 4 => match s.kind {
            naga::ScalarKind::Uint => Some(Scalar::U32),
            naga::ScalarKind::Sint => Some(Scalar::I32),
            naga::ScalarKind::Float => Some(Scalar::F32),
            _ => None,
        },
        naga::TypeInner::Vector { size: naga::VectorSize::Quad, scalar: naga::Scalar::U32 } => {
            Some(Scalar::Vec4U)
        }
        _ => None,
    };
    members
        .iter()
        .map(|m| {
            let name = m.name.clone().unwrap_or_default();
            match scalar(&module.types[m.ty].inner) {
                Some(s) => Ok((name, s)),
                None => Err(format!("field `{name}` of the uniform must be u32, i32, f32 or vec4u")),
            }
        })
        .collect()
}

/// Product of the workgroup's dimensions; an `override` takes its value from `constants`, else its initialiser.
fn workgroup_size(module: &naga::Module, entry: usize, constants: &[(&str, f64)]) -> Result<u32, String> {
    let entry = &module.entry_points[entry];
    let mut product = entry.workgroup_size.iter().product::<u32>();
    let Some(overrides) = &entry.workgroup_size_overrides else { return Ok(product) };
    product = 1;
    for (axis, handle) in overrides.iter().enumerate() {
        product *= match handle {
            None => entry.workgroup_size[axis],
            Some(h) => integer(module, *h, constants)
                .ok_or("@workgroup_size must be literals, overrides or products of them")?,
        };
    }
    Ok(product)
}

fn integer(
    module: &naga::Module,
    expr: naga::Handle<naga::Expression>,
    constants: &[(&str, f64)],
) -> Option<u32> {
    match module.global_expressions[expr] {
        naga::Expression::Literal(naga::Literal::U32(v)) => Some(v),
        naga::Expression::Literal(naga::Literal::I32(v)) => u32::try_from(v).ok(),
        naga::Expression::Override(handle) => {
            let constant = &module.overrides[handle];
            let given = constants.iter().find(|(name, _)| Some(*name) == constant.name.as_deref());
            match given {
                Some((_, value)) => Some(*value as u32),
                None => integer(module, constant.init?, constants),
            }
        }
        naga::Expression::Binary { op: naga::BinaryOperator::Multiply, left, right } => {
            Some(integer(module, left, constants)? * integer(module, right, constants)?)
        }
        _ => None,
    }
}
