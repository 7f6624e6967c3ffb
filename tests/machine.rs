//! The machine: the order of work, the grid, the pool, two devices, several threads.

mod common;

use common::{gpu, own_gpu};
use wgrad::gpu::{Grid, Readback};
use wgrad::{Error, Gpu, Kernel, Tensor};

wgrad::uniforms! {
    struct Uniforms { n: u32 }
}

const GRID: &str = "// lib: grid
struct Uniforms { n: u32 }
@group(0) @binding(0) var<uniform> p: Uniforms;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> index: array<u32>;

// y += x
@compute @workgroup_size(64)
fn accumulate(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 64u);
    if i < p.n { y[i] += x[i]; }
}

// index[i] += i, by one invocation an item
@compute @workgroup_size(8)
fn items(at: At, @builtin(local_invocation_index) lid: u32) {
    let i = item_index(at, lid, 8u);
    if i < p.n { index[i] += i; }
}

// index[g] += g, by one workgroup an item
@compute @workgroup_size(1)
fn groups(at: At) {
    let g = group_index(at);
    if g < p.n { index[g] += g; }
}
";

fn kernel(entry: &str) -> Kernel {
    Kernel::new(GRID, entry).unwrap()
}

fn accumulate(kernel: &Kernel, y: &Tensor, x: &Tensor) {
    let n = y.len() as u32;
    y.gpu().launch(kernel, &[y, x], &Uniforms { n }, Grid::items(n)).unwrap();
}

/// One buffer, written by the host before each launch that reads it.
#[test]
fn an_upload_never_overtakes_recorded_work() {
    const STEPS: u32 = 300;
    let kernel = kernel("accumulate");
    for n in [1, 63, 10_007] {
        let y = gpu().zeros([n]).unwrap();
        let x = gpu().zeros([n]).unwrap();
        for step in 1..=STEPS {
            x.write(&vec![step as f32; n]);
            accumulate(&kernel, &y, &x);
        }
        let sum = (STEPS * (STEPS + 1) / 2) as f32;
        assert_eq!(y.to_vec().unwrap(), vec![sum; n]);
    }
}

/// A tensor dropped after its launch leaves its buffer to the next upload, while the launch is not yet submitted.
#[test]
fn an_upload_to_a_reused_buffer_never_overtakes_its_last_reader() {
    const STEPS: u32 = 300;
    let gpu = own_gpu();
    let kernel = kernel("accumulate");
    let y = gpu.zeros([1000]).unwrap();
    for step in 1..=STEPS {
        let x = gpu.tensor(&vec![step as f32; 1000], [1000]).unwrap();
        accumulate(&kernel, &y, &x);
        // An op's output takes the buffer in between.
        if step % 3 == 0 {
            drop(x);
            let _ = y.add(&y);
        }
    }
    assert_eq!(y.to_vec().unwrap(), vec![(STEPS * (STEPS + 1) / 2) as f32; 1000]);
    let bytes = gpu.memory().live + gpu.memory().pooled;
    assert!(bytes < 4 * 1000 * 8, "{STEPS} uploads use a handful of buffers, not {bytes} bytes");
}

/// What a readback holds was fixed when it started, whatever is written or reused before it is collected.
#[test]
fn a_readback_is_not_overtaken() {
    let gpu = own_gpu();
    let kernel = kernel("accumulate");
    let y = gpu.zeros([257]).unwrap();
    let one = gpu.full([257], 1.0).unwrap();
    let readings: Vec<Readback> = (0..50)
        .map(|_| {
            accumulate(&kernel, &y, &one);
            let copy = gpu.full([257], 0.0).unwrap();
            accumulate(&kernel, &copy, &y);
            copy.read()
        })
        .collect();
    y.write(&[-1.0; 257]);
    for (i, reading) in readings.into_iter().enumerate() {
        let bytes = reading.wait().unwrap();
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, vec![(i + 1) as f32; 257]);
    }
    assert_eq!(y.to_vec().unwrap(), [-1.0; 257]);
}

