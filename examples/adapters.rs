//! Every adapter of this machine: what it is, its limits and features, and which kernels it would get.
//!
//!     cargo run --example adapters
//!
//! `WGPU_BACKEND=vulkan|metal|dx12` narrows the list; `WGPU_ADAPTER_NAME=part-of-a-name` chooses for every program.

use wgrad::Gpu;
use wgrad::gpu::AdapterInfo;
use wgrad::ops::ladders;

fn main() {
    let adapters = Gpu::adapters();
    for (i, adapter) in adapters.iter().enumerate() {
        print(i, adapter);
    }
    match Gpu::builder().quiet().build() {
        Ok(gpu) => println!("Gpu::new() takes {}, checks {}", gpu.info().name, on(gpu.checks())),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn print(i: usize, adapter: &AdapterInfo) {
    let (low, high) = adapter.subgroup_size;
    println!("{i}  {}", adapter.name);
    println!("   {} through {}, driver {}", adapter.class, adapter.backend, adapter.driver);
    println!("   largest binding        {}", bytes(adapter.max_binding_bytes));
    println!(
        "   workgroup              {} invocations, {}",
        adapter.max_workgroup_size,
        bytes(u64::from(adapter.workgroup_memory_bytes))
    );
    println!("   workgroups a dimension {}", adapter.max_workgroups);
    println!("   subgroups              {}, {low} to {high} lanes", on(adapter.subgroups));
    println!("   f16                    {}", on(adapter.f16));
    let tiles: Vec<_> = adapter.matrix_tiles.iter().map(|side| format!("{side} x {side}")).collect();
    println!(
        "   matrix units           {}",
        if tiles.is_empty() { "no".to_owned() } else { tiles.join(", ") }
    );
    println!("   timestamps             {} (for --profile)", on(adapter.timestamps));
    for (family, file) in ladders(adapter) {
        println!("   {family:22} shaders/{family}/{file}*.wgsl");
    }
    println!();
}

fn on(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn bytes(n: u64) -> String {
    match n {
        n if n >= 1 << 30 => format!("{:.1} GiB", n as f64 / f64::from(1 << 30)),
        n if n >= 1 << 20 => format!("{} MiB", n >> 20),
        n => format!("{} KiB", n >> 10),
    }
}
