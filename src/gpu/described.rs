//! Adapters that are described and not there: a device that lists what is launched on it, and executes nothing.
//!
//! For tools that study kernels without the adapter: which kernels a program takes there, how often, for how much work, and
//! the text of each. Behind the feature `isa`. The device is one of wgpu's noop backend, so pipelines are validated as on any
//! other; buffers hold nothing, and every value that is read back is 0.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::adapter::AdapterInfo;
use super::launch::Work;
use crate::error::{Error, Result};

/// A kernel as one adapter's compiler would get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinalKernel {
    /// `file/entry`, and ` f16` or ` f16 to f32` for those variants: as in profiles.
    pub name: String,
    /// The entry point.
    pub entry: String,
    /// Values for `override` constants, those of the adapter included.
    pub constants: BTreeMap<String, f64>,
    /// The WGSL with its library files.
    pub text: String,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
    /// Whether it multiplies on matrix units.
    pub matrix_units: bool,
}

/// A launch that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// What was launched.
    pub kernel: Arc<FinalKernel>,
    /// Workgroups in x, y and z.
    pub groups: [u32; 3],
    /// Bytes and operations that the launch states.
    pub work: Work,
}

/// An adapter that is described, and the launches on it in the order of the program. Clones share the list.
#[derive(Debug, Clone)]
pub struct Described {
    info: AdapterInfo,
    launches: Arc<Mutex<Vec<Launch>>>,
}

impl Described {
    /// An adapter with the limits and abilities that `info` states.
    #[must_use]
    pub fn new(info: AdapterInfo) -> Self {
        Self { info, launches: Arc::default() }
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Takes the launches so far out of the list.
    #[must_use]
    pub fn take_launches(&self) -> Vec<Launch> {
        std::mem::take(&mut self.launches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, kernel: &Arc<FinalKernel>, groups: [u32; 3], work: Work) {
        let launch = Launch { kernel: Arc::clone(kernel), groups, work };
        self.launches.lock().unwrap_or_else(PoisonError::into_inner).push(launch);
    }

    /// The adapter of wgpu's noop backend that stands for it.
    pub(super) async fn adapter(&self) -> Result<wgpu::Adapter> {
        let info = &self.info;
        let mut features = wgpu::Features::empty();
        for (has, feature) in [
            (info.f16, wgpu::Features::SHADER_F16),
            (info.subgroups, wgpu::Features::SUBGROUP),
            (!info.matrix_tiles.is_empty(), wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        ] {
            features.set(feature, has);
        }
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop = wgpu::NoopBackendOptions {
            enable: true,
            limits: Some(wgpu::Limits {
                max_storage_buffer_binding_size: info.max_binding_bytes,
                max_buffer_size: info.max_binding_bytes,
                max_compute_workgroups_per_dimension: info.max_workgroups,
                max_compute_invocations_per_workgroup: info.max_workgroup_size,
                max_compute_workgroup_size_x: info.max_workgroup_size,
                max_compute_workgroup_storage_size: info.workgroup_memory_bytes,
                max_storage_buffers_per_shader_stage: 8,
                ..wgpu::Limits::default()
            }),
            features: Some(features),
            device_type: Some(if info.is_cpu {
                wgpu::DeviceType::Cpu
            } else {
                wgpu::DeviceType::DiscreteGpu
            }),
            subgroup_min_size: Some(info.subgroup_size.0),
            subgroup_max_size: Some(info.subgroup_size.1),
        };
        let adapters = wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::NOOP).await;
        let remedy = "the feature isa brings wgpu's noop backend".to_owned();
        adapters.into_iter().next().ok_or_else(|| Error::NoAdapter { wanted: info.name.clone(), remedy })
    }
}
