//! What a WGSL entry point states about itself, read with naga.
//!
//! Bindings, workgroup size and the layout of `Uniforms` stand once, in the WGSL file. [`reflect`] reads them; a launch
//! is checked against them.

use super::uniforms::Scalar;
use crate::error::{Error, Result};

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
    /// Bytes of workgroup memory, overrides resolved.
    pub workgroup_bytes: u32,
}

/// Reads what `entry` of an assembled WGSL text states about itself.
///
/// # Errors
/// [`Error::Kernel`] if the text does not parse or validate, or breaks a convention of [`Kernel::new`](super::Kernel::new).
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

    let mut reflection = Reflection {
        uniforms: vec![],
        uniforms_bytes: 0,
        writable: vec![],
        half: vec![],
        workgroup_size: workgroup_size(&module, index, constants).map_err(&fail)?,
        workgroup_bytes: 0,
    };
    let mut storage = vec![];
    for (_, global) in module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty()) {
        if global.space == naga::AddressSpace::WorkGroup {
            let bytes = size(&module, global.ty, constants);
            let bytes = bytes.ok_or_else(|| fail("workgroup memory of a size that is no number".into()))?;
            reflection.workgroup_bytes += bytes.next_multiple_of(16);
        }
        let Some(binding) = &global.binding else { continue };
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

/// Bytes of a type; `None` where they depend on more than constants and overrides.
fn size(module: &naga::Module, ty: naga::Handle<naga::Type>, constants: &[(&str, f64)]) -> Option<u32> {
    match module.types[ty].inner {
        naga::TypeInner::Array { size: naga::ArraySize::Pending(count), stride, .. } => {
            Some(stride * integer(module, module.overrides[count].init?, constants)?)
        }
        naga::TypeInner::Array { size: naga::ArraySize::Dynamic, .. } => None,
        ref inner => Some(inner.size(module.to_ctx())),
    }
}

/// The value of a constant expression of integers.
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
        naga::Expression::Constant(handle) => integer(module, module.constants[handle].init, constants),
        naga::Expression::Math { fun: naga::MathFunction::Max, arg, arg1: Some(other), .. } => {
            Some(integer(module, arg, constants)?.max(integer(module, other, constants)?))
        }
        naga::Expression::Binary { op, left, right } => {
            let (a, b) = (integer(module, left, constants)?, integer(module, right, constants)?);
            match op {
                naga::BinaryOperator::Add => a.checked_add(b),
                naga::BinaryOperator::Subtract => a.checked_sub(b),
                naga::BinaryOperator::Multiply => a.checked_mul(b),
                naga::BinaryOperator::Divide => a.checked_div(b),
                naga::BinaryOperator::Modulo => a.checked_rem(b),
                _ => None,
            }
        }
        _ => None,
    }
}
