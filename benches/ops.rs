//! Speed of the ops: `cargo bench`, or `cargo bench -- conv2d` for a part.
//!
//! Each case first checks itself against the specification on a small ragged shape, then times many runs including the
//! wait for the device. Throughput is in the FLOPs and bytes that [`Work`] states: what the op needs at least.
//! `WGRAD_KERNEL=matmul:1_naive` times another kernel file of a family.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, Throughput};
use wgrad::gpu::Work;
use wgrad::ops::Conv2dOptions;
use wgrad::reference;
use wgrad::{Gpu, Rng, Tensor};

/// One line of the table.
struct Case<'a> {
    op: &'static str,
    size: String,
    work: Work,
    check: Box<dyn Fn() + 'a>,
    time: Box<dyn Fn(&mut Bencher<'_>) + 'a>,
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let gpu = Gpu::new().unwrap_or_else(|e| panic!("{e}"));
    for case in cases(&gpu) {
        let Work { flops, bytes } = case.work;
        let throughput = Throughput::ElementsAndBytes { elements: flops, bytes };
        let mut group = criterion.benchmark_group(case.op);
        let mut checked = false;
        group.throughput(throughput).bench_function(BenchmarkId::from_parameter(&case.size), |b| {
            if !checked {
                (case.check)();
                checked = true;
            }
            (case.time)(b);
        });
    }
    criterion.final_summary();
}

/// Every case. An op has a function below that makes its cases; a new op adds its line here.
fn cases(gpu: &Gpu) -> Vec<Case<'_>> {
    let mut cases = vec![];
    cases.extend([256, 512, 1024].map(|n| matmul(gpu, "matmul", Tensor::matmul, [n, n, n])));
    cases.push(matmul(gpu, "matmul", Tensor::matmul, [256, 128, 64]));
    cases.push(matmul(gpu, "matmul_nt", Tensor::matmul_nt, [512, 512, 512]));
    cases.push(matmul(gpu, "matmul_tn", Tensor::matmul_tn, [512, 512, 512]));
    for pass in [Pass::Forward, Pass::InputGradient, Pass::WeightGradient] {
        cases.push(conv2d(gpu, pass, [64, 28, 32, 32]));
        cases.push(conv2d(gpu, pass, [256, 14, 8, 8]));
    }
    cases
}

fn random(gpu: &Gpu, seed: u32, shape: &[usize]) -> (Tensor, Vec<f64>) {
    let mut rng = Rng::new(seed);
    let data: Vec<f32> = (0..shape.iter().product()).map(|_| 2.0 * rng.uniform() - 1.0).collect();
    let tensor = gpu.tensor(&data, shape).unwrap_or_else(|e| panic!("{e}"));
    (tensor, data.into_iter().map(f64::from).collect())
}

/// Panics unless every element is within 1e-4 of the specification (sums of some hundred products); NaN fails.
fn check(op: &str, got: &Tensor, want: &[f64]) {
    let got = got.to_vec().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(got.len(), want.len(), "{op}");
    let wrong = got.iter().zip(want).position(|(g, w)| {
        (f64::from(*g) - w).abs().partial_cmp(&(1e-4 * (1.0 + w.abs()))).is_none_or(std::cmp::Ordering::is_gt)
    });
    assert_eq!(wrong, None, "{op} differs from its specification at this element");
}

/// Times `run` with the wait for its end; `prepare` is neither timed nor left unfinished.
fn time<S>(b: &mut Bencher<'_>, gpu: &Gpu, prepare: impl Fn() -> S, run: impl Fn(S) -> Tensor) {
    let wait = || gpu.sync().unwrap_or_else(|e| panic!("{e}"));
    b.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let state = prepare();
            wait();
            let start = Instant::now();
            black_box(run(state));
            wait();
            total += start.elapsed();
        }
        total
    });
}

