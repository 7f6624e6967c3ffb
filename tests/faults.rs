//! What goes wrong outside the program: no adapter, no memory, a tensor too large, invalid use, a lost device. Each is
//! one clear error at the next reading call; nothing panics, hangs or returns silent zeros.

mod common;

use common::own_gpu;
use wgrad::gpu::{Grid, Work};
use wgrad::{Error, Gpu, GpuBuilder, Kernel, Tensor};

const MIB: u64 = 1 << 20;

fn builder() -> GpuBuilder {
    Gpu::builder().quiet()
}

fn ones(gpu: &Gpu, elements: usize) -> Tensor {
    gpu.full([elements], 1.0).unwrap()
}

/// `y = x + x` in WGSL from outside.
fn doubled() -> Kernel {
    let wgsl = "// lib: grid
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @group(0) @binding(2) var<storage, read> x: array<f32>;
        @compute @workgroup_size(64)
        fn doubled(at: At, @builtin(local_invocation_index) lid: u32) {
            let i = item_index(at, lid, 64u);
            if i < arrayLength(&x) { y[i] = x[i] + x[i]; }
        }";
    Kernel::new(wgsl, "doubled").unwrap()
}

#[test]
fn an_unknown_adapter_is_one_line_that_lists_those_there() {
    let error = builder().adapter("no such adapter").build().unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no such adapter") && text.contains(&Gpu::adapters()[0].name), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// The Vulkan loader reads its variables once, so this test runs itself again in a process that sees no driver.
#[test]
#[cfg(target_os = "linux")]
fn without_a_driver_the_error_names_what_to_install() {
    const NONE: &str = "/no/such/driver.json";
    if std::env::var("VK_DRIVER_FILES").is_ok_and(|files| files == NONE) {
        println!("said: {}", Gpu::new().unwrap_err());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_a_driver_the_error_names_what_to_install", "--nocapture"])
        .env("VK_DRIVER_FILES", NONE)
        .env("VK_ICD_FILENAMES", NONE)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Vec<&str> = text.lines().filter(|line| line.contains("no adapter found")).collect();
    assert_eq!(said.len(), 1, "{text}");
    assert!(said[0].contains("mesa-vulkan-drivers"), "{text}");
}

/// `fn main() -> wgrad::Result<()>` and `unwrap` print errors with `Debug`.
#[test]
fn an_error_reads_the_same_from_main() {
    let error = builder().adapter("no such adapter").build().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn a_tensor_over_the_adapters_limit_is_an_error_before_anything_is_recorded() {
    let gpu = own_gpu();
    let limit = gpu.info().max_binding_bytes;
    let over = limit as usize / 4 + 1;
    let error = gpu.zeros([over]).unwrap_err();
    let Error::TooLarge { size, limit: stated, .. } = error else { panic!("{error}") };
    assert_eq!((size, stated), (4 * over as u64, limit));
    assert_eq!(error.to_string().lines().count(), 1);

    let error = gpu.zeros([1 << 16, 1 << 16]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(gpu.memory().live, 0);
    gpu.sync().expect("a refused creation is not sticky: its caller has the error");
}

#[test]
fn an_op_whose_result_is_too_large_names_itself() {
    let gpu = own_gpu();
    let side = (gpu.info().max_binding_bytes as f64 / 4.0).sqrt() as usize + 1;
    let (column, row) = (gpu.zeros([side, 1]).unwrap(), gpu.zeros([1, side]).unwrap());
    let y = column.add(&row);
    assert_eq!(y.shape()[..], [side, side]);
    let error = y.to_vec().unwrap_err();
    let Error::TooLarge { op, size, .. } = &error else { panic!("{error}") };
    assert_eq!((op.as_str(), *size), ("add", 4 * (side * side) as u64));
}

#[test]
fn running_out_of_memory_is_sticky_until_taken() {
    let gpu = builder().memory_limit(8 * MIB).build().unwrap();
    let x = ones(&gpu, (3 * MIB / 4) as usize); // 3 MiB
    let y = x.add(&x);
    let z = x.add(&y); // the third 3 MiB do not fit

    let Err(error) = z.to_vec() else { panic!("9 MiB fit in 8") };
    let Error::OutOfMemory { op, bytes, in_use, limit } = &error else { panic!("{error}") };
    assert_eq!((op.as_str(), *bytes, *in_use, *limit), ("add", 3 * MIB, 6 * MIB, 8 * MIB));

    // Later work is skipped, keeps its shapes, and reports the first error.
    let w = z.add(&x).add(&y);
    assert_eq!(w.shape(), x.shape());
    for _ in 0..2 {
        assert!(matches!(gpu.sync(), Err(Error::OutOfMemory { .. })));
        assert!(matches!(w.to_vec(), Err(Error::OutOfMemory { .. })));
        assert!(matches!(y.to_vec(), Err(Error::OutOfMemory { .. })));
        assert!(matches!(gpu.zeros([1]), Err(Error::OutOfMemory { .. })));
    }

    // Taken, the device works on: what was there is there, what was made after the error holds nothing.
    assert!(matches!(gpu.take_error(), Some(Error::OutOfMemory { .. })));
    assert!(gpu.take_error().is_none());
    gpu.sync().unwrap();
    assert!(y.to_vec().unwrap().iter().all(|&v| v == 2.0));
    assert!(matches!(z.to_vec(), Err(Error::Poisoned)));
    drop(y);
    // An op on a tensor that holds nothing has no result, though there is memory for it now.
    assert!(matches!(w.add(&x).to_vec(), Err(Error::Poisoned)));
    assert!(matches!(gpu.take_error(), Some(Error::Poisoned)));
    assert!(matches!(gpu.launch(&doubled(), &[&x, &w], &(), Grid::items(1_u32)), Err(Error::Poisoned)));
    drop((z, w));
    assert_eq!(x.add(&x).to_vec().unwrap()[0], 2.0);
    drop(x);
    assert_eq!(gpu.memory().live, 0);
}

#[test]
fn pooled_memory_is_given_up_before_an_allocation_fails() {
    let gpu = builder().memory_limit(8 * MIB).build().unwrap();
    for megabytes in [1, 2, 3, 4, 5, 6, 7, 8] {
        let x = ones(&gpu, (megabytes * MIB / 4) as usize);
        assert_eq!(x.to_vec().unwrap().last(), Some(&1.0));
        let memory = gpu.memory();
        assert!(memory.live + memory.pooled <= 8 * MIB, "{memory:?}");
    }
    assert!(matches!(gpu.zeros([(8 * MIB / 4) as usize + 1]), Err(Error::OutOfMemory { .. })));
}

#[test]
fn the_first_error_is_the_one_reported() {
    let gpu = builder().memory_limit(8 * MIB).build().unwrap();
    let x = ones(&gpu, (3 * MIB / 4) as usize);
    let over = gpu.info().max_binding_bytes as usize / 4 + 1;
    let y = x.add(&x);
    let _z = y.add(&x);
    assert!(gpu.zeros([over]).is_err());
    gpu.lose_device_for_test();
    assert!(matches!(gpu.sync(), Err(Error::OutOfMemory { .. })), "{:?}", gpu.error());
}

#[test]
fn a_launch_that_does_not_fit_its_kernel_is_an_error_at_once() {
    wgrad::uniforms! { struct Uniforms { n: u32 } }
    let gpu = own_gpu();
    let (x, y) = (ones(&gpu, 64), ones(&gpu, 64));
    let kernel = doubled();
    let grid = Grid::items(64_u32);
    let text = |result: wgrad::Result<()>| match result.unwrap_err() {
        Error::Kernel { message, .. } => message,
        other => panic!("{other}"),
    };
    assert!(text(gpu.launch(&kernel, &[&y], &(), grid)).contains('2'));
    assert!(text(gpu.launch(&kernel, &[&y, &x, &x], &(), grid)).contains('2'));
    assert!(text(gpu.launch(&kernel, &[&y, &x], &Uniforms { n: 64 }, grid)).contains('n'));
    let twice = doubled().with(&[("WG", 64.0)]).with(&[("WG", 32.0)]);
    assert!(text(gpu.launch(&twice, &[&y, &x], &(), grid)).contains("`WG` has two values"));
    let odd = doubled().lib("lane", "lane_4");
    assert!(text(gpu.launch(&odd, &[&y, &x], &(), grid)).contains("no `lane` to fill"));
    assert!(gpu.launch(&kernel, &[&y, &x], &(), Grid::groups(u64::MAX)).is_err());
    gpu.launch(&kernel, &[&y, &x], &(), grid).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2.0; 64]);
}

#[test]
fn a_buffer_bound_to_read_and_to_write_is_refused() {
    let gpu = own_gpu();
    let (x, y) = (ones(&gpu, 64), ones(&gpu, 64));
    let kernel = doubled();
    let error = gpu.launch(&kernel, &[&x, &x.reshape([8, 8])], &(), Grid::items(64_u32)).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    gpu.launch(&kernel, &[&y, &x], &(), Grid::items(64_u32)).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2.0; 64]);
}

