//! Optimisers against PyTorch's numbers, against their specification, and as a model meets them: many tensors of odd sizes.

use std::collections::HashMap;

use crate::common::*;
use wgrad::nn::{FileLayout, Init, ParamBuilder, Params, Segment, read_safetensors};
use wgrad::optim::{
    AdamW, AdamWOptions, ClipBy, Group, Lars, LarsOptions, Optimizer, Sgd, SgdOptions, clip_grad_norm,
};
use wgrad::reference::optim as reference;
use wgrad::{Rng, Tensor};

/// A few roundings a step on values near 1. (LARS runs with eta .1, so that its updates are far above this.)
const STEP: Tol = Tol::new(2e-7, 2e-6);
/// Norms of up to a million squares, summed in a tree.
const NORM: Tol = Tol::new(0.0, 2e-6);

const RATES: [f32; 5] = [0.1, 0.07, 0.05, 0.02, 0.01];

/// Parameters of these names and shapes, drawn in (-1, 1).
fn model(shapes: &[(&str, &[usize])]) -> Params {
    let build = ParamBuilder::new(Rng::new(5));
    for (name, shape) in shapes {
        let _ = build.param(name, *shape, FileLayout::Same, Init::Uniform { bound: 1.0 });
    }
    build.finish(gpu()).unwrap()
}

/// Ragged on purpose: one value, one short of a block, a block, one over, a chunk, one over, and two large ones.
fn ragged() -> Params {
    let shapes: &[(&str, &[usize])] = &[
        ("one", &[1]),
        ("short", &[7, 9]),
        ("block", &[64]),
        ("over", &[5, 13]),
        ("chunk", &[64, 64]),
        ("chunk_over", &[17, 241]),
        ("large", &[3, 3, 127, 131]),
        ("bias", &[131]),
    ];
    model(shapes)
}

/// Spreads values by tensor over the flat layout; padding is zero.
fn flat_of(params: &Params, values: impl Fn(&Segment) -> Vec<f32>) -> Vec<f32> {
    let mut flat = vec![0.0; params.flat().len()];
    for segment in params.segments() {
        flat[segment.range()].copy_from_slice(&values(segment));
    }
    flat
}

fn gradient(params: &Params, seed: u32) -> (Vec<f32>, Tensor) {
    let flat = flat_of(params, |s| data(seed + s.offset as u32, s.len()));
    let tensor = gpu().tensor(&flat, params.flat().shape()).unwrap();
    (flat, tensor)
}

/// Runs the fixture's five steps of `case` and compares every parameter after each.
fn against_pytorch<O: Optimizer>(case: &str, make: impl Fn(&Params) -> O) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optim.safetensors");
    let (tensors, _) = read_safetensors(path).unwrap();
    let fixture: HashMap<String, Vec<f32>> = tensors.into_iter().map(|t| (t.name, t.data)).collect();
    let params = model(&[("w", &[7, 19]), ("b", &[3]), ("head", &[64])]);
    let put = |key: &str| flat_of(&params, |s| fixture[&format!("{key}.{}", s.name)].clone());
    params.flat().write(&put("start"));
    let mut optimizer = make(&params);
    for (step, lr) in RATES.into_iter().enumerate() {
        let grads = gpu().tensor(&put(&format!("grad.{step}")), params.flat().shape()).unwrap();
        optimizer.step(&params, &grads, lr);
        let want = f64s(&put(&format!("{case}.{step}")));
        assert_close(&format!("{case}, step {step}"), &params.flat().to_vec().unwrap(), &want, STEP);
    }
    assert_eq!(optimizer.steps(), 5);
}

fn sgd(momentum: f32, nesterov: bool) -> impl Fn(&Params) -> Sgd {
    move |p| Sgd::new(p, SgdOptions { momentum, nesterov, weight_decay: 0.01 }, Group::default_for).unwrap()
}

#[test]
fn sgd_equals_pytorch() {
    against_pytorch("sgd", sgd(0.0, false));
    against_pytorch("momentum", sgd(0.9, false));
    against_pytorch("nesterov", sgd(0.9, true));
}

#[test]
fn groups_equal_pytorch() {
    against_pytorch("groups", |p| {
        let options = SgdOptions { momentum: 0.9, weight_decay: 0.01, ..SgdOptions::default() };
        let group = |s: &Segment| match s.name.as_str() {
            "b" => Group::EXCLUDED,
            "head" => Group::fixed_lr(0.03),
            _ => Group::ALL,
        };
        Sgd::new(p, options, group).unwrap()
    });
}

#[test]
fn adamw_equals_pytorch() {
    let options = AdamWOptions { betas: (0.9, 0.99), weight_decay: 0.05, ..AdamWOptions::default() };
    against_pytorch("adamw", |p| AdamW::new(p, options, Group::default_for).unwrap());
}

