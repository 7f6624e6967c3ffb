//! x
#[test]
fn t() {
    let gpu = wgrad::Gpu::builder().quiet().checks(false).build().unwrap();
    for (m, n, k) in [
        (3, 3, 200003),
        (3, 3, 200),
        (3, 3, 400),
        (3, 3, 2000),
        (3, 3, 4096),
        (3, 3, 20000),
        (17, 65, 4000),
        (16, 64, 4096),
        (16, 64, 65536),
    ] {
        let d = |n: usize| (0..n).map(|i| ((i * 7919 % 101) as f32) * 0.01).collect::<Vec<f32>>();
        let (a, b) = (gpu.tensor(&d(m * k), [k, m]).unwrap(), gpu.tensor(&d(n * k), [k, n]).unwrap());
        let t = std::time::Instant::now();
        let c = a.matmul_tn(&b).to_vec().unwrap();
        let e = t.elapsed();
        let t = std::time::Instant::now();
        let _ = a.matmul_tn(&b).to_vec().unwrap();
        let (da, db) = (d(m * k), d(n * k));
        let w: f64 = (0..k).map(|l| da[l * m] as f64 * db[l * n + n - 1] as f64).sum();
        println!("{m} {n} {k}: {} want {w}  {e:?} {:?}", c[n - 1], t.elapsed());
    }
}