/// More than 65,535 workgroups fold into y and z; every index comes once (an index twice would show in the sum).
#[test]
fn launches_of_any_number_of_groups_reach_each_index_once() {
    let (items, groups) = (kernel("items"), kernel("groups"));
    for n in [1, 8, 9, 65_535, 65_536, 65_537, 131_071, 8 * 65_535, 8 * 65_535 + 1, 600_011] {
        let want: Vec<u32> = (0..n).collect();
        let index = gpu().zeros_u32([n as usize]).unwrap();
        gpu().launch(&items, &[&index], &Uniforms { n }, Grid::items(n)).unwrap();
        assert!(index.to_vec_u32().unwrap() == want, "{n} items");
        if n < 140_000 {
            let index = gpu().zeros_u32([n as usize]).unwrap();
            gpu().launch(&groups, &[&index], &Uniforms { n }, Grid::groups(n)).unwrap();
            assert!(index.to_vec_u32().unwrap() == want, "{n} groups");
        }
    }
}

/// A device with room for three workgroups a dimension holds 27, in three dimensions, and refuses 28.
#[test]
fn a_device_may_have_room_for_few_groups() {
    let gpu = Gpu::builder().quiet().profile(true).max_workgroups(3).build().unwrap();
    assert_eq!(gpu.info().max_workgroups, 3);
    for (n, dimensions) in [(1, 1), (3, 1), (4, 2), (9, 2), (10, 3), (27, 3)] {
        let index = gpu.zeros_u32([n as usize]).unwrap();
        gpu.launch(&kernel("groups"), &[&index], &Uniforms { n }, Grid::groups(n)).unwrap();
        assert_eq!(index.to_vec_u32().unwrap(), (0..n).collect::<Vec<_>>());
        if gpu.info().timestamps {
            let rows = gpu.profile();
            let row = rows.iter().find(|row| row.kernel.ends_with("/groups")).unwrap();
            assert_eq!(row.grid_dimensions, dimensions, "{n} groups");
        }
    }
    let index = gpu.zeros_u32([28]).unwrap();
    let refused = gpu.launch(&kernel("groups"), &[&index], &Uniforms { n: 28 }, Grid::groups(28_u32));
    assert!(
        matches!(refused, Err(Error::TooLarge { size: 28, limit: 27, unit: "workgroups", .. })),
        "{refused:?}"
    );
    for n in [0, u32::MAX] {
        let error = Gpu::builder().quiet().max_workgroups(n).build().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("workgroups in a dimension"), "{error}");
    }
}

#[test]
fn a_launch_of_nothing_is_nothing() {
    let index = gpu().full([4], 7.0).unwrap();
    let x = gpu().full([4], 1.0).unwrap();
    gpu().launch(&kernel("accumulate"), &[&index, &x], &Uniforms { n: 0 }, Grid::items(0_u32)).unwrap();
    assert_eq!(index.to_vec().unwrap(), [7.0; 4]);
    let empty = gpu().tensor(&[], [0, 3]).unwrap();
    assert!(empty.to_vec().unwrap().is_empty());
}

#[test]
fn the_pool_counts_and_reuses() {
    const BYTES: u64 = 4 << 10;
    let gpu = own_gpu();
    assert_eq!((gpu.memory().live, gpu.memory().pooled), (0, 0));
    let make = || gpu.full([1 << 10], 1.0).unwrap();

    let (x, y) = (make(), make());
    assert_eq!((gpu.memory().live, gpu.memory().pooled, gpu.memory().peak), (2 * BYTES, 0, 2 * BYTES));
    let clone = x.reshape([2, 512]);
    drop(x);
    assert_eq!(gpu.memory().live, 2 * BYTES, "a reshaped clone holds the buffer");
    drop((clone, y));
    assert_eq!((gpu.memory().live, gpu.memory().pooled), (0, 2 * BYTES));

    // A loop in steady state makes no new buffer.
    for _ in 0..100 {
        let x = make();
        let y = x.add(&x);
        drop(x);
        assert_eq!(y.to_vec().unwrap()[1023], 2.0);
    }
    assert_eq!((gpu.memory().live, gpu.memory().pooled), (0, 2 * BYTES));

    gpu.reset_peak();
    let _x = make();
    assert_eq!(gpu.memory().peak, BYTES);
    gpu.trim();
    assert_eq!((gpu.memory().live, gpu.memory().pooled), (BYTES, 0));
}