#[test]
fn lars_equals_its_public_code() {
    let options = LarsOptions { momentum: 0.9, weight_decay: 0.01, eta: 0.1 };
    against_pytorch("lars", |p| Lars::new(p, options, Group::exclude_1d).unwrap());
}

/// Three steps over `params` against the reference, tensor by tensor; the padding must stay zero.
fn against_reference(
    what: &str,
    params: &Params,
    optimizer: &mut impl Optimizer,
    mut step: impl FnMut(usize, &Segment, &mut [f64], &[f64], i32),
) {
    let mut want = f64s(&params.flat().to_vec().unwrap());
    for t in 1..=3 {
        let (host, grads) = gradient(params, 40 * t as u32);
        optimizer.step(params, &grads, 0.05);
        let host = f64s(&host);
        for (i, s) in params.segments().iter().enumerate() {
            step(i, s, &mut want[s.range()], &host[s.range()], t);
        }
    }
    assert_close(what, &params.flat().to_vec().unwrap(), &want, STEP);
}

/// One state vector a segment.
fn states(params: &Params) -> Vec<Vec<f64>> {
    params.segments().iter().map(|s| vec![0.0; s.len()]).collect()
}

#[test]
fn many_tensors_equal_the_reference() {
    let params = ragged();
    let mut v = states(&params);
    against_reference("sgd", &params, &mut sgd(0.9, true)(&params), |i, _, w, g, _| {
        reference::sgd(w, g, &mut v[i], 0.05, 0.9, true, 0.01);
    });

    let params = ragged();
    let (mut m, mut v) = (states(&params), states(&params));
    let options = AdamWOptions::default();
    let mut adamw = AdamW::new(&params, options, Group::default_for).unwrap();
    against_reference("adamw", &params, &mut adamw, |i, _, w, g, t| {
        reference::adamw(w, g, &mut m[i], &mut v[i], t, 0.05, (0.9, 0.999), 1e-8, 0.01);
    });

    let params = ragged();
    let mut v = states(&params);
    let options = LarsOptions { weight_decay: 0.01, eta: 0.1, ..LarsOptions::default() };
    let mut lars = Lars::new(&params, options, Group::exclude_1d).unwrap();
    against_reference("lars", &params, &mut lars, |i, s, w, g, _| {
        reference::lars(w, g, &mut v[i], 0.05, 0.9, 0.01, 0.1, s.shape.rank() > 1);
    });
}

#[test]
fn lars_leaves_tensors_of_zero_norm_to_plain_sgd() {
    let params = model(&[("zero", &[3, 5]), ("still", &[2, 2])]);
    params.flat().write(&flat_of(&params, |s| vec![if s.name == "zero" { 0.0 } else { 1.0 }; s.len()]));
    let grads = flat_of(&params, |s| vec![if s.name == "zero" { 1.0 } else { 0.0 }; s.len()]);
    let grads = gpu().tensor(&grads, params.flat().shape()).unwrap();
    let options = LarsOptions { weight_decay: 0.0, ..LarsOptions::default() };
    Lars::new(&params, options, Group::default_for).unwrap().step(&params, &grads, 0.5);
    let got = params.flat().to_vec().unwrap();
    assert_eq!((got[0], got[params.segments()[1].offset]), (-0.5, 1.0));
}

#[test]
fn clipping_equals_pytorch_and_the_reference() {
    let params = ragged();
    let (host, grads) = gradient(&params, 3);
    let mut want = f64s(&host);
    let norm = reference::clip_grad_norm(&mut [&mut want], 2.0);
    let got = clip_grad_norm(&params, &grads, 2.0, ClipBy::Global).to_vec().unwrap();
    assert_close("norm", &got[1..], &[norm], NORM);
    assert_close("clipped", &grads.to_vec().unwrap(), &want, STEP);

    let (host, grads) = gradient(&params, 4);
    let mut want = f64s(&host);
    let norms: Vec<f64> = (params.segments().iter())
        .map(|s| reference::clip_grad_norm(&mut [&mut want[s.range()]], 5.0))
        .collect();
    let got = clip_grad_norm(&params, &grads, 5.0, ClipBy::Tensor).to_vec().unwrap();
    let got: Vec<f32> = got.iter().skip(1).step_by(2).copied().collect();
    assert_close("norms", &got, &norms, NORM);
    assert_close("clipped by tensor", &grads.to_vec().unwrap(), &want, STEP);

    let (host, grads) = gradient(&params, 5);
    let _ = clip_grad_norm(&params, &grads, 1e6, ClipBy::Global);
    assert_eq!(grads.to_vec().unwrap(), host, "a gradient below the limit is untouched");
}

