//! The graph: accumulation, un-broadcasting, depth, misuse, memory.
#[path = "common/mod.rs"]
mod common;

use common::*;
use wgrad::gpu::{Grid, Work};
use wgrad::nn::{BatchNorm, Linear, Mode, ParamBuilder, Params};
use wgrad::optim::{Group, Optimizer, Sgd, SgdOptions};
use wgrad::{Gradients, Kernel, Rng, Tensor};

fn leaf(values: &[f32]) -> Tensor {
    gpu().tensor(values, [values.len()]).unwrap().requires_grad()
}

fn values(grads: &Gradients, of: &Tensor) -> Vec<f32> {
    grads.get(of).expect("a gradient").to_vec().unwrap()
}

#[test]
fn a_tensor_used_several_times_accumulates() {
    let x = leaf(&[2.0, -3.0]);
    let y = &x * &x; // 2 x
    let z = &y + &x; // + 1
    let loss = (&z * &y).sum_all(); // d/dx (x^2 + x) x^2 = 4 x^3 + 3 x^2
    assert_eq!(values(&loss.backward(), &x), [44.0, -81.0]);
}

#[test]
fn paths_of_different_length_meet() {
    let x = leaf(&[0.5]);
    let mut long = x.mul_scalar(1.0);
    for _ in 0..20 {
        long = long.mul_scalar(1.0);
    }
    let loss = (&x + &long + &x).sum_all();
    assert_eq!(values(&loss.backward(), &x), [3.0]);
}

#[test]
fn gradients_of_broadcast_operands_have_their_shape() {
    let (scale, bias) = (leaf(&[2.0]), leaf(&[1.0, 2.0, 3.0]));
    let x = gpu().full([4, 3], 0.5).unwrap();
    let grads = (&x * &scale + &bias).sum_all().backward();
    assert_eq!(values(&grads, &scale), [6.0]);
    assert_eq!(values(&grads, &bias), [4.0; 3]);
}

#[test]
fn only_leaves_the_loss_depends_on_have_gradients() {
    let (x, other) = (leaf(&[1.0]), leaf(&[1.0]));
    let constant = gpu().full([1], 3.0).unwrap();
    let grads = (&x * &constant).sum_all().backward();
    assert_eq!(grads.len(), 1);
    assert!(grads.get(&other).is_none() && grads.get(&constant).is_none());
}

/// Neither walking nor dropping the graph may recurse.
#[test]
fn a_graph_of_100_000_nodes_fits_a_small_stack() {
    let deep = || {
        let x = gpu().full([1], 1.0).unwrap().requires_grad();
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.reshape([1]); // a node without a launch
        }
        (x, y)
    };
    let work = move || {
        let (x, y) = deep();
        assert_eq!(values(&y.backward(), &x), [1.0]);
        drop(deep());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
#[should_panic(expected = "already used and freed by an earlier backward")]
fn a_second_backward_says_so() {
    let loss = leaf(&[1.0]).exp().sum_all();
    let _ = loss.backward();
    let _ = loss.backward();
}

#[test]
#[should_panic(expected = "backward through square: a tensor of shape [2] saved for it was written in place")]
fn writing_to_a_saved_tensor_is_caught() {
    let x = leaf(&[1.0, 2.0]);
    let loss = x.square().sum_all();
    x.lerp_(&gpu().zeros([2]).unwrap(), 0.5);
    let _ = loss.backward();
}

#[test]
fn writing_to_a_tensor_that_no_rule_saved_is_fine() {
    let x = leaf(&[1.0, 2.0]);
    let loss = x.mul_scalar(3.0).sum_all();
    x.lerp_(&gpu().zeros([2]).unwrap(), 0.5);
    assert_eq!(values(&loss.backward(), &x), [3.0, 3.0]);
}

/// Kernels of a user: `a` doubled in place, and `b` written from `a`.
const IN_PLACE: &str = "
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@compute @workgroup_size(64)
fn double(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&a) { a[id.x] = 2.0 * a[id.x]; }
}
@group(0) @binding(1) var<storage, read_write> b: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@compute @workgroup_size(64)
fn doubled(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&b) { b[id.x] = 2.0 * x[id.x]; }
}";

/// Something done to a tensor.
type Named<'a> = (&'a str, &'a dyn Fn(&Tensor));

