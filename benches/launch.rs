//! What a launch costs the host: `cargo bench --features bench --bench launch`. One iteration is one recorded launch.
//!
//! Tensors are tiny and recording is warm (pipelines compiled, buffers pooled, bind groups cached). On Linux the time is
//! that of this thread on its core: device work, and on a CPU adapter the driver's threads, do not count. Submission does.

use std::time::{Duration, Instant};

use criterion::Criterion;
use wgrad::gpu::Grid;
use wgrad::{Gpu, Kernel, Tensor};

wgrad::uniforms! {
    struct Uniforms { n: u32 }
}

const ADD: &str = "// lib: grid
struct Uniforms { n: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

@compute @workgroup_size(64)
fn add(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 64u);
    if i < p.n { y[i] += x[i]; }
}
";

/// Elements of a tensor, and ops of one pass.
const N: usize = 64;
const OPS: usize = 400;

/// Records `OPS` ops or more on a device.
type Pass<'a> = &'a dyn Fn(&Gpu);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let kernel = Kernel::new(ADD, "add").unwrap_or_else(|e| panic!("{e}"));
    let cases: [(&str, Pass<'_>); 3] = [
        ("gpu.launch", &|gpu| {
            let (x, y) = (full(gpu), full(gpu));
            for _ in 0..OPS {
                gpu.launch(&kernel, &[&y, &x], &Uniforms { n: N as u32 }, Grid::items(N)).unwrap();
            }
        }),
        ("op", &|gpu| {
            let (x, mut y) = (full(gpu), full(gpu));
            for _ in 0..OPS {
                y = y.add(&x);
            }
        }),
        ("op with backward", &|gpu| {
            let (x, mut y) = (full(gpu), full(gpu).requires_grad());
            for _ in 0..OPS / 2 {
                y = y.mul(&x);
            }
            drop(y.mean_all().backward());
        }),
    ];
    let gpu = Gpu::builder().profile(false).build().unwrap_or_else(|e| panic!("{e}"));
    let counter = Gpu::builder().quiet().profile(true).build().unwrap_or_else(|e| panic!("{e}"));
    let mut group = criterion.benchmark_group("launch");
    let mut before = 0;
    for (name, pass) in cases {
        pass(&counter);
        let total: u64 = counter.profile().iter().map(|row| row.calls).sum();
        // An adapter without timestamps counts nothing; a pass launches about as often as it has ops.
        let launches = if total > before { total - before } else { OPS as u64 };
        before = total;
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                let passes = iterations.div_ceil(launches);
                let clock = HostClock::start();
                for _ in 0..passes {
                    pass(&gpu);
                    gpu.sync().unwrap();
                }
                clock.elapsed().mul_f64(iterations as f64 / (passes * launches) as f64)
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

fn full(gpu: &Gpu) -> Tensor {
    gpu.full([N], 1.0).unwrap()
}

/// Time of this thread on its core where Linux tells it, else time by the clock.
struct HostClock {
    thread: Option<Duration>,
    clock: Instant,
}

impl HostClock {
    fn start() -> Self {
        Self { thread: thread_time(), clock: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        self.thread.and_then(|start| Some(thread_time()? - start)).unwrap_or_else(|| self.clock.elapsed())
    }
}

fn thread_time() -> Option<Duration> {
    std::thread::yield_now(); // the kernel brings the count up to date
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
