//! Every adapter of this machine: what it is, its limits and features, and which kernels it would get.
//!
//!     cargo run --release --example adapters
//!     cargo run --release --example adapters -- --json
//!
//! `WGPU_BACKEND=vulkan|metal|dx12` narrows the list; `WGPU_ADAPTER_NAME=part-of-a-name` chooses for every program.

use std::process::ExitCode;

use clap::Parser;
use serde_json::{Map, Value, json};
use wgrad::gpu::AdapterInfo;
use wgrad::ops::ladders;
use wgrad::{Gpu, train};

#[derive(Parser)]
#[command(version)]
struct Args {
    /// Print JSON: an array, the adapter that Gpu::new() takes marked `chosen`
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    train::main(|| list(&train::parse(include_str!("adapters.rs"))))
}

fn list(args: &Args) -> wgrad::Result<()> {
    let adapters = Gpu::adapters();
    if args.json {
        let chosen = Gpu::builder().quiet().build().ok();
        let same =
            |gpu: &Gpu, a: &AdapterInfo| (&gpu.info().name, &gpu.info().backend) == (&a.name, &a.backend);
        let chosen = chosen.and_then(|gpu| adapters.iter().position(|a| same(&gpu, a)));
        let array: Vec<_> =
            (adapters.iter().enumerate()).map(|(i, a)| as_json(a, chosen == Some(i))).collect();
        println!("{:#}", Value::Array(array));
        return Ok(());
    }
    for (i, adapter) in adapters.iter().enumerate() {
        print(i, adapter);
    }
    let gpu = Gpu::builder().quiet().build()?;
    println!("Gpu::new() takes {}, checks {}", gpu.info().name, on(gpu.checks()));
    Ok(())
}

fn as_json(adapter: &AdapterInfo, chosen: bool) -> Value {
    let kernels = ladders(adapter).into_iter().map(|(family, file)| (family.to_owned(), file.into()));
    json!({
        "name": adapter.name,
        "backend": adapter.backend,
        "class": adapter.class,
        "driver": adapter.driver,
        "chosen": chosen,
        "cpu": adapter.is_cpu,
        "max_binding_bytes": adapter.max_binding_bytes,
        "max_workgroup_size": adapter.max_workgroup_size,
        "workgroup_memory_bytes": adapter.workgroup_memory_bytes,
        "max_workgroups_per_dimension": adapter.max_workgroups,
        "subgroups": adapter.subgroups,
        "subgroup_size": adapter.subgroup_size,
        "f16": adapter.f16,
        "matrix_tiles": adapter.matrix_tiles,
        "timestamps": adapter.timestamps,
        "kernels": kernels.collect::<Map<_, Value>>(),
    })
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