/// What backward of `x.square().sum_all()` does when `between` is done to `x` before it: the gradient, or its panic.
fn backward_after(between: impl FnOnce(&Tensor)) -> Result<Vec<f32>, String> {
    let x = leaf(&[1.0, 2.0]);
    let loss = x.square().sum_all();
    between(&x);
    let backward = std::panic::AssertUnwindSafe(|| values(&loss.backward(), &x));
    std::panic::catch_unwind(backward).map_err(|panic| panic.downcast_ref::<String>().unwrap().clone())
}

/// Whoever writes a tensor, the machine has noticed it: kernels of the user's own, copies and uploads.
#[test]
fn every_writer_in_place_is_caught() {
    const CAUGHT: &str =
        "backward through square: a tensor of shape [2] saved for it was written in place since";
    let double = Kernel::new(IN_PLACE, "double").unwrap();
    let doubled = Kernel::new(IN_PLACE, "doubled").unwrap();
    let other = gpu().zeros([2]).unwrap();
    let writers: [Named<'_>; 9] = [
        ("launch", &|x| gpu().launch(&double, &[x], &(), Grid::items(2)).unwrap()),
        ("launch on a clone", &|x| gpu().launch(&double, &[&x.clone()], &(), Grid::items(2)).unwrap()),
        ("launch, reshaped", &|x| {
            gpu().launch(&doubled, &[&x.reshape([2, 1]), &other], &(), Grid::items(2)).unwrap();
        }),
        ("run", &|x| gpu().run(&double, &[x], &(), Grid::items(2), Work::new(16, 2))),
        ("write", &|x| x.write(&[1.0, 2.0])),
        ("write_rows", &|x| x.write_rows(1, &other.slice_rows(0, 1))),
        ("write_rows_at", &|x| {
            x.write_rows_at(&gpu().tensor_u32(&[0], [1]).unwrap(), &other.slice_rows(0, 1));
        }),
        ("lerp_", &|x| x.lerp_(&other, 0.5)),
        ("lerp_mean_", &|x| x.lerp_mean_(&other.reshape([1, 2]), 0.5)),
    ];
    for (name, writer) in writers {
        let message = backward_after(writer).expect_err(name);
        assert!(message.starts_with(CAUGHT), "{name}: {message}");
    }
}

#[test]
fn readers_are_no_writers() {
    let doubled = Kernel::new(IN_PLACE, "doubled").unwrap();
    let readers: [Named<'_>; 6] = [
        ("launch that reads it", &|x| {
            let y = gpu().empty([2]).unwrap();
            gpu().launch(&doubled, &[&y, x], &(), Grid::items(2)).unwrap();
            assert_eq!(y.to_vec().unwrap(), [2.0, 4.0]);
        }),
        ("launch of nothing", &|x| {
            gpu().launch(&Kernel::new(IN_PLACE, "double").unwrap(), &[x], &(), Grid::items(0)).unwrap();
        }),
        ("to_vec", &|x| assert_eq!(x.to_vec().unwrap(), [1.0, 2.0])),
        ("Debug", &|x| assert!(format!("{x:?}").contains("[1.0, 2.0]"))),
        ("a copy", &|x| x.copy().write(&[7.0, 7.0])),
        ("ops", &|x| drop((x.exp(), x.slice_rows(0, 1), x.sum_all()))),
    ];
    for (name, reader) in readers {
        assert_eq!(backward_after(reader), Ok(vec![2.0, 4.0]), "{name}");
    }
}

/// The parameters of a model lie in one buffer, and so do its running statistics: a write to one is none to the others.
#[test]
fn a_write_to_one_parameter_leaves_the_others_alone() {
    let build = ParamBuilder::new(Rng::new(3));
    let (first, second) =
        (Linear::new(&build.scope("1"), 3, 4, true), Linear::new(&build.scope("2"), 3, 4, false));
    let params = build.finish(gpu()).unwrap();
    let x = gpu().full([2, 3], 0.5).unwrap().requires_grad();
    let new = gpu().zeros([3, 4]).unwrap();
    let gradient = |written: &Linear| {
        let loss = first.forward(&params, &x).square().sum_all();
        written.set_weight(&params, &new);
        let backward = std::panic::AssertUnwindSafe(|| loss.backward().len());
        std::panic::catch_unwind(backward).map_err(|panic| panic.downcast_ref::<String>().unwrap().clone())
    };
    assert_eq!(gradient(&second), Ok(3), "x, and weight and bias of the first layer");
    let message = gradient(&first).unwrap_err();
    assert!(message.contains("a tensor of shape [3, 4] saved for it was written in place"), "{message}");
}

