//! The one place with `unsafe`: shader modules without runtime checks, wgpu's token for experimental features, its pipeline cache.
#![expect(
    unsafe_code,
    reason = "wgpu marks unsafe: unchecked shader modules, which only text compiled into this crate gets; experimental features; pipeline caches"
)]

/// A module without loop bounding and, unless `checks`, without bounds checks.
///
/// The caller passes only kernels of this crate (`Kernel::is_builtin`). Their loops are never bounded: the counter that does
/// it keeps drivers from unrolling, and a kernel that is not unrolled runs into lavapipe's own limit of 65,535 iterations.
pub(super) fn builtin_module(
    device: &wgpu::Device,
    label: &str,
    text: String,
    checks: bool,
) -> wgpu::ShaderModule {
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    let mut runtime = wgpu::ShaderRuntimeChecks::unchecked();
    runtime.bounds_checks = checks;
    // SAFETY: the text is one of this crate's kernels. Each checks its flat index against sizes in `Uniforms`, which the
    // op derives from the shapes of the very tensors it binds; every loop ends by such a size. The test suite runs all
    // kernels with bounds checks too, where an out-of-bounds access would change results against the references.
    unsafe { device.create_shader_module_trusted(descriptor, runtime) }
}

/// Leave to open experimental features, of which cooperative matrices are one.
pub(super) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token states that experimental features may have bugs that lead to undefined behaviour. The one that is
    // opened is `EXPERIMENTAL_COOPERATIVE_MATRIX`; the kernels that use it are tested wherever an adapter has it.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// A pipeline cache with what an earlier one held.
///
/// The caller passes what `Compiler` wrote for this adapter and driver, its checksum compared.
pub(super) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("wgrad"), data, fallback: true };
    // SAFETY: the bytes came from `PipelineCache::get_data` of a device of the same adapter and driver: the file's name says
    // so, its checksum shows that nobody cut or changed it, and wgpu's own header in it is compared once more (`fallback`: an
    // unfit one is replaced by an empty cache). Whoever can write the user's cache folder can run code as that user anyway.
    unsafe { device.create_pipeline_cache(&descriptor) }
}
