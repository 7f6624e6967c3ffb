//! Every adapter of this machine: what it is, its limits and features, and which kernels it would get.
//!
//!     cargo run --release --example adapters
//!     cargo run --release --example adapters -- --json
//!
//! Every program has `--adapter`, and reads `WGPU_ADAPTER_NAME` without it: the number of an adapter in this list, its PCI ids (`10de:2330`),
//! its PCI bus (`0000:01:00.0`), or a part of its name. `WGPU_BACKEND=vulkan|metal|dx12` narrows the list.

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
    if adapters.is_empty() {
        return Gpu::new().map(drop); // the error says why
    }
    if args.json {
        let chosen = Gpu::builder().quiet().build().ok().map(|gpu| gpu.info().index);
        let array = adapters.iter().map(|a| as_json(a, chosen == Some(a.index)));
        println!("{:#}", Value::Array(array.collect()));
        return Ok(());
    }
    for adapter in &adapters {
        print(adapter);
    }
    let gpu = Gpu::new()?;
    println!("Gpu::new() takes {} {}, checks {}", gpu.info().index, gpu.info().name, on(gpu.checks()));
    Ok(())
}

fn as_json(adapter: &AdapterInfo, chosen: bool) -> Value {
    let kernels = ladders(adapter).into_iter().map(|(family, file)| (family.to_owned(), file.into()));
    json!({
        "index": adapter.index,
        "name": adapter.name,
        "backend": adapter.backend,
        "class": adapter.class,
        "driver": adapter.driver,
        "pci_ids": adapter.pci_ids(),
        "pci_bus": adapter.pci_bus,
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

fn print(adapter: &AdapterInfo) {
    let (low, high) = adapter.subgroup_size;
    println!("{}  {}", adapter.index, adapter.name);
    let or_none = |text: String| if text.is_empty() { "not told".to_owned() } else { text };
    println!("   PCI ids                {}", or_none(adapter.pci_ids()));
    println!("   PCI bus                {}", or_none(adapter.pci_bus.clone()));
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