fn normalised() -> ([BatchNorm; 2], Params, Tensor) {
    let build = ParamBuilder::new(Rng::new(3));
    let norms = ["1", "2"].map(|name| BatchNorm::new(&build.scope(name), 4));
    let x = gpu().tensor(&data(5, 32), [8, 4]).unwrap().requires_grad();
    (norms, build.finish(gpu()).unwrap(), x)
}

/// Training updates running statistics in the forward, twice where two views go through one network; and a layer whose
/// statistics are frozen may stand before one whose are not.
#[test]
fn running_statistics_may_move_between_forward_and_backward() {
    let ([first, second], params, x) = normalised();
    for mode in [Mode::Train, Mode::Eval] {
        let y = second.forward(&params, &first.forward(&params, &x, mode), Mode::Train);
        let z = second.forward(&params, &x, Mode::Train);
        let grads = (&y + &z).square().sum_all().backward();
        assert!(values(&grads, &x).iter().all(|g| g.is_finite()), "{mode:?}");
    }
}

#[test]
#[should_panic(expected = "saved for it was written in place since")]
fn an_optimiser_step_between_forward_and_backward_is_caught() {
    let build = ParamBuilder::new(Rng::new(3));
    let layer = Linear::new(&build, 3, 4, true);
    let params = build.finish(gpu()).unwrap();
    let x = gpu().full([2, 3], 0.5).unwrap().requires_grad();
    let loss = layer.forward(&params, &x).square().sum_all();
    let mut sgd = Sgd::new(&params, SgdOptions::default(), Group::default_for).unwrap();
    sgd.step(&params, &params.flat().full_like(1.0), 0.1);
    let _ = loss.backward();
}

#[test]
#[should_panic(expected = "the loss depends on nothing that requires grad")]
fn a_constant_has_no_backward() {
    let _ = gpu().zeros([]).unwrap().backward();
}

#[test]
#[should_panic(expected = "the loss must have one element, its shape is [2]")]
fn a_vector_has_no_backward() {
    let _ = leaf(&[1.0, 2.0]).backward();
}

#[test]
fn stop_gradient_cuts_the_graph() {
    let x = leaf(&[3.0]);
    let cut = x.square().stop_gradient();
    assert!(!cut.tracks_grad() && !cut.exp().tracks_grad());
    let grads = (&x * &cut).sum_all().backward();
    assert_eq!(values(&grads, &x), [9.0]);
}

#[test]
fn by_products_carry_no_graph() {
    let x = leaf(&[1.0, 3.0, 2.0]);
    let (top, indices) = x.topk(2);
    assert!(top.tracks_grad() && !indices.tracks_grad());
    assert!(!x.argmax().tracks_grad() && !x.cast(wgrad::DType::U32).tracks_grad());
}

/// A chain over `x`; what it keeps alive is read from `gpu.memory()`.
fn chain(x: &Tensor, gate: &Tensor) -> Tensor {
    let mut y = x.clone();
    for _ in 0..8 {
        y = y.gelu().mul(gate);
    }
    y
}

#[test]
fn frozen_inputs_keep_no_activations() {
    let gpu = own_gpu();
    let n = 1 << 16;
    let (x, gate) = (gpu.full([n], 0.5).unwrap(), gpu.full([n], 2.0).unwrap());
    let one = gpu.memory().live / 2;

    let frozen = chain(&x, &gate);
    assert_eq!(gpu.memory().live, 3 * one, "only the two inputs and the result live");
    drop(frozen);

    // gelu saves its input, mul the constant gate: of each link only the input of gelu stays.
    let x = x.requires_grad();
    let tracked = chain(&x, &gate);
    assert_eq!(gpu.memory().live, 10 * one, "two inputs, seven saved inputs of gelu, the result");

    let grads = tracked.sum_all().backward();
    drop(tracked);
    assert!(gpu.memory().live <= 3 * one + 4096, "backward frees what it used: {:?}", gpu.memory());
    assert_eq!(grads.len(), 1);
}
