//! The handle: what `{:?}` shows, comparison of shapes, uninitialised tensors, random ones that make no sense.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{gpu, own_gpu};
use wgrad::gpu::{Grid, Scalar, Uniforms, Work};
use wgrad::{DType, Kernel, Rng, Tensor};

fn counting(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    gpu().tensor(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), shape).unwrap()
}

/// What `f` panics with.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it panics");
    panic.downcast_ref::<String>().expect("a message with values").clone()
}

#[test]
fn debug_shows_type_shape_and_values() {
    let shows = |x: &Tensor, text: &str| assert_eq!(format!("{x:?}"), text);
    shows(&gpu().full([], 0.25).unwrap(), "Tensor(F32, []) 0.2500");
    shows(&counting(&[3]).requires_grad(), "Tensor(F32, [3], tracks grad) [0.0, 1.0, 2.0]");
    shows(&counting(&[2, 3]), "Tensor(F32, [2, 3])\n[[0.0, 1.0, 2.0],\n [3.0, 4.0, 5.0]]");
    shows(&counting(&[2, 1, 2]), "Tensor(F32, [2, 1, 2])\n[[[0.0, 1.0]],\n\n [[2.0, 3.0]]]");
    shows(&gpu().tensor(&[f32::NAN, -1.5], [2]).unwrap(), "Tensor(F32, [2]) [    NaN, -1.5000]");
    shows(&gpu().tensor_u32(&[1, u32::MAX], [2]).unwrap(), "Tensor(U32, [2]) [         1, 4294967295]");
    for empty in [&[0][..], &[0, 3], &[3, 0]] {
        shows(
            &counting(empty),
            &format!("Tensor(F32, {empty:?}){}[]", if empty.len() > 1 { '\n' } else { ' ' }),
        );
    }
    assert_eq!(counting(&[2, 3]).to_string(), "Tensor(F32, [2, 3])");
}

#[test]
fn debug_shows_the_edges_of_a_large_tensor() {
    let text = format!("{:?}", counting(&[1001]));
    assert_eq!(text, "Tensor(F32, [1001]) [   0.0,    1.0,    2.0, ...,  998.0,  999.0, 1000.0]");

    let row = |row: usize| {
        let [a, b] =
            [0, 98].map(|c| [0, 1, 2].map(|i| format!("{:>7.1}", (101 * row + c + i) as f32)).join(", "));
        format!("[{a}, ..., {b}]")
    };
    let [front, back] = [[0, 1, 2], [97, 98, 99]].map(|rows| rows.map(row).join(",\n "));
    let want = format!("Tensor(F32, [100, 101])\n[{front},\n ...,\n {back}]");
    assert_eq!(format!("{:?}", counting(&[100, 101])), want);

    if gpu().info().f16 {
        // Rows of odd width: half of the runs begin in the middle of a word. f16 holds integers up to 2048.
        let x = counting(&[9, 113]).cast(DType::F16);
        let text = format!("{:?}", Tensor::concat_rows(&[&x, &x]));
        for value in ["0.0,", "113.0,", "1016.0]"] {
            assert!(text.contains(value), "{value} is not in {text}");
        }
    }
}

/// A tensor that holds nothing, a lost device and a device in error show why; nothing panics or waits for ever.
#[test]
fn debug_of_what_cannot_be_read_shows_the_error() {
    let gpu = own_gpu();
    let x = gpu.full([4], 1.0).unwrap();
    let missing = Tensor::empty(&gpu, "mine", [1 << 17, 1 << 17], DType::F32);
    let text = format!("{missing:?}");
    assert!(text.starts_with("Tensor(F32, [131072, 131072]) unreadable: mine: a tensor of "), "{text}");
    assert!(format!("{x:?}").contains("unreadable: mine"), "the device's error comes first");
    assert!(gpu.take_error().is_some());
    assert_eq!(format!("{x:?}"), "Tensor(F32, [4]) [1.0, 1.0, 1.0, 1.0]");
    assert!(format!("{missing:?}").contains("unreadable: "));
    assert!(gpu.error().is_none(), "showing a tensor leaves no error");

    gpu.lose_device_for_test();
    let text = format!("{x:?}");
    assert!(text.starts_with("Tensor(F32, [4]) unreadable: "), "{text}");
}

/// Uniforms that panic while a launch writes them, which leaves the device unusable.
#[derive(Clone, Copy)]
struct Panics;

