//! The driver's compiler: RADV, on a card that is not there. The one file of this program with `unsafe`.
//!
//! wgpu lists such a device but cannot open it, so this talks to Vulkan itself, and asks for what wgpu would ask for: the same
//! features, the same stage flags, the same layout of bindings, SPIR-V written by naga with the same options.
#![expect(unsafe_code, reason = "Vulkan is a C interface")]

use std::error::Error;
use std::ffi::{CStr, CString};

use ash::{ext, khr, vk};

use super::adapters::Abilities;

/// A device that compiles.
pub(crate) struct Radv {
    _entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// `AMD Unknown (RADV NAVI31)`.
    pub(crate) name: String,
    /// `radv Mesa 25.0.7-2`.
    pub(crate) driver: String,
}

/// What a driver tells of a pipeline: its numbers by its own names, and the machine code as text, where it can write it.
type Told = (Vec<(String, u64)>, Option<String>);

impl Radv {
    /// Opens the first device that the loader shows: `.ci/radv` names the driver, and `RADV_FORCE_FAMILY` the card.
    pub(crate) fn open() -> Result<Self, Box<dyn Error>> {
        // SAFETY: a Vulkan loader is loaded, whose initialisers may be run.
        let entry = unsafe { ash::Entry::load() }?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: `info` and what it points to live through the call.
        let instance = unsafe { entry.create_instance(&info, None) }?;
        // SAFETY: `instance` is alive, and destroyed in `drop` alone; so in all of these.
        let physical = unsafe { instance.enumerate_physical_devices() }?;
        let physical = *physical.first().ok_or("the driver shows no device")?;
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: as above; `properties` is a chain of structures that the call fills.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let name = text(properties.properties.device_name_as_c_str()?);
        let driver =
            format!("{} {}", text(driver.driver_name_as_c_str()?), text(driver.driver_info_as_c_str()?));

        // SAFETY: as above.
        let has = unsafe { instance.enumerate_device_extension_properties(physical) }?;
        let has = |name: &CStr| has.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
        let matrices = has(khr::cooperative_matrix::NAME);
        let robust = has(ext::robustness2::NAME);
        let mut names = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        names.extend(matrices.then_some(khr::cooperative_matrix::NAME.as_ptr()));
        names.extend(robust.then_some(ext::robustness2::NAME.as_ptr()));

        let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true).shader_int16(true);
        let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let mut v11 = vk::PhysicalDeviceVulkan11Features::default()
            .storage_buffer16_bit_access(true)
            .uniform_and_storage_buffer16_bit_access(true);
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
            .shader_float16(true)
            .vulkan_memory_model(true)
            .vulkan_memory_model_device_scope(true);
        let mut v13 = vk::PhysicalDeviceVulkan13Features::default()
            .subgroup_size_control(true)
            .maintenance4(true)
            .shader_zero_initialize_workgroup_memory(true);
        let mut cooperative =
            vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
        let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
        let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let mut info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queue)
            .enabled_extension_names(&names)
            .enabled_features(&core)
            .push_next(&mut executables)
            .push_next(&mut v11)
            .push_next(&mut v12)
            .push_next(&mut v13);
        if matrices {
            info = info.push_next(&mut cooperative);
        }
        if robust {
            info = info.push_next(&mut robustness);
        }
        // SAFETY: `info` and all it points to live through the call; the extensions are there, and a feature that is not is
        // an error that the call returns.
        let device = unsafe { instance.create_device(physical, &info, None) }?;
        let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
        Ok(Self { _entry: entry, instance, physical, device, executables, name, driver })
    }

    /// What the device has.
    pub(crate) fn abilities(&self) -> Result<Abilities, Box<dyn Error>> {
        let mut sizes = vk::PhysicalDeviceVulkan13Properties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut sizes);
        // SAFETY: the instance is alive; `properties` is a chain of structures that the call fills.
        unsafe { self.instance.get_physical_device_properties2(self.physical, &mut properties) };
        let limits = properties.properties.limits;
        let mut tiles = vec![];
        // SAFETY: as above.
        let has = unsafe { self.instance.enumerate_device_extension_properties(self.physical) }?;
        if has.iter().any(|e| e.extension_name_as_c_str() == Ok(khr::cooperative_matrix::NAME)) {
            let matrices = khr::cooperative_matrix::Instance::new(&self._entry, &self.instance);
            // SAFETY: as above; the device has the extension.
            let all = unsafe { matrices.get_physical_device_cooperative_matrix_properties(self.physical) }?;
            let (half, single) = (vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32);
            tiles = [16, 8]
                .into_iter()
                .filter(|&n| {
                    all.iter().any(|p| {
                        (p.m_size, p.n_size, p.k_size) == (n, n, n)
                            && (p.a_type, p.b_type, p.c_type, p.result_type) == (half, half, single, single)
                            && p.scope == vk::ScopeKHR::SUBGROUP
                    })
                })
                .collect();
        }
        Ok(Abilities {
            subgroups: (sizes.min_subgroup_size, sizes.max_subgroup_size),
            workgroup: limits.max_compute_work_group_invocations,
            workgroup_memory: limits.max_compute_shared_memory_size,
            tiles,
        })
    }

    /// Compiles an entry point of a module. `storage` is the number of storage buffers, from binding 1 on.
    pub(crate) fn compile(
        &self,
        spirv: &[u32],
        entry: &str,
        uniform: bool,
        storage: u32,
    ) -> Result<Told, Box<dyn Error>> {
        let binding = |binding, ty| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(binding)
                .descriptor_count(1)
                .descriptor_type(ty)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let uniform = uniform.then(|| binding(0, vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC));
        let buffers = (1..=storage).map(|i| binding(i, vk::DescriptorType::STORAGE_BUFFER));
        let bindings: Vec<_> = uniform.into_iter().chain(buffers).collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let entry = CString::new(entry)?;
        let module = vk::ShaderModuleCreateInfo::default().code(spirv);
        let device = &self.device;
        // SAFETY: the device is alive; every structure lives through its call; what is made is destroyed below, once, after its
        // last use. The SPIR-V is naga's of a module that it validated.
        unsafe {
            let module = device.create_shader_module(&module, None)?;
            let set = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&set);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let info = vk::ComputePipelineCreateInfo::default().layout(layout).stage(stage).flags(
                vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                    | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
            );
            let pipelines = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let made = match pipelines {
                Ok(pipelines) => {
                    let made = self.read(pipelines[0]);
                    device.destroy_pipeline(pipelines[0], None);
                    made
                }
                Err((_, error)) => Err(error.into()),
            };
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set[0], None);
            device.destroy_shader_module(module, None);
            made
        }
    }

    /// What the driver tells of a pipeline of this device.
    fn read(&self, pipeline: vk::Pipeline) -> Result<Told, Box<dyn Error>> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the pipeline is alive and was made with CAPTURE_STATISTICS.
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&info) }?;
        let number = |s: &vk::PipelineExecutableStatisticKHR<'_>| match s.format {
            // SAFETY: the format says which member of the union is set.
            vk::PipelineExecutableStatisticFormatKHR::UINT64 => Some(unsafe { s.value.u64 }),
            _ => None,
        };
        let statistics = statistics.iter().filter_map(|s| Some((text(s.name_as_c_str().ok()?), number(s)?)));
        let statistics = statistics.collect();

        // The first call tells how long the texts are, the second writes them.
        // SAFETY: the pipeline is alive and was made with CAPTURE_INTERNAL_REPRESENTATIONS.
        let mut texts = unsafe { self.executables.get_pipeline_executable_internal_representations(&info) }?;
        let mut memory: Vec<Vec<u8>> = texts.iter().map(|t| vec![0; t.data_size]).collect();
        for (text, memory) in texts.iter_mut().zip(&mut memory) {
            text.p_data = memory.as_mut_ptr().cast();
        }
        let mut count = u32::try_from(texts.len())?;
        let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        // SAFETY: as above; `texts` has `count` elements, each of which points to memory of the size it states.
        unsafe { get(self.device.handle(), &info, &mut count, texts.as_mut_ptr()) }.result()?;
        let is_code = |t: &vk::PipelineExecutableInternalRepresentationKHR<'_>| {
            t.is_text == vk::TRUE && t.name_as_c_str().is_ok_and(|name| text(name).contains("Assembly"))
        };
        let code = texts.iter().position(is_code).map(|i| {
            let bytes = memory[i].split(|&b| b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        });
        Ok((statistics, code))
    }
}

impl Drop for Radv {
    fn drop(&mut self) {
        // SAFETY: nothing made on them is left, and nobody else has their handles.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