#[test]
fn a_lost_device_stays_lost_and_says_so() {
    let gpu = own_gpu();
    let x = ones(&gpu, 1000);
    gpu.sync().unwrap();
    let pending = x.add(&x);
    let reading = pending.read();
    gpu.lose_device_for_test();

    // Either is right for what was on its way; waiting for it must end.
    let _ = reading.wait();
    let y = x.add(&x).add(&x);
    assert!(matches!(gpu.sync(), Err(Error::DeviceLost(_))), "{:?}", gpu.error());
    assert!(matches!(y.to_vec(), Err(Error::DeviceLost(_))));
    assert!(matches!(x.to_vec(), Err(Error::DeviceLost(_))));
    assert!(matches!(gpu.tensor(&[1.0], [1]), Err(Error::DeviceLost(_))));
    assert!(matches!(gpu.take_error(), Some(Error::DeviceLost(_))));
    assert!(
        matches!(gpu.sync(), Err(Error::DeviceLost(_))),
        "taking the error does not bring the device back"
    );
    for _ in 0..1000 {
        let _ = x.add(&y);
    }
    assert!(matches!(pollster::block_on(gpu.sync_async()), Err(Error::DeviceLost(_))));
    assert!(matches!(pollster::block_on(y.to_vec_async()), Err(Error::DeviceLost(_))));

    // A new device of the same adapter works.
    assert_eq!(ones(&own_gpu(), 3).to_vec().unwrap(), [1.0; 3]);
}