impl Uniforms for Panics {
    fn fields(_field: &mut dyn FnMut(&'static str, Scalar)) {}
    fn write(self, _start: usize, out: &mut Vec<u8>) {
        panic!("no parameters for {} bytes", out.len());
    }
}

#[test]
fn debug_does_not_panic_on_a_device_that_a_panic_left() {
    let gpu = own_gpu();
    let x = gpu.full([4], 1.0).unwrap();
    let wgsl = "@group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(1)
        fn zero() { y[0] = 0.0; }";
    let kernel = Kernel::new(wgsl, "zero").unwrap();
    let panic = panic_of(|| gpu.launch(&kernel, &[&x], &Panics, Grid::items(1)));
    assert!(panic.starts_with("no parameters for "), "{panic}");
    assert_eq!(format!("{x:?}"), "Tensor(F32, [4]) unreadable: a panic left work of its device half done");
}

/// The messages of ops have types and shapes; they wait for nothing and do not grow with the values.
#[test]
fn messages_of_ops_have_no_values() {
    let (x, labels) = (counting(&[2, 3]), gpu().zeros_u32([2]).unwrap());
    assert_eq!(
        panic_of(|| x.add(&labels)),
        "add: f32 or f16 tensors, all of one type, got [Tensor(F32, [2, 3]), Tensor(U32, [2])]"
    );
    assert_eq!(panic_of(|| x.write(&[1.0])), "write: 1 values into Tensor(F32, [2, 3])");
    assert_eq!(
        panic_of(|| x.gather_rows(&x)),
        "gather_rows: indices are u32 of rank 1, got Tensor(F32, [2, 3])"
    );
}

#[test]
fn a_shape_compares_with_an_array() {
    let x = counting(&[2, 3]);
    assert_eq!(*x.shape(), [2, 3]);
    assert_eq!([2, 3], *x.shape());
    assert_eq!(x.shape(), &[2, 3]);
    assert_eq!(*x.shape(), vec![2, 3]);
    assert_ne!(*x.shape(), [3, 2]);
}

#[test]
fn an_empty_tensor_is_for_a_kernel_to_write() {
    let wgsl = "@group(0) @binding(1) var<storage, read_write> y: array<u32>;
        @compute @workgroup_size(64)
        fn count(@builtin(global_invocation_id) id: vec3u) {
            if id.x < arrayLength(&y) { y[id.x] = id.x + 1u; }
        }";
    let kernel = Kernel::new(wgsl, "count").unwrap();
    let gpu = own_gpu();
    // The pool hands out a buffer that had other values.
    drop(gpu.full([64], 7.0).unwrap());
    let y = gpu.empty_u32([64]).unwrap();
    gpu.run(&kernel, &[&y], &(), Grid::items(64), Work::new(y.bytes(), 0));
    assert_eq!(y.to_vec_u32().unwrap(), (1..=64).collect::<Vec<_>>());

    let x = gpu.empty([3, 5]).unwrap();
    assert_eq!((x.dtype(), x.shape() == &[3, 5], x.bytes()), (DType::F32, true, 60));
    let half = gpu.empty_f16([3]).unwrap();
    assert_eq!((half.dtype(), half.len(), half.bytes()), (DType::F16, 3, 6));
    let like = half.requires_grad().empty_like();
    assert_eq!((like.dtype(), *like.shape(), like.tracks_grad()), (DType::F16, *half.shape(), false));
    x.write(&[2.0; 15]);
    assert_eq!(x.to_vec().unwrap(), [2.0; 15]);
    assert!(gpu.empty([1 << 17, 1 << 17]).is_err());
    gpu.sync().expect("a refused creation is not sticky: its caller has the error");
}

#[test]
fn random_values_without_a_sense_are_refused() {
    let uniform = |low, high| gpu().uniform([2], low, high, &mut Rng::new(1));
    let normal = |mean, std| gpu().normal([2], mean, std, &mut Rng::new(1));
    assert_eq!(uniform(2.0, 2.0).unwrap().to_vec().unwrap(), [2.0; 2]);
    assert_eq!(normal(-1.0, 0.0).unwrap().to_vec().unwrap(), [-1.0; 2]);
    assert_eq!(panic_of(|| uniform(1.0, -1.0)), "uniform: no values from low 1 to high -1");
    for (low, high) in [(f32::NAN, 1.0), (0.0, f32::NAN), (0.0, f32::INFINITY), (f32::MIN, f32::MAX)] {
        assert!(panic_of(|| uniform(low, high)).starts_with("uniform: "), "{low}..{high}");
    }
    assert_eq!(panic_of(|| normal(0.0, -0.5)), "normal: no values of mean 0 and standard deviation -0.5");
    for (mean, std) in [(f32::NAN, 1.0), (0.0, f32::NAN), (0.0, f32::INFINITY)] {
        assert!(panic_of(|| normal(mean, std)).starts_with("normal: "), "{mean}, {std}");
    }
}
