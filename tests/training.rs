//! A small SimCLR run against float64 PyTorch: ten losses, and every gradient of the first step.

mod common;

use std::collections::HashMap;

use common::*;
use wgrad::nn::{
    Mlp, MlpConfig, Mode, ParamBuilder, Params, Precision, ResNet, ResNetConfig, read_safetensors,
};
use wgrad::optim::{Group, LossScaler, Sgd, SgdOptions};
use wgrad::ssl::nt_xent;
use wgrad::{Rng, Tensor};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/simclr_trace.safetensors");
const TAU: f32 = 0.2;

/// Losses of ten steps, f32 against f64. Seen: 6e-6.
const LOSS: Tol = Tol::new(0.0, 1e-4);
/// Share of a gradient tensor's norm that f32 may lose through eight layers of batch norm and tau .2. Seen: 4e-6.
const GRADIENT: f64 = 4e-5;
/// The same in f16. Seen: 5e-4 and .18. With a batch of 16 a ReLU that flips moves a gradient by a sixteenth: f32 with
/// nothing but its weights rounded to f16 is off by .14.
const LOSS_F16: Tol = Tol::new(0.0, 4e-3);
const GRADIENT_F16: f64 = 0.3;

/// The network of tests/reference/simclr_trace.py with its initial weights, and the fixture.
struct Trace {
    encoder: ResNet,
    projector: Mlp,
    params: Params,
    fixture: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Trace {
    fn new(precision: Precision) -> Self {
        let build = ParamBuilder::new(Rng::new(0));
        let config = ResNetConfig { stages: vec![(8, 1), (16, 1)], ..ResNetConfig::demo() };
        let encoder = ResNet::new(&build, &config);
        let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(16, &[16, 8]));
        let params = build.finish(gpu()).unwrap().with_precision(precision);
        params.load(TRACE).unwrap();
        let (tensors, _) = read_safetensors(TRACE).unwrap();
        let fixture = tensors.into_iter().map(|t| (t.name, (t.shape, t.data))).collect();
        Self { encoder, projector, params, fixture }
    }

    /// Both views go through the network as one batch.
    fn loss(&self, step: usize) -> Tensor {
        let (shape, values) = &self.fixture[&format!("step.{step}.views")];
        let views = gpu().tensor(values, shape.as_slice()).unwrap();
        let h = self.encoder.forward(&self.params, &views, Mode::Train);
        let z = self.projector.forward(&self.params, &h, Mode::Train);
        let n = shape[0] / 2;
        nt_xent(&z.slice_rows(0, n), &z.slice_rows(n, n), TAU)
    }
}

/// A scaler that skips none of these steps: their gradients are large, norm 8 at the first layer.
fn scaler(params: &Params) -> LossScaler {
    let scaler = LossScaler::new(params).unwrap();
    if let Some(state) = scaler.state() {
        state.write(&[256.0, 0.0, 0.0, 0.0]);
    }
    scaler
}

/// Ten steps: losses, and the parameters after them.
fn run(trace: &Trace) -> (Vec<f32>, Vec<f32>) {
    let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
    let mut sgd = Sgd::new(&trace.params, options, Group::default_for).unwrap();
    let scaler = scaler(&trace.params);
    let mut losses = vec![];
    for step in 0..10 {
        let loss = trace.loss(step);
        let grads = scaler.gradient(&trace.params, &loss);
        scaler.step(&mut sgd, &trace.params, &grads, 0.01);
        losses.push(loss.item().unwrap());
    }
    (losses, trace.params.flat().to_vec().unwrap())
}

#[test]
fn ten_losses_equal_float64_pytorch() {
    let trace = Trace::new(Precision::F32);
    assert_close("losses", &run(&trace).0, &f64s(&trace.fixture["losses"].1), LOSS);
}

#[test]
fn two_runs_give_the_same_bits() {
    let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for precision in [Precision::F32, Precision::F16].into_iter().filter(|p| p.runs_on(gpu())) {
        let [first, second] = [(), ()].map(|()| run(&Trace::new(precision)));
        assert_eq!(bits(first.0), bits(second.0));
        assert_eq!(bits(first.1), bits(second.1));
    }
}

#[test]
fn the_first_loss_in_f16_is_near_float64_pytorch() {
    if Precision::F16.runs_on(gpu()) {
        let trace = Trace::new(Precision::F16);
        let want = f64s(&trace.fixture["losses"].1[..1]);
        assert_close("loss in f16", &[trace.loss(0).item().unwrap()], &want, LOSS_F16);
    }
}

#[test]
fn every_gradient_of_the_network_equals_float64_pytorch() {
    gradients(Precision::F32, GRADIENT);
}

#[test]
fn every_gradient_of_the_network_in_f16_is_near_float64_pytorch() {
    if Precision::F16.runs_on(gpu()) {
        gradients(Precision::F16, GRADIENT_F16);
    }
}

fn gradients(precision: Precision, share: f64) {
    let trace = Trace::new(precision);
    let scaler = scaler(&trace.params);
    let grads = scaler.gradient(&trace.params, &trace.loss(0)).to_vec().unwrap();
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    for s in trace.params.segments() {
        let (shape, want) = &trace.fixture[&format!("grad.{}", s.name)];
        assert_eq!(&s.layout.file_shape(&s.shape), shape, "{}", s.name);
        let got = s.layout.to_file(&s.shape, &grads[s.range()]);
        let difference: Vec<f64> = got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w)).collect();
        let (error, size) = (norm(&difference), norm(&f64s(want)));
        assert!(error <= share * size, "{}: error {error:e} in a gradient of norm {size:e}", s.name);
    }
}
