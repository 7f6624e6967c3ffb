//! Devices that come and go on several threads while others work: the Vulkan loader is not safe there by itself (`src/gpu/loader.rs`).
//! `WGRAD_STRESS_SECONDS` makes it longer than the few seconds it takes by default.

use std::thread;
use std::time::{Duration, Instant};

use wgrad::{Gpu, Result, Rng};

fn duration() -> Duration {
    let seconds = std::env::var("WGRAD_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(4.0))
}

/// Opens a device, multiplies, reads, and drops it, until the time is over; says how often.
fn come_and_go(seed: u32, until: Instant) -> Result<u32> {
    let mut rounds = 0;
    while Instant::now() < until {
        let gpu = Gpu::builder().quiet().build()?;
        let x = gpu.uniform([8, 8], 0.0, 1.0, &mut Rng::new(seed))?;
        let ones = gpu.full([8, 8], 1.0)?;
        let host = x.to_vec()?;
        // The product with ones has a row's sum in each of its columns.
        let want = host[..8].iter().sum::<f32>();
        let got = x.matmul(&ones).to_vec()?[3];
        assert!((got - want).abs() <= 1e-5 * want.abs(), "{got} for {want}");
        rounds += 1;
        if rounds % 3 == 0 {
            // Also without waiting for recorded work, and with a tensor as the last owner of its device.
            let last = x.relu();
            drop((x, ones, gpu));
            drop(last);
        }
    }
    Ok(rounds)
}

/// Uses one device all the time: new buffers, kernels, readbacks.
fn stay(until: Instant) -> Result<u32> {
    let gpu = Gpu::builder().quiet().build()?;
    let mut rounds = 0;
    while Instant::now() < until {
        let elements = 1 + (rounds as usize * 977) % 60_000;
        let total = gpu.full([elements], 1.0)?.sum_all().item()?;
        assert!((total - elements as f32).abs() <= 1e-5 * elements as f32, "{total} of {elements} ones");
        gpu.trim();
        rounds += 1;
    }
    Ok(rounds)
}

#[test]
fn devices_come_and_go_while_others_work() {
    let until = Instant::now() + duration();
    let rounds: Vec<u32> = thread::scope(|scope| {
        let going = (0..4).map(|seed| scope.spawn(move || come_and_go(seed, until)));
        let staying = (0..2).map(|_| scope.spawn(move || stay(until)));
        let listing = scope.spawn(move || {
            let mut rounds = 0;
            while Instant::now() < until {
                assert!(!Gpu::adapters().is_empty());
                rounds += 1;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(rounds)
        });
        let threads: Vec<_> = going.chain(staying).chain([listing]).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic").unwrap()).collect()
    });
    println!("rounds by thread: {rounds:?}");
    assert!(rounds.iter().all(|&n| n > 0), "a thread did nothing: {rounds:?}");
}
