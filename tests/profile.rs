//! Profiles count what was launched, traces parse, readbacks are of the moment they start.
mod common;

use std::process::{Command, Output};

use common::own_gpu;
use wgrad::gpu::{Clock, Grid, KernelTime, Roofline, Work, format_profile};
use wgrad::{Gpu, Kernel};

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
    let table = format_profile(&rows, Some(gpu.roofline().unwrap()));
    assert!(table.contains("fill/fill") && table.contains("% roof"));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.json");
    gpu.write_trace(&path).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.len() >= 3);
    assert!(events.iter().all(|e| e["ts"].as_f64() >= Some(0.0) && e["dur"].as_f64() > Some(0.0)));
    assert!(events.iter().all(|e| e["args"]["% roof"].as_f64().unwrap() >= 0.0), "{events:?}");
    assert!(!events.iter().any(|e| e["name"].as_str().unwrap().starts_with("roofline")));
}

/// Rates of a kernel from outside come from the work that its `run` states; a `launch` states none.
#[test]
fn a_kernel_of_your_own_has_its_rates() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    if !gpu.info().timestamps {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let wgsl = "@group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn halve(@builtin(global_invocation_id) id: vec3u) {
            if id.x < arrayLength(&y) { y[id.x] = 0.5 * y[id.x]; }
        }";
    let kernel = Kernel::new(wgsl, "halve").unwrap();
    let y = gpu.full([1 << 16], 4.0).unwrap();
    gpu.run(&kernel, &[&y], &(), Grid::items(y.len()), Work::new(2 * y.bytes(), y.len()));
    gpu.launch(&kernel, &[&y], &(), Grid::items(y.len())).unwrap();
    let rows = gpu.profile();
    let row = rows.iter().find(|row| row.kernel == "user/halve").expect("the kernel ran");
    assert_eq!((row.calls, row.work), (2, Work::new(2 * y.bytes(), y.len())));
    let percent = row.percent(&gpu.roofline().unwrap());
    assert!(percent > 0.0 && percent.is_finite(), "{percent}");
    assert_eq!(y.to_vec().unwrap()[1 << 15], 1.0);
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

#[test]
fn a_roofline_is_plausible_and_leaves_no_trace_in_the_profile() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    let roofline = gpu.roofline().unwrap();
    assert_eq!(gpu.roofline().unwrap(), roofline, "measured once");
    assert_eq!(roofline.matrix_flops_per_second.is_some(), !gpu.info().matrix_tiles.is_empty());
    assert!(roofline.bytes_per_second > 1e8 && roofline.flops_per_second > 1e8, "{roofline:?}");
    assert!(gpu.bandwidth(1 << 20).unwrap() > 1e8);
    assert!(gpu.profile().is_empty());
    assert_eq!(gpu.memory().live, 0);
}

/// Of launches that keep the device busy both clocks tell the same, and a copy between buffers has no timestamps. The profile of
/// the device does not see them, and goes on afterwards.
#[test]
fn both_clocks_tell_one_time() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    let x = gpu.full([4096, 256], 0.5).unwrap();
    drop(x.softmax(None));
    let before = gpu.profile();
    let busy = gpu.elapsed(|| (0..30).for_each(|_| drop(x.softmax(None)))).unwrap();
    assert!(busy.host > 0.0);
    let with_a_copy = gpu.elapsed(|| drop(x.softmax(None).copy())).unwrap();
    assert_eq!(with_a_copy.device, None);
    assert_eq!(gpu.profile(), before);
    match gpu.clock().unwrap() {
        Clock::Timestamps => {
            let device = busy.device.unwrap();
            assert!(device > 0.5 * busy.host && device < 1.05 * busy.host, "{busy:?}");
            drop(x.relu());
            assert_eq!(gpu.profile().iter().map(|row| row.calls).sum::<u64>(), 3);
        }
        Clock::Host(why) => {
            assert_eq!(busy.device, None);
            assert!(!gpu.info().timestamps || why.contains("timestamps"), "{why}");
        }
    }
}

/// A row without a time has no rates.
#[test]
fn a_row_without_a_time_is_left_out_of_the_table() {
    let row = |kernel: &str, seconds| KernelTime {
        kernel: kernel.into(),
        calls: 2,
        seconds,
        work: Work::new(1000, 1000),
        ..KernelTime::default()
    };
    let rows = [row("a/timed", 0.5), row("a/zero", 0.0), row("a/negative", -1.0), row("a/nan", f64::NAN)];
    let table = format_profile(&rows, None);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("a/timed") && !table.contains("NaN") && !table.contains("inf"), "{table}");
}

