//! scratch
use std::time::Instant;
use wgrad::ops::Conv2dOptions;
use wgrad::{Gpu, Tensor};
fn cpu() -> f64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|d| {
            std::fs::read_to_string(d.unwrap().path().join("schedstat"))
                .unwrap_or("0".into())
                .split(' ')
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap()
        })
        .sum::<f64>()
        * 1e-9
}
fn time(gpu: &Gpu, name: &str, flops: f64, mut f: impl FnMut() -> Tensor) {
    let _ = f();
    gpu.sync().unwrap();
    let (t0, c0) = (Instant::now(), cpu());
    let mut n = 0.0;
    let mut best = f64::MAX;
    while t0.elapsed().as_secs_f64() < 0.6 || n < 3.0 {
        let t = Instant::now();
        let _y = f();
        gpu.sync().unwrap();
        best = best.min(t.elapsed().as_secs_f64());
        n += 1.0;
    }
    let c = (cpu() - c0) / 2.0 / n;
    println!(
        "{name:40} cpu {:6.2} GFLOP/s   best {:6.2} GFLOP/s  {:.2} ms",
        flops / c * 1e-9,
        flops / best * 1e-9,
        best * 1e3
    );
}
#[test]
fn bench() {
    let gpu = Gpu::builder().quiet().checks(false).build().unwrap();
    let d = |n: usize| {
        let mut r = wgrad::Rng::new(n as u32);
        (0..n).map(|_| r.uniform() - 0.5).collect::<Vec<f32>>()
    };
    let t = |s: &[usize]| gpu.tensor(&d(s.iter().product()), s).unwrap();
    let filter = std::env::var("F").unwrap_or_default();
    for (m, n, k) in [
        (256, 256, 256),
        (512, 512, 512),
        (1024, 1024, 1024),
        (256, 128, 64),
        (256, 64, 128),
        (64, 128, 256),
        (128, 128, 256),
        (256, 10, 32),
    ] {
        if !"matmul".contains(&filter) {
            break;
        }
        let fl = 2.0 * (m * n * k) as f64;
        let (a, b) = (t(&[m, k]), t(&[k, n]));
        time(&gpu, &format!("nn {m} {n} {k}"), fl, || a.matmul(&b));
        let b = t(&[n, k]);
        time(&gpu, &format!("nt {m} {n} {k}"), fl, || a.matmul_nt(&b));
        let (a, b) = (t(&[k, m]), t(&[k, n]));
        time(&gpu, &format!("tn {m} {n} {k}"), fl, || a.matmul_tn(&b));
    }
    for (n, h, ci, co, k, s) in [
        (64, 28, 32, 32, 3, 1),
        (256, 28, 1, 8, 3, 2),
        (256, 14, 8, 8, 3, 1),
        (256, 14, 8, 16, 3, 2),
        (256, 7, 16, 16, 3, 1),
        (256, 7, 16, 32, 3, 2),
        (256, 4, 32, 32, 3, 1),
        (256, 14, 8, 16, 1, 2),
        (64, 32, 3, 16, 3, 1),
        (16, 32, 64, 64, 3, 1),
    ] {
        if !"conv".contains(&filter) {
            break;
        }
        let o = Conv2dOptions::new().stride(s).padding(k / 2);
        let (x, w) = (t(&[n, h, h, ci]), t(&[k, k, ci, co]));
        let y = x.conv2d(&w, o);
        let fl = 2.0 * (y.len() * k * k * ci) as f64;
        let name = format!("{n}x{h}x{h}x{ci}->{co} k{k} s{s}");
        time(&gpu, &format!("fwd {name}"), fl, || x.conv2d(&w, o));
        let row = t(&[y.len(), 1]);
        let _ = row;
        let (dx, dw) = (x.requires_grad(), w.requires_grad());
        time(&gpu, &format!("fwd+dx {name}"), 2.0 * fl, || {
            let y = dx.conv2d(&w, o);
            y.bench_backward(&dx)
        });
        time(&gpu, &format!("fwd+dw {name}"), 2.0 * fl, || {
            let y = x.conv2d(&dw, o);
            y.bench_backward(&dw)
        });
    }
}
trait B {
    fn bench_backward(&self, x: &Tensor) -> Tensor;
}
impl B for Tensor {
    fn bench_backward(&self, x: &Tensor) -> Tensor {
        let g = self.stop_gradient();
        let loss = self.gpu().zeros([]).unwrap().with_backward("l", &[self], &[&g], |b| {
            let [g] = b.saved();
            vec![Some(g.clone())]
        });
        loss.backward().get(x).unwrap().clone()
    }
}