#[test]
fn two_devices_live_side_by_side() {
    let (a, b) = (own_gpu(), own_gpu());
    let kernel = kernel("accumulate"); // one kernel serves both
    let on = |gpu: &Gpu, value| (gpu.full([100], value).unwrap(), gpu.zeros([100]).unwrap());
    let ((xa, ya), (xb, yb)) = (on(&a, 1.0), on(&b, 2.0));
    for _ in 0..10 {
        accumulate(&kernel, &ya, &xa);
        accumulate(&kernel, &yb, &xb);
    }
    assert_eq!(ya.to_vec().unwrap(), [10.0; 100]);
    assert_eq!(yb.to_vec().unwrap(), [20.0; 100]);
    b.lose_device_for_test();
    assert!(b.sync().is_err());
    assert_eq!(ya.add(&xa).to_vec().unwrap(), [11.0; 100], "the loss of one leaves the other alone");
}

#[test]
#[should_panic(expected = "two Gpus are mixed")]
fn tensors_of_two_devices_do_not_mix() {
    let (a, b) = (own_gpu(), own_gpu());
    let _ = a.full([10], 1.0).unwrap().add(&b.full([10], 1.0).unwrap());
}

#[test]
fn threads_share_a_device() {
    fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<Tensor>();
    shared::<Kernel>();
    shared::<wgrad::Gradients>();

    let gpu = own_gpu();
    let kernel = kernel("accumulate");
    std::thread::scope(|scope| {
        for thread in 1..=4_u32 {
            let (gpu, kernel) = (gpu.clone(), &kernel);
            scope.spawn(move || {
                for round in 1..=20_u32 {
                    let n = 100 * thread as usize + round as usize;
                    let y = gpu.zeros([n]).unwrap();
                    for step in 0..20 {
                        let x = gpu.tensor(&vec![(thread * step) as f32; n], [n]).unwrap();
                        accumulate(kernel, &y, &x);
                        drop(x);
                    }
                    assert_eq!(y.to_vec().unwrap(), vec![(thread * 190) as f32; n]);
                }
            });
        }
    });
    gpu.sync().unwrap();
    assert_eq!(gpu.memory().live, 0);
}

#[test]
fn reading_needs_no_blocking() {
    let gpu = pollster::block_on(Gpu::builder().quiet().build_async()).unwrap();
    let x = gpu.full([1000], 1.5).unwrap();
    let values = pollster::block_on(async {
        gpu.sync_async().await?;
        x.add(&x).to_vec_async().await
    });
    assert_eq!(values.unwrap(), [3.0; 1000]);
}

/// Compiled pipelines, where the driver allows it, and what the self-test found are kept; a file that is cut, foreign or changed
/// costs nothing but time.
#[test]
fn pipelines_and_the_self_test_are_kept_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let gpu = Gpu::builder().quiet().cache_dir(folder.path()).build().unwrap();
        let x = gpu.tensor(&[1.0, -2.0, 3.0], [3]).unwrap();
        assert_eq!(x.relu().sum_all().item().unwrap(), 4.0);
    };
    run();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    if gpu().info().backend != "Vulkan" {
        return;
    }
    let is =
        |name: &str| files.iter().any(|file| file.file_name().unwrap().to_str().unwrap().starts_with(name));
    assert!(files.len() == 2 && is("pipelines-") && is("self-test-"), "two files for one adapter: {files:?}");
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        let changed = |(i, b): (usize, &u8)| if i == whole.len() / 2 { !b } else { *b };
        let changed = whole.iter().enumerate().map(changed).collect();
        for bad in [vec![], whole[..whole.len() / 2].to_vec(), changed, b"another program's".repeat(9)] {
            std::fs::write(file, &bad).unwrap();
            run();
            assert_ne!(std::fs::read(file).unwrap(), bad, "a whole file is written again");
        }
    }
    run();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}
