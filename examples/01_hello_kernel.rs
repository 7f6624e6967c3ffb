//! Your own WGSL, launched through the public API: y = a x + y, the "saxpy" of BLAS.
//!
//!     cargo run --release --example 01_hello_kernel

use wgrad::gpu::Grid;
use wgrad::{Gpu, Kernel};

const SAXPY: &str = "
// lib: grid
struct Uniforms { n: u32, a: f32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

// One invocation computes one element.
@compute @workgroup_size(64)
fn saxpy(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 64u);      // from shaders/lib/grid.wgsl
    if i >= p.n { return; }
    y[i] = p.a * x[i] + y[i];
}";

// The Rust twin of the WGSL struct; the launch compares names, types and order.
wgrad::uniforms! { struct Uniforms { n: u32, a: f32 } }

fn main() -> wgrad::Result<()> {
    wgrad::train::no_flags(include_str!("01_hello_kernel.rs")); // --help, and no more

    let gpu = Gpu::new()?;
    println!("{} ({})", gpu.info().name, gpu.info().backend);

    let saxpy = Kernel::new(SAXPY, "saxpy")?; // parsed and validated here
    let n = 1_000_000;
    let x = gpu.full([n], 3.0)?;
    let y = gpu.tensor(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), [n])?;

    // Tensors in the order of their bindings: 1, 2, ...
    gpu.launch(&saxpy, &[&y, &x], &Uniforms { n: n as u32, a: 2.0 }, Grid::items(n))?;

    let host = y.to_vec()?; // the only place that waits
    println!("y[0] = {}, y[{}] = {}", host[0], n - 1, host[n - 1]);
    assert!(host.iter().enumerate().all(|(i, &v)| v == 6.0 + i as f32));
    Ok(())
}