fn matmul<'a>(
    gpu: &'a Gpu,
    op: &'static str,
    f: fn(&Tensor, &Tensor) -> Tensor,
    [m, n, k]: [usize; 3],
) -> Case<'a> {
    let shapes = move |[m, n, k]: [usize; 3]| match op {
        "matmul_nt" => [[m, k], [n, k]],
        "matmul_tn" => [[k, m], [k, n]],
        _ => [[m, k], [k, n]],
    };
    let want = match op {
        "matmul_nt" => reference::matmul::matmul_nt,
        "matmul_tn" => reference::matmul::matmul_tn,
        _ => reference::matmul::matmul,
    };
    Case {
        op,
        size: format!("{m}x{n}x{k}"),
        work: Work::new(4 * (m * k + k * n + m * n) as u64, 2 * (m * n * k) as u64),
        check: Box::new(move || {
            for ragged in [[67, 29, 131], [68, 36, 132]] {
                let [a, b] = shapes(ragged);
                let ((a, wide_a), (b, wide_b)) = (random(gpu, 1, &a), random(gpu, 2, &b));
                check(op, &f(&a, &b), &want(&wide_a, &wide_b, ragged));
            }
        }),
        time: Box::new(move |bencher| {
            let [a, b] = shapes([m, n, k]).map(|shape| random(gpu, 3, &shape).0);
            time(bencher, gpu, || (), |()| f(&a, &b));
        }),
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

/// A 3x3 convolution with padding 1 of `n` images, `size` x `size`.
fn conv2d(gpu: &Gpu, pass: Pass, [n, size, cin, cout]: [usize; 4]) -> Case<'_> {
    let op = match pass {
        Pass::Forward => "conv2d",
        Pass::InputGradient => "conv2d input gradient",
        Pass::WeightGradient => "conv2d weight gradient",
    };
    let options = Conv2dOptions::new().padding(1);
    // The output and the tensor whose gradient is wanted.
    let run = move |x: &Tensor, w: &Tensor| {
        let (x, w) = match pass {
            Pass::Forward => (x.clone(), w.clone()),
            Pass::InputGradient => (x.requires_grad(), w.clone()),
            Pass::WeightGradient => (x.clone(), w.requires_grad()),
        };
        let y = x.conv2d(&w, options);
        (y, if x.tracks_grad() { x } else { w })
    };
    let images = n * size * size;
    Case {
        op,
        size: format!("{n}x{size}x{size}x{cin}->{cout}"),
        work: Work::new(
            4 * (images * (cin + cout) + 9 * cin * cout) as u64,
            18 * (images * cin * cout) as u64,
        ),
        check: Box::new(move || {
            for (cin, cout) in [(3, 5), (4, 12)] {
                let conv = reference::conv2d::Conv {
                    n: 2,
                    input: [7, 11],
                    cin,
                    cout,
                    kernel: [3, 3],
                    stride: [1, 1],
                    padding: [1, 1],
                };
                let ((x, wide_x), (w, wide_w)) =
                    (random(gpu, 1, &[2, 7, 11, cin]), random(gpu, 2, &[3, 3, cin, cout]));
                let ones = vec![1.0; 2 * 7 * 11 * cout];
                let (y, leaf) = run(&x, &w);
                let backward = || reference::conv2d::conv2d_backward(&wide_x, &wide_w, &ones, &conv);
                match pass {
                    Pass::Forward => check(op, &y, &reference::conv2d::conv2d(&wide_x, &wide_w, &conv)),
                    Pass::InputGradient => check(op, &gradient(&loss(&y), &leaf), &backward().0),
                    Pass::WeightGradient => check(op, &gradient(&loss(&y), &leaf), &backward().1),
                }
            }
        }),
        time: Box::new(move |bencher| {
            let (x, _) = random(gpu, 3, &[n, size, size, cin]);
            let (w, _) = random(gpu, 4, &[3, 3, cin, cout]);
            match pass {
                Pass::Forward => time(bencher, gpu, || (), |()| run(&x, &w).0),
                _ => {
                    let prepare = || {
                        let (y, leaf) = run(&x, &w);
                        (loss(&y), leaf)
                    };
                    time(bencher, gpu, prepare, |(loss, leaf)| gradient(&loss, &leaf));
                }
            }
        }),
    }
}

/// A scalar whose gradient with respect to `y` is all ones, already there, so that only the op's own backward is timed.
fn loss(y: &Tensor) -> Tensor {
    let scalar = y.gpu().zeros([]).unwrap_or_else(|e| panic!("{e}"));
    scalar.with_backward("loss", &[y], &[&y.full_like(1.0)], |g| {
        let [dy] = g.saved();
        vec![Some(dy.clone())]
    })
}

fn gradient(loss: &Tensor, leaf: &Tensor) -> Tensor {
    loss.backward().get(leaf).expect("the loss depends on it").clone()
}
