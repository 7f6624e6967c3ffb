//! The one place with `unsafe`: shader modules without runtime checks.
#![expect(
    unsafe_code,
    reason = "wgpu marks unchecked shader modules unsafe; only text compiled into this crate gets here"
)]

/// A module without bounds checks, loop bounding and zero-initialisation of workgroup memory.
///
/// The caller passes only kernels of this crate (`Kernel::is_builtin`).
pub(super) fn unchecked_module(device: &wgpu::Device, label: &str, text: String) -> wgpu::ShaderModule {
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    // SAFETY: the text is one of this crate's kernels. Each checks its flat index against sizes in `Params`, which the
    // op derives from the shapes of the very tensors it binds; every loop ends by such a size. The test suite runs all
    // kernels in checked mode too, where an out-of-bounds access would change results against the references.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