/// Work at exactly the rate of a roof is 100 % of it, whichever of bytes and operations takes longer.
#[test]
fn a_kernel_is_judged_by_its_own_roof() {
    let roofline =
        Roofline { bytes_per_second: 1e9, flops_per_second: 1e10, matrix_flops_per_second: Some(1e11) };
    let time = |work, matrix_units| KernelTime { seconds: 1.0, work, matrix_units, ..KernelTime::default() };
    let percent = |bytes: u64, flops: u64, on| time(Work::new(bytes, flops), on).percent(&roofline).round();
    assert_eq!(
        [percent(1 << 20, 10_000_000_000, false), percent(1 << 20, 10_000_000_000, true)],
        [100.0, 10.0]
    );
    assert_eq!([percent(500_000_000, 1, false), percent(500_000_000, 1, true)], [50.0, 50.0]);
    assert_eq!([roofline.ridge(), roofline.matrix_units(true).ridge()], [10.0, 100.0]);
    let none = Roofline { matrix_flops_per_second: None, ..roofline };
    assert_eq!(none.matrix_units(true), none);
}

/// Runs one of the ignored tests below in a process of its own, with `WGRAD_PROFILE=1`.
fn with_profile_asked_for(test: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let args = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    Command::new(program).args(args).env("WGRAD_PROFILE", "1").output().unwrap()
}

/// Tables that a process printed.
fn tables(output: &Output) -> [usize; 2] {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).matches("fill/fill").count())
}

fn filled() -> (Gpu, wgrad::Tensor) {
    let gpu = Gpu::builder().quiet().build().unwrap();
    let x = gpu.full([1000], 1.0).unwrap();
    assert_eq!(x.to_vec().unwrap(), [1.0; 1000]);
    (gpu, x)
}

#[test]
fn the_variable_prints_the_table_once_whatever_the_program_does() {
    if !own_gpu().info().timestamps {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let plain = with_profile_asked_for("child_drops");
    assert!(plain.status.success());
    assert_eq!(tables(&plain), [0, 1], "{plain:?}");
    assert!(String::from_utf8_lossy(&plain.stderr).contains("% roof"));
    let shown = with_profile_asked_for("child_shows_it");
    assert_eq!(tables(&shown), [1, 0], "{shown:?}");
    let off = with_profile_asked_for("child_wants_none");
    assert_eq!(tables(&off), [0, 0], "{off:?}");
    for test in ["child_fails", "child_loses_its_device", "child_loses_its_device_with_work"] {
        let output = with_profile_asked_for(test);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(tables(&output), [0, 0], "{output:?}");
    }
    let panics = with_profile_asked_for("child_panics");
    assert_eq!((panics.status.code(), tables(&panics)), (Some(101), [0, 0]), "{panics:?}");
}

/// The table comes when the tensor goes, which outlives its handle.
#[test]
#[ignore = "run by another"]
fn child_drops() {
    let (gpu, x) = filled();
    drop(gpu);
    drop(x.add(&x));
}

#[test]
#[ignore = "run by another"]
fn child_shows_it() {
    let (gpu, _x) = filled();
    println!("{}", gpu.profile_table().unwrap().unwrap());
}

#[test]
#[ignore = "run by another"]
fn child_wants_none() {
    let gpu = Gpu::builder().quiet().profile(false).build().unwrap();
    drop(gpu.full([1000], 1.0).unwrap());
}

#[test]
#[ignore = "run by another"]
fn child_fails() {
    let (gpu, _x) = filled();
    let limited = Gpu::builder().quiet().memory_limit(1 << 20).build().unwrap();
    let x = limited.full([1000], 1.0).unwrap();
    let wide = x.reshape([1000, 1]).matmul(&x.reshape([1, 1000]));
    assert!(wide.to_vec().is_err());
    gpu.profile_table().unwrap();
}

#[test]
#[ignore = "run by another"]
fn child_loses_its_device() {
    let (gpu, _x) = filled();
    gpu.lose_device_for_test();
}

#[test]
#[ignore = "run by another"]
fn child_loses_its_device_with_work() {
    let (gpu, x) = filled();
    let y = x.add(&x);
    gpu.lose_device_for_test();
    drop(y);
}

#[test]
#[ignore = "run by another"]
fn child_panics() {
    let (_gpu, _x) = filled();
    panic!("on purpose");
}
