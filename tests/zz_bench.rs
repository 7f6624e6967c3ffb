//! x
use std::time::Instant;
use wgrad::ops::Contrastive;
use wgrad::{Gpu, Rng};
#[test]
fn bench() {
    let n: usize = std::env::var("N").map_or(1024, |s| s.parse().unwrap());
    let d = 128;
    let gpu = Gpu::builder().quiet().profile(std::env::var("PROF").is_ok()).build().unwrap();
    let mut rng = Rng::new(1);
    let q = gpu.normal([n, d], 0.0, 0.09, &mut rng).unwrap().requires_grad();
    let k = gpu.normal([n, d], 0.0, 0.09, &mut rng).unwrap().requires_grad();
    gpu.sync().unwrap();
    for mode in ["q+k", "q", "self"] {
        let mut times = vec![];
        for _ in 0..10 {
            let t = Instant::now();
            let op = Contrastive::new(0.2);
            let loss = match mode {
                "q+k" => op.forward(&q, &k),
                "q" => op.forward(&q, &k.stop_gradient()),
                _ => op.positive_offset(n / 2).exclude_offset(0).forward_self(&q),
            }
            .loss;
            let g = loss.backward();
            gpu.sync().unwrap();
            drop(g);
            times.push(t.elapsed().as_secs_f64() * 1e3);
        }
        let first = times[0];
        times.sort_by(f64::total_cmp);
        println!(
            "N {n} checks {} {mode}: first {first:.0} ms, min {:.1} median {:.1} ms",
            gpu.checks(),
            times[0],
            times[5]
        );
    }
    println!("{:#?}", gpu.memory());
    for t in gpu.profile() {
        println!("{t:?}");
    }
}
