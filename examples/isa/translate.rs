//! naga's translations of a kernel, with the options that wgpu would give it.

use std::error::Error;

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use wgrad::gpu::FinalKernel;

/// The kernels of the crate run without bounds checks: `src/gpu/trust.rs`.
const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// A kernel as naga has it, its overrides given.
pub(crate) struct Translation {
    module: Module,
    info: ModuleInfo,
    entry: String,
    matrix_units: bool,
}

impl Translation {
    pub(crate) fn of(kernel: &FinalKernel) -> Result<Self, Box<dyn Error>> {
        let fail = |why: String| format!("{}: {why}", kernel.name);
        let module =
            naga::front::wgsl::parse_str(&kernel.text).map_err(|e| fail(e.emit_to_string(&kernel.text)))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&module)
            .map_err(|e| fail(e.emit_to_string(&kernel.text)))?;
        let constants = kernel.constants.iter().map(|(name, value)| (name.clone(), *value)).collect();
        let entry = kernel.entry.clone();
        let (module, info) =
            process_overrides(&module, &info, Some((ShaderStage::Compute, &entry)), &constants)
                .map_err(|e| fail(e.to_string()))?;
        let (module, info) = (module.into_owned(), info.into_owned());
        Ok(Self { module, info, entry, matrix_units: kernel.matrix_units })
    }

    /// For Vulkan.
    pub(crate) fn spirv(&self) -> Result<Vec<u32>, Box<dyn Error>> {
        let options = spv::Options {
            lang_version: (1, 6),
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: self.entry.clone() };
        Ok(spv::write_vec(&self.module, &self.info, &options, Some(&pipeline))?)
    }

    /// For Metal.
    pub(crate) fn msl(&self) -> Result<String, Box<dyn Error>> {
        let options = msl::Options {
            lang_version: if self.matrix_units { (2, 3) } else { (2, 0) },
            bounds_check_policies: UNCHECKED,
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..msl::Options::default()
        };
        let entry_point = Some((ShaderStage::Compute, self.entry.clone()));
        let pipeline = msl::PipelineOptions { entry_point, ..msl::PipelineOptions::default() };
        Ok(msl::write_string(&self.module, &self.info, &options, &pipeline)?.0)
    }

    /// For DX12, which has no matrix units.
    pub(crate) fn hlsl(&self) -> Result<String, Box<dyn Error>> {
        if self.matrix_units {
            return Err("DX12 has no matrix units".into());
        }
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            zero_initialize_workgroup_memory: false,
            restrict_indexing: false,
            force_loop_bounding: false,
            ..hlsl::Options::default()
        };
        let entry_point = Some((ShaderStage::Compute, self.entry.clone()));
        let pipeline = hlsl::PipelineOptions { entry_point };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline).write(&self.module, &self.info, None)?;
        Ok(text)
    }
}
