//! A kernel compiled for one device.

use super::adapter::AdapterInfo;
use super::compiler::{Compiler, Pipeline};
use super::facts::Means;
use super::kernel::{Constant, Kernel};
use super::pool::{Bind, Storage};
use super::reflection::reflect;
use super::text::{Choice, Variant, enabled};
use super::trust;
use super::uniforms::{Scalar, Uniforms};
use crate::error::{Error, Result};

/// Bytes of uniforms of one launch at most: its slot in the recorder's uniform arena.
pub(super) const MAX_UNIFORMS_BYTES: u32 = 256;

/// The extension that kernels for matrix units enable.
const MATRIX_UNITS: &str = "wgpu_cooperative_matrix";

/// Pipeline and bind group layout of a kernel, and the facts a launch is checked against.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) pipeline: Pipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) uniforms_bytes: u32,
    pub(super) writable: Vec<bool>,
    pub(super) workgroup_size: u32,
    /// Whether it multiplies on matrix units.
    pub(super) matrix_units: bool,
    half: Vec<bool>,
    uniforms: Vec<(String, Scalar)>,
    /// What the compiler got.
    #[cfg(feature = "isa")]
    pub(super) text: std::sync::Arc<super::described::FinalKernel>,
}

impl Compiled {
    /// Starts compiling a variant of `kernel`, which goes by `id`; without `checks`, a kernel of this crate runs without bounds
    /// checks. `subgroup` is the size that kernels for matrix units make their workgroups for. What its text gets wrong comes back at once.
    pub(super) fn new(
        device: &wgpu::Device,
        compiler: &Compiler,
        kernel: &Kernel,
        (variant, id): (Variant, u32),
        checks: bool,
        info: &AdapterInfo,
        subgroup: u32,
    ) -> Result<Self> {
        let name = format!("{}{}", kernel.name(), variant.suffix());
        let text = kernel.full_text(&[variant.choice(), tile(info)])?;
        if let Some(lacking) = enabled(&text).find_map(|extension| lacking(extension, device, info)) {
            let message = format!("needs {lacking}, which {} does not have", info.name);
            return Err(Error::Kernel { kernel: name, message });
        }
        let matrix_units = enabled(&text).any(|extension| extension == MATRIX_UNITS);
        let constants = constants(kernel, &text, subgroup);
        if let Some(i) =
            (1..constants.len()).find(|&i| constants[..i].iter().any(|(n, _)| *n == constants[i].0))
        {
            let message = format!("the constant `{}` has two values", constants[i].0);
            return Err(Error::Kernel { kernel: name, message });
        }
        let facts = reflect(&name, &text, kernel.entry(), &constants)?;
        if facts.uniforms_bytes > MAX_UNIFORMS_BYTES {
            let message =
                format!("{} bytes of uniforms; at most {MAX_UNIFORMS_BYTES} fit", facts.uniforms_bytes);
            return Err(Error::Kernel { kernel: name, message });
        }
        // wgpu leaves the second of these to the driver.
        for (needs, has, what) in [
            (facts.workgroup_size, info.max_workgroup_size, "invocations in a workgroup"),
            (facts.workgroup_bytes, info.workgroup_memory_bytes, "bytes of workgroup memory"),
        ] {
            if needs > has {
                let message = format!("needs {needs} {what}, {} has {has}", info.name);
                return Err(Error::Kernel { kernel: name, message });
            }
        }
        let uniform = (facts.uniforms_bytes > 0).then_some((0, wgpu::BufferBindingType::Uniform));
        let storage =
            facts.writable.iter().zip(1..).map(|(&writable, binding)| {
                (binding, wgpu::BufferBindingType::Storage { read_only: !writable })
            });
        let entries: Vec<_> = uniform
            .into_iter()
            .chain(storage)
            .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: binding == 0,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&name),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        #[cfg(feature = "isa")]
        let final_kernel = super::described::FinalKernel {
            name: name.clone(),
            entry: kernel.entry().to_owned(),
            constants: constants.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            text: text.clone(),
            workgroup_size: facts.workgroup_size,
            matrix_units,
        };
        let (builtin, entry, label, device) =
            (kernel.is_builtin(), kernel.entry().to_owned(), name.clone(), device.clone());
        let pipeline = compiler.start(move |cache| {
            let module = if builtin {
                trust::builtin_module(&device, &label, text, checks)
            } else {
                let source = wgpu::ShaderSource::Wgsl(text.into());
                device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(&label), source })
            };
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(&entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    zero_initialize_workgroup_memory: checks || !builtin,
                },
                cache,
            })
        });
        Ok(Self {
            id,
            name,
            pipeline,
            layout,
            uniforms_bytes: facts.uniforms_bytes,
            writable: facts.writable,
            matrix_units,
            half: facts.half,
            workgroup_size: facts.workgroup_size,
            uniforms: facts.uniforms,
            #[cfg(feature = "isa")]
            text: final_kernel.into(),
        })
    }

    /// Compares a launch with what the WGSL states: number of tensors, width of their elements, names, types and order of the uniforms. A
    /// buffer may be bound several times to read, and for disjoint ranges to write, but not for both.
    pub(super) fn check_launch<P: Uniforms>(&self, tensors: &[&dyn Bind]) -> Result<()> {
        let fail = |message| Err(Error::Kernel { kernel: self.name.clone(), message });
        let (given, stated) = (tensors.len(), self.writable.len());
        if given != stated {
            return fail(format!("launched with {given} tensors, the WGSL binds {stated}"));
        }
        if let Some(i) = (0..given).find(|&i| tensors[i].is_half() != self.half[i]) {
            let name = |half| if half { "f16" } else { "4-byte" };
            let (given, stated) = (name(tensors[i].is_half()), name(self.half[i]));
            return fail(format!(
                "binding {} was given {given} elements, the WGSL states {stated} ones",
                i + 1
            ));
        }
        for (i, a) in tensors.iter().enumerate().filter(|(i, _)| self.writable[*i]) {
            for (j, b) in tensors.iter().enumerate().filter(|(j, _)| *j != i) {
                let clash = if self.writable[j] { Storage::overlaps } else { Storage::shares_buffer };
                if clash(a.storage(), b.storage()) {
                    return fail(format!(
                        "writes binding {}, which is the buffer of binding {} too",
                        i + 1,
                        j + 1
                    ));
                }
            }
        }
        let (mut stated, mut same) = (self.uniforms.iter(), true);
        P::fields(&mut |name, ty| {
            same &= stated.next().is_some_and(|field| (&*field.0, field.1) == (name, ty));
        });
        if same && stated.next().is_none() {
            return Ok(());
        }
        let mut given = vec![];
        P::fields(&mut |name, ty| given.push((name, ty)));
        fail(format!("launched with uniforms {given:?}, the WGSL states {:?}", self.uniforms))
    }
}

/// The library file for the adapter's matrix units.
fn tile(info: &AdapterInfo) -> Choice<'static> {
    let file = match info.matrix_tiles.first() {
        _ if info.emulates_matrix_units => "tile_emulated",
        Some(8) => "tile_8",
        _ => "tile_16",
    };
    ("tile", file)
}

/// A kernel's own constants, and the size of subgroups where its text declares `SUBGROUP`.
fn constants(kernel: &Kernel, text: &str, subgroup: u32) -> Vec<Constant> {
    let subgroup = text.contains("override SUBGROUP").then_some(("SUBGROUP", f64::from(subgroup)));
    kernel.constants().iter().copied().chain(subgroup).collect()
}

/// In words, what an extension that a kernel enables asks for and this device lacks.
fn lacking(extension: &str, device: &wgpu::Device, info: &AdapterInfo) -> Option<&'static str> {
    match extension {
        "f16" => (!device.features().contains(wgpu::Features::SHADER_F16)).then_some("f16 arithmetic"),
        MATRIX_UNITS => info.lacks(Means::MatrixUnits),
        _ => None,
    }
}
