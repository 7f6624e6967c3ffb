//! An op of your own: WGSL with forward and backward, part of the graph, checked, and timed against the roofline.
//!
//!     cargo run --release --example 04_own_op
//!
//! SwiGLU, `y = a sigmoid(a) b` (Shazeer 2020), gates a layer. As one kernel a pass it reads and writes everything once;
//! of ready ops it is three launches forward and more backward, each through memory.

use std::sync::LazyLock;

use wgrad::gpu::{Bind, Grid, Work};
use wgrad::{Gpu, Kernel, Rng, Tensor};

// Elem4 is four values as the tensors store them, f32 or f16. Buffers are padded, so the last four may pass the end.
const WGSL: &str = "
// lib: grid elem
struct Uniforms { fours: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<Elem4>;
@group(0) @binding(1) var<storage, read_write> da: array<Elem4>;
@group(0) @binding(2) var<storage, read> a: array<Elem4>;
@group(0) @binding(3) var<storage, read> b: array<Elem4>;
@group(0) @binding(4) var<storage, read> dy: array<Elem4>;
@group(0) @binding(5) var<storage, read_write> db: array<Elem4>;

@compute @workgroup_size(64)
fn forward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 64u);
    if i >= p.fours { return; }
    let v = vec4f(a[i]);
    y[i] = Elem4(v / (1.0 + exp(-v)) * vec4f(b[i]));
}

@compute @workgroup_size(64)
fn backward(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 64u);
    if i >= p.fours { return; }
    let v = vec4f(a[i]);
    let s = 1.0 / (1.0 + exp(-v));
    da[i] = Elem4(vec4f(dy[i]) * vec4f(b[i]) * s * (1.0 + v * (1.0 - s)));
    db[i] = Elem4(vec4f(dy[i]) * v * s);
}";
wgrad::uniforms! { struct Uniforms { fours: u32 } }

static KERNELS: LazyLock<[Kernel; 2]> =
    LazyLock::new(|| ["forward", "backward"].map(|entry| Kernel::new(WGSL, entry).expect("valid WGSL")));

/// Work is what the launch needs at least, here `flops` an element; the profile makes rates of it.
fn run(kernel: &Kernel, tensors: &[&dyn Bind], like: &Tensor, flops: usize) {
    let fours = like.len().div_ceil(4) as u32;
    let work = Work::new(tensors.len() * like.bytes(), flops * like.len());
    like.gpu().run(kernel, tensors, &Uniforms { fours }, Grid::items(fours), work);
}

fn swiglu(a: &Tensor, b: &Tensor) -> Tensor {
    assert!(a.shape() == b.shape() && a.dtype() == b.dtype(), "swiglu: {a} and {b}");
    let y = a.empty_like(); // uninitialised: the kernel writes all of it
    run(&KERNELS[0], &[&y, a, b], a, 5);
    y.with_backward("swiglu", &[a, b], &[a, b], |rule| {
        let [a, b] = rule.saved();
        let (da, db) = (a.empty_like(), a.empty_like());
        run(&KERNELS[1], &[&da, a, b, rule.dy, &db], a, 11);
        vec![Some(da), Some(db)] // returned, one a parent; the engine adds
    })
}

fn main() -> wgrad::Result<()> {
    wgrad::train::no_flags(include_str!("04_own_op.rs")); // --help, and no more

    let gpu = Gpu::builder().profile(true).build()?;
    let mut rng = Rng::new(7);
    let mut random = |shape: [usize; 2]| gpu.uniform(shape, -2.0, 2.0, &mut rng);

    // The slope of a loss along one direction: from the gradients, and as a difference quotient.
    let [a, b, along_a, along_b] = [random([5, 7])?, random([5, 7])?, random([5, 7])?, random([5, 7])?];
    let loss = |a: &Tensor, b: &Tensor| swiglu(a, b).square().mean_all();
    let (leaf_a, leaf_b) = (a.requires_grad(), b.requires_grad());
    let grads = loss(&leaf_a, &leaf_b).backward();
    let of =
        |leaf, along: &Tensor| (grads.get(leaf).expect("the loss depends on it") * along).sum_all().item();
    let slope = of(&leaf_a, &along_a)? + of(&leaf_b, &along_b)?;
    let moved = |h: f32| loss(&(&a + &(&along_a * h)), &(&b + &(&along_b * h))).item();
    let quotient = (moved(0.005)? - moved(-0.005)?) / 0.01;
    println!("slope: {slope:.4} from the graph, {quotient:.4} as a difference quotient");
    assert!((slope - quotient).abs() < 2e-3 * slope.abs().max(1.0));

    // Time on the device against the least that memory and arithmetic allow here.
    let (a, b) = (random([4096, 512])?.requires_grad(), random([4096, 512])?.requires_grad());
    for _ in 0..10 {
        let _ = swiglu(&a, &b).sum_all().backward();
        let _ = a.mul(&a.sigmoid()).mul(&b).sum_all().backward(); // the same of ready ops
    }
    println!("{}", gpu.profile_table()?.unwrap_or_else(|| "no timestamps on this adapter".into()));
    Ok(())
}
