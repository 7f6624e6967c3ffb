//! What this adapter can do at best: copy bandwidth by size, multiply-add rates, and where the two meet.
//!
//!     cargo run --release --example roofline
//!
//! A kernel with fewer floating-point operations a byte than the ridge point waits for memory, one with more for arithmetic.
//! `--profile` of a training run puts each kernel beside these roofs.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use wgrad::train::{self, parse};
use wgrad::{Gpu, GpuBuilder, Result};

#[derive(Parser)]
#[command(version)]
struct Args {
    /// Number, PCI ids, PCI bus or part of the name of an adapter, as the program `adapters` prints them; the best if left out
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
}

/// Sizes of the buffer that is copied: two of them must fit a cache to be read and written there.
const SIZES: [u64; 7] = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20];
/// No further size is tried after this.
const BUDGET: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    train::main(|| measure(&parse(include_str!("roofline.rs"))))
}

fn measure(args: &Args) -> Result<()> {
    let gpu = args.adapter.iter().fold(Gpu::builder().checks(false), GpuBuilder::adapter).build()?;
    let info = gpu.info();
    println!("{} ({}, {})", info.name, info.backend, info.driver);

    println!("\ncopy, launches included");
    let started = Instant::now();
    for bytes in SIZES {
        if bytes > info.max_binding_bytes || started.elapsed() > BUDGET {
            println!("{:>12}  not measured", size(bytes));
            continue;
        }
        println!("{:>12} {:>10.1} GB/s read + written", size(bytes), gpu.bandwidth(bytes)? / 1e9);
    }

    let roofline = gpu.roofline()?;
    let copy = roofline.bytes_per_second / 1e9;
    println!("\n{:<40} {:>10} {:>10} {:>16}", "roof", "GB/s", "GFLOP/s", "ridge, FLOP/byte");
    let units = ["f32 multiply-add", "matrix units, f16 operands and f32 sums"];
    for (unit, on) in units.into_iter().zip([false, true]) {
        if on && roofline.matrix_flops_per_second.is_none() {
            println!("{unit:<40} none here");
            continue;
        }
        let roof = roofline.matrix_units(on);
        println!("{unit:<40} {copy:>10.1} {:>10.1} {:>16.1}", roof.flops_per_second / 1e9, roof.ridge());
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}