#[test]
fn clipping_by_a_norm_that_is_nan_gives_nan() {
    let params = ragged();
    for (by, whole) in [(ClipBy::Global, true), (ClipBy::Tensor, false)] {
        let (mut host, grads) = gradient(&params, 6);
        let segment = params.segments()[1].range();
        host[segment.start] = f32::NAN;
        grads.write(&host);
        let _ = clip_grad_norm(&params, &grads, 1e6, by);
        let got = grads.to_vec().unwrap();
        for s in params.segments() {
            let nan = whole || s.range() == segment;
            assert!(got[s.range()].iter().all(|v| v.is_nan() == nan), "{by:?}: {:?}", s.range());
        }
    }
}

#[test]
fn clipping_equals_the_fixture() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optim.safetensors");
    let fixture: HashMap<String, Vec<f32>> =
        read_safetensors(path).unwrap().0.into_iter().map(|t| (t.name, t.data)).collect();
    let params = model(&[("w", &[7, 19]), ("b", &[3]), ("head", &[64])]);
    let put = |key: &str| flat_of(&params, |s| fixture[&format!("{key}.{}", s.name)].clone());
    for (key, by) in [("clip.global", ClipBy::Global), ("clip.tensor", ClipBy::Tensor)] {
        let grads = gpu().tensor(&put("grad.0"), params.flat().shape()).unwrap();
        let norms = clip_grad_norm(&params, &grads, 5.0, by).to_vec().unwrap();
        assert_close(key, &grads.to_vec().unwrap(), &f64s(&put(key)), STEP);
        if by == ClipBy::Global {
            assert_close("clip.norm", &norms[1..], &f64s(&fixture["clip.norm"]), NORM);
        }
    }
}

#[test]
fn frozen_groups_do_not_move() {
    let params = ragged();
    let before = params.flat().to_vec().unwrap();
    let (_, grads) = gradient(&params, 8);
    let options = SgdOptions { momentum: 0.9, weight_decay: 0.1, nesterov: true };
    let frozen = |s: &Segment| if s.name == "large" { Group::FROZEN } else { Group::ALL };
    Sgd::new(&params, options, frozen).unwrap().step(&params, &grads, 0.1);
    let after = params.flat().to_vec().unwrap();
    for s in params.segments() {
        assert_eq!(before[s.range()] == after[s.range()], s.name == "large", "{}", s.name);
    }
}

#[test]
fn a_step_is_the_same_bits_each_time_and_after_a_restore() {
    let run = |restore_at: Option<usize>| {
        let params = ragged();
        let make = || Lars::new(&params, LarsOptions::default(), Group::exclude_1d).unwrap();
        let mut optimizer = make();
        for step in 0..4 {
            if restore_at == Some(step) {
                let saved: Vec<Vec<f32>> =
                    optimizer.state().iter().map(|(_, t)| t.to_vec().unwrap()).collect();
                let steps = optimizer.steps();
                optimizer = make();
                optimizer.set_steps(steps);
                for ((_, tensor), values) in optimizer.state().into_iter().zip(&saved) {
                    tensor.write(values);
                }
            }
            let (_, grads) = gradient(&params, 90 + step as u32);
            let _ = clip_grad_norm(&params, &grads, 3.0, ClipBy::Global);
            optimizer.step(&params, &grads, 0.1);
        }
        params.flat().to_vec().unwrap()
    };
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let first = bits(run(None));
    assert_eq!(first, bits(run(None)));
    assert_eq!(first, bits(run(Some(2))));
}

#[test]
fn more_than_65535_groups() {
    // 65,536 * 64 lanes * 4 floats = 16.8M: one more block than a launch has in x.
    let n = 65_536 * 256 + 128;
    let build = ParamBuilder::new(Rng::new(1));
    let _ = build.param("w", [n], FileLayout::Same, Init::Constant(1.0));
    let params = build.finish(gpu()).unwrap();
    let grads = params.flat().full_like(2.0);
    let norms = clip_grad_norm(&params, &grads, 1e9, ClipBy::Global).to_vec().unwrap();
    assert_close("norm", &norms[1..], &[(4.0 * n as f64).sqrt()], NORM);
    sgd(0.0, false)(&params).step(&params, &grads, 0.1);
    let got = params.flat().to_vec().unwrap();
    assert!(got.iter().all(|&w| (w - 0.799).abs() < 1e-6));
}

#[test]
#[should_panic(expected = "Sgd: flat parameters are [128], flat gradient is [3]")]
fn a_gradient_of_another_shape_panics() {
    let params = model(&[("b", &[3])]);
    let grads = gpu().zeros([3]).unwrap();
    sgd(0.0, false)(&params).step(&params, &grads, 0.1);
}
