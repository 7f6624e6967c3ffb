//! Speed of every op and of every rung of the kernel ladders: `cargo bench --features bench --bench ops`, or `-- conv2d` for a part.
//!
//! Each case first checks itself against the specification on a small ragged shape, then times many runs including the
//! wait for the device. Throughput is in the FLOPs and bytes that `Work` states: what the op needs at least.
//! `WGRAD_KERNEL=matmul:1_naive` times another kernel file of a family in the ops.

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Case, ladder, optimizers, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use wgrad::gpu::Work;
use wgrad::{Gpu, ops};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let gpu = Gpu::new().unwrap_or_else(|e| panic!("{e}"));
    for case in timed::ops(&gpu).into_iter().chain(optimizers::cases(&gpu)) {
        bench(&mut criterion, &gpu, case.name.clone(), &case);
    }
    for (family, _) in ops::ladders(gpu.info()) {
        for rung in ladder::rungs(family, &gpu) {
            let gpu = Gpu::builder().quiet().kernel(family, rung).build().unwrap_or_else(|e| panic!("{e}"));
            for case in ladder::ladder(family, rung, &gpu) {
                bench(&mut criterion, &gpu, format!("{}, {rung}", case.name), &case);
            }
        }
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, gpu: &Gpu, name: String, case: &Case) {
    let mut subject = None;
    let mut group = criterion.benchmark_group(name);
    let Work { flops, bytes } = case.work;
    group.throughput(match flops {
        0 => Throughput::Bytes(bytes),
        elements => Throughput::ElementsAndBytes { elements, bytes },
    });
    group.bench_function(BenchmarkId::from_parameter(&case.size), |b| {
        let subject = subject.get_or_insert_with(|| {
            (case.check)(gpu).unwrap_or_else(|wrong| panic!("{wrong}"));
            (case.prepare)(gpu).unwrap_or_else(|e| panic!("{e}"))
        });
        b.iter_custom(|count| {
            Duration::from_secs_f64(subject.seconds(gpu, count).unwrap_or_else(|e| panic!("{e}")))
        });
    });
}
