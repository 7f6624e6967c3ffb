//! Images a second of SimCLR's training step: `cargo bench --features bench --bench train_step`.
//!
//! ResNet-8, and on GPUs ResNet-18; f32, and f16 where the adapter has it. Views are there already: the step is forward,
//! backward and SGD. Throughput counts images, of which the network sees two views each.

#[path = "common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use wgrad::Gpu;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let gpu = Gpu::new().unwrap_or_else(|e| panic!("{e}"));
    for step in common::steps::steps(&gpu) {
        let mut group = criterion.benchmark_group("train_step");
        group.throughput(Throughput::Elements(step.batch as u64)).sampling_mode(SamplingMode::Flat);
        let id = BenchmarkId::new(step.name, step.precision.name());
        let mut training = None;
        group.bench_function(id, |b| {
            let training = training.get_or_insert_with(|| step.begin(&gpu).unwrap_or_else(|e| panic!("{e}")));
            b.iter_custom(|steps| {
                let wait = || gpu.sync().unwrap_or_else(|e| panic!("{e}"));
                wait();
                let start = Instant::now();
                for _ in 0..steps {
                    drop(training.step());
                }
                wait();
                start.elapsed()
            });
        });
    }
    criterion.final_summary();
}
