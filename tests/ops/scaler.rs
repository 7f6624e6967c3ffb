//! Loss scaling: steps whose gradient is not finite leave no trace, whatever the optimiser.

use wgrad::nn::{FileLayout, Init, ParamBuilder, ParamId, Params, Precision};
use wgrad::optim::{AdamW, AdamWOptions, Group, Lars, LarsOptions, LossScaler, Optimizer, Sgd, SgdOptions};
use wgrad::{Rng, Tensor};

use crate::common::*;

/// Parameters in f16, of which one is used; `None` where the adapter has no f16.
fn model() -> Option<(Params, ParamId)> {
    if !Precision::F16.runs_on(gpu()) {
        return None;
    }
    let build = ParamBuilder::new(Rng::new(5));
    let _ = build.param("idle", [5, 13], FileLayout::Same, Init::Uniform { bound: 1.0 });
    let used = build.param("used", [7, 31], FileLayout::Same, Init::Uniform { bound: 1.0 });
    Some((build.finish(gpu()).unwrap().with_precision(Precision::F16), used))
}

/// A loss whose gradient is `scale` times fixed numbers.
fn loss(params: &Params, used: ParamId, step: u32, scale: f32) -> Tensor {
    let slope = gpu().tensor(&data(step, 217), [7, 31]).unwrap().mul_scalar(scale);
    params.get(used).mul(&slope).sum_all()
}

/// Five steps, of which the second and the fourth are not finite, against the three others alone.
fn skips<O: Optimizer>(name: &str, tol: Tol, make: impl Fn(&Params) -> O) {
    let (Some((params, used)), Some((plain, plain_used))) = (model(), model()) else { return };
    let (mut optimizer, mut reference) = (make(&params), make(&plain));
    let scaler = LossScaler::new(&params).unwrap();
    for (step, scale) in [1.0, f32::INFINITY, 1.0, f32::NAN, 1.0].into_iter().enumerate() {
        let gradient = scaler.gradient(&params, &loss(&params, used, step as u32, scale));
        scaler.step(&mut optimizer, &params, &gradient, 0.1);
        if scale.is_finite() {
            let gradient = plain.pack(&loss(&plain, plain_used, step as u32, scale).backward());
            reference.step(&plain, &gradient, 0.1);
        }
    }
    let values = |t: &Tensor| t.to_vec().unwrap();
    assert_close(name, &values(params.flat()), &f64s(&values(plain.flat())), tol);
    for ((part, got), (_, want)) in optimizer.state().into_iter().zip(reference.state()) {
        assert_close(&format!("{name}.{part}"), &values(got), &f64s(&values(want)), Tol::new(0.0, 0.0));
    }
    assert_eq!(values(scaler.state().unwrap()), [16384.0, 1.0, 0.0, 2.0], "{name}");
}

#[test]
fn steps_that_are_not_finite_are_skipped() {
    let exact = Tol::new(0.0, 0.0);
    let sgd = |momentum| {
        let options = SgdOptions { momentum, nesterov: false, weight_decay: 0.01 };
        move |p: &Params| Sgd::new(p, options, Group::default_for).unwrap()
    };
    skips("sgd", exact, sgd(0.0));
    skips("sgd with momentum", exact, sgd(0.9));
    skips("lars", exact, |p| Lars::new(p, LarsOptions::default(), Group::default_for).unwrap());
    // Bias correction counts the steps that were made, on the device.
    let adamw = |p: &Params| AdamW::new(p, AdamWOptions::default(), Group::default_for).unwrap();
    skips("adamw", Tol::new(1e-7, 2e-6), adamw);
}

#[test]
fn the_scale_doubles_after_2000_finite_steps() {
    let Some((params, used)) = model() else { return };
    let scaler = LossScaler::new(&params).unwrap();
    let state = scaler.state().unwrap();
    state.write(&[1024.0, 1998.0, 0.0, 3.0]);
    for want in [[1024.0, 1999.0, 0.0, 3.0], [2048.0, 0.0, 0.0, 3.0], [2048.0, 1.0, 0.0, 3.0]] {
        let gradient = scaler.gradient(&params, &loss(&params, used, 1, 1.0)).to_vec().unwrap();
        assert_eq!(state.to_vec().unwrap(), want);
        let place = params.segments()[1].range();
        assert_eq!(gradient[place], data(1, 217), "a power of two takes nothing away");
    }
}

#[test]
fn in_f32_it_does_nothing() {
    let build = ParamBuilder::new(Rng::new(5));
    let used = build.param("used", [3], FileLayout::Same, Init::Constant(1.0));
    let params = build.finish(gpu()).unwrap();
    let scaler = LossScaler::new(&params).unwrap();
    assert!(scaler.state().is_none());
    let gradient = scaler.gradient(&params, &params.get(used).sum_all());
    let mut sgd = Sgd::new(&params, SgdOptions::default(), Group::default_for).unwrap();
    scaler.step(&mut sgd, &params, &gradient, 0.5);
    assert_eq!(params.flat().to_vec().unwrap()[..3], [0.5; 3]);
}

/// One cast a step serves every layer, and weights written in between are cast again.
#[test]
fn the_half_copy_follows_the_parameters() {
    let Some((params, used)) = model() else { return };
    let half = || params.get_as(used, wgrad::DType::F16).to_vec().unwrap();
    let first = half();
    assert_eq!(first, half());
    let mut moved = params.flat().to_vec().unwrap();
    moved.iter_mut().for_each(|v| *v = -*v);
    params.flat().write(&moved);
    let negated: Vec<f32> = first.iter().map(|v| -v).collect();
    assert_eq!(half(), negated);
}
