//! The graph: accumulation, un-broadcasting, depth, misuse, memory.
#[path = "common/mod.rs"]
mod common;

use common::*;
use wgrad::{Gradients, Tensor};

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
