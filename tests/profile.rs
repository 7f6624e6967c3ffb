//! Profiles count what was launched, traces parse, readbacks are of the moment they start.
mod common;

use common::own_gpu;
use wgrad::Gpu;
use wgrad::gpu::format_profile;

#[test]
fn profile_counts_calls_and_stated_work() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    if !gpu.info().timestamps {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let tensors: Vec<_> = (0..3).map(|i| gpu.full([1000], i as f32).unwrap()).collect();
    let rows = gpu.profile();
    let fill = rows.iter().find(|r| r.kernel == "fill/fill").expect("the fill kernel ran");
    assert_eq!((fill.calls, fill.work.bytes), (3, 3 * 4000));
    assert!(fill.seconds > 0.0);
    assert_eq!(tensors[2].to_vec().unwrap(), [2.0; 1000]);
    assert!(format_profile(&rows, Some(gpu.roofline().unwrap())).contains("fill/fill"));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.json");
    gpu.write_trace(&path).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.len() >= 3);
    assert!(events.iter().all(|e| e["dur"].as_f64().unwrap() >= 0.0));
}

#[test]
fn without_profiling_there_is_no_trace() {
    let gpu = Gpu::builder().quiet().profile(false).build().unwrap();
    assert!(gpu.profile().is_empty());
    assert!(gpu.write_trace("never-written.json").is_err());
}

#[test]
fn a_readback_holds_the_values_of_its_start() {
    let gpu = own_gpu();
    let x = gpu.full([5], 1.0).unwrap();
    let before = x.read();
    x.write(&[2.0; 5]);
    let after = pollster::block_on(x.to_vec_async()).unwrap();
    let before: Vec<f32> = bytemuck::pod_collect_to_vec(&before.wait().unwrap());
    assert_eq!((before, after), (vec![1.0; 5], vec![2.0; 5]));
    pollster::block_on(gpu.sync_async()).unwrap();
}

#[test]
fn a_readback_that_nobody_collects_is_harmless() {
    let gpu = own_gpu();
    let x = gpu.full([5], 1.0).unwrap();
    for _ in 0..20 {
        drop(x.read());
    }
    assert_eq!(x.to_vec().unwrap(), [1.0; 5]);
}
