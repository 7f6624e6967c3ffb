//! A GPU compute engine written by hand: a tensor, a reverse-mode autograd, and every kernel a readable WGSL file dispatched
//! through [wgpu](https://docs.rs/wgpu). On it stand a ResNet and the self-supervised methods that train it without labels.
//!
//! ```
//! # fn main() -> wgrad::Result<()> {
//! use wgrad::{Gpu, Rng};
//!
//! let gpu = Gpu::new()?;                                  // the best adapter
//! let mut rng = Rng::new(7);
//! let x = gpu.uniform([64, 32], -1.0, 1.0, &mut rng)?;
//! let w = gpu.normal([32, 10], 0.0, 0.1, &mut rng)?.requires_grad();
//! let loss = x.matmul(&w).relu().mean_all();              // recorded, not yet run
//! let grads = loss.backward();                            // consumes the graph
//! let dw = grads.get(&w).unwrap();
//! let host: Vec<f32> = dw.to_vec()?;                      // the only wait
//! # assert_eq!(host.len(), 320);
//! # Ok(())
//! # }
//! ```
//!
//! # Why by hand
//!
//! The kernels are the point. Someone who wants to know why a matrix product is fast should be able to open one file, read
//! it from top to bottom, change a line and measure. Each of these would have taken that away:
//!
//! - *Generating kernels* from Rust or from an intermediate language, as CubeCL and tinygrad do. One source serves several
//!   targets and fusion comes for free, but the text that runs is nobody's: errors point into it, and it changes with the
//!   compiler. Here the file is what the compiler gets, line numbers included, and what varies is an `override` constant.
//! - *A template or macro layer over WGSL.* It begins with one `#ifdef` and ends as a language. Module scope in WGSL is
//!   order-free, so a library file appended to a kernel is all the reuse that is needed.
//! - *CUDA.* Faster on one vendor's cards, and absent on all others. wgpu runs on Vulkan, Metal and DX12; on a CPU it runs
//!   through Mesa's lavapipe, so every test runs where there is no GPU at all.
//! - *A second backend on the CPU.* Two implementations drift. [`mod@reference`] is a specification: plain loops in `f64` that
//!   tests compare with, and that nothing falls back to.
//! - *Tuning by default.* It costs seconds before the first step, and kernels round differently, so results would hang on a
//!   measurement. Kernels are chosen by adapter class and shape from small static tables; [`GpuBuilder::tune`] measures where
//!   it is asked to, checks each candidate first, and keeps its choice on disk and in checkpoints.
//!
//! # Why this tensor
//!
//! A [`Tensor`] is a shape, an element type and a range of a buffer; contiguous and row-major, always. Strided views would
//! make `transpose` free and every kernel take strides. Shapes are values, not types: a type-level shape catches mistakes
//! earlier but makes a network's size a compile-time constant. Misuse panics where it happens, with the op and every shape;
//! what depends on the machine, memory or a file is an [`Error`].
//!
//! The graph is recorded as ops run, as in PyTorch, and [`Tensor::backward`] consumes it. A rule *returns* the gradients of
//! its inputs; one place adds them. That a rule overwrites where it should add is the classic defect of small engines, and
//! here it cannot be written.
//!
//! # From `a.matmul(&b)` to the GPU
//!
//! Four rooms. `ops/matmul.rs` checks shapes and states the backward, and its ladder of kernels gives the rung that fits job and
//! adapter (`ops/ladder.rs`, by the numbers of `gpu/facts.rs`). `gpu/kernel.rs` reads bindings, workgroup size and parameters
//! from the WGSL itself, with naga, so they are stated once. `gpu/recorder.rs` appends the
//! launch to one open compute pass, which is submitted when it is large or when somebody reads. `shaders/matmul/` is what
//! runs.
//!
//! An op of your own goes the same way through the same doors: [`Kernel::new`] for its WGSL, [`Tensor::empty`] for its output,
//! [`Gpu::run`] for the launch and the work it states, [`Tensor::with_backward`] for its place in the graph.
//! `examples/04_own_op.rs` is one.
//!
//! Nothing waits until a value is read. Memory of a dropped tensor goes to later work on the same queue, so a training step
//! in steady state allocates nothing. Errors of the device are sticky: later ops return tensors that hold nothing, and the
//! next read returns the first error.
//!
//! # Map
//!
//! | module | what it has |
//! |---|---|
//! | [`shape`], [`error`], [`rng`] | arithmetic on dimensions; one error type; Philox random numbers |
//! | [`gpu`] | the machine: adapters, buffers and pool, kernels, recorder, readback, profiler. Knows no tensor |
//! | [`tensor`], [`autograd`] | the handle; the graph, and the only place that adds gradients |
//! | [`ops`] | one file an op: shapes, kernels, forward and backward |
//! | [`mod@reference`] | the specification of every op |
//! | [`nn`], [`optim`] | modules as fields and a `forward`; optimisers on flat buffers |
//! | [`ssl`], [`data`], [`eval`] | losses; readers, loader, augmentation; kNN, linear probe, collapse metrics |
//! | [`train`] | the loop, the run directory, checkpoints |
//!
//! A room names only rooms above it; `tests/rooms.rs` holds that.
//!
//! # Numbers
//!
//! `f32` means `f32`. [`nn::Precision::F16`] is asked for: activations and their gradients are then stored in `f16`, by the same
//! kernel files with another `lib/elem_*.wgsl` behind them; weights, statistics, sums, losses and optimiser state stay `f32`,
//! and [`optim::LossScaler`] keeps small gradients from rounding to zero.
//!
//! The same adapter, seed and program give the same bits: reductions are trees of a fixed shape, no float
//! is updated atomically, and a random number is a function of its name (seed, stream, position), never of the order of
//! calls or of the place in a batch.
//!
//! # Features
//!
//! `train` (default) has the training run and its command line, and implies `data`, the readers of image data sets. `isa` is for
//! `examples/isa.rs`, which studies kernels without an adapter. Without default features this is the bare engine, up to [`nn`], [`optim`], [`ssl`] and [`eval`].

pub mod autograd;
#[cfg(feature = "data")]
pub mod data;
pub mod error;
pub mod eval;
pub mod gpu;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod reference;
pub mod rng;
pub mod shape;
pub mod ssl;
pub mod tensor;
#[cfg(feature = "train")]
pub mod train;

pub use autograd::Gradients;
pub use error::{Error, Result};
pub use gpu::{Gpu, GpuBuilder, Kernel};
pub use rng::Rng;
pub use shape::Shape;
pub use tensor::{DType, Tensor};