#[test]
fn a_device_lost_amid_recorded_work_ends_the_wait() {
    let gpu = own_gpu();
    let x = ones(&gpu, 1000);
    let mut y = x.add(&x);
    for _ in 0..2000 {
        y = y.add(&x);
    }
    gpu.lose_device_for_test();
    assert!(y.to_vec().is_err());
    drop((x, y));
    assert!(gpu.sync().is_err());
}

#[test]
fn a_dropped_device_is_not_an_error() {
    let gpu = own_gpu();
    let x = ones(&gpu, 10);
    drop(gpu);
    let y = x.add(&x);
    drop(x);
    assert_eq!(y.to_vec().unwrap(), [2.0; 10], "tensors keep their device");
}

/// `launch` returns what is wrong with a launch; `run`, the form for ops, leaves it to the next reading call.
#[test]
fn a_run_that_does_not_fit_is_a_sticky_error() {
    let gpu = own_gpu();
    let (x, y) = (ones(&gpu, 4), ones(&gpu, 4));
    let doubled = doubled();
    let error = gpu.launch(&doubled, &[&y], &(), Grid::items(4)).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }) && gpu.error().is_none(), "{error}");

    gpu.run(&doubled, &[&y], &(), Grid::items(4), Work::default());
    gpu.run(&doubled, &[&y, &x], &(), Grid::items(4), Work::default()); // skipped
    assert_eq!(y.to_vec().unwrap_err().to_string(), error.to_string());
    assert_eq!(gpu.take_error().unwrap().to_string(), error.to_string());
    assert_eq!(y.to_vec().unwrap(), [1.0; 4]);

    gpu.run(&doubled, &[&y, &x], &(), Grid::items(4), Work::new(32, 4));
    assert_eq!(y.to_vec().unwrap(), [2.0; 4]);
}

/// Kernels that were not compiled yet when the device went, and those whose compilation it interrupts.
#[test]
fn a_device_lost_before_its_kernels_are_compiled_is_one_line() {
    for before in [0, 1, 2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let gpu = builder().cache_dir(folder.path()).build().unwrap();
        let x = gpu.tensor(&[1.0; 64], [8, 8]).unwrap();
        let ops: [fn(&Tensor) -> Tensor; 4] =
            [|x| x.matmul(x), |x| x.softmax(None), |x| x.relu().sum_all(), |x| x.add(x)];
        let y: Vec<Tensor> = ops[..before].iter().map(|op| op(&x)).collect();
        gpu.lose_device_for_test();
        let z: Vec<Tensor> = ops[before..].iter().map(|op| op(&x)).collect();
        for tensor in y.iter().chain(&z) {
            let error = tensor.to_vec().unwrap_err();
            assert!(matches!(error, Error::DeviceLost(_)), "after {before} ops: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        assert!(matches!(gpu.take_error(), Some(Error::DeviceLost(_))));
    }
}
