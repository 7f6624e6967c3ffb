//! A small SimCLR run against float64 PyTorch: ten losses, and every gradient of the first step.

mod common;

use std::collections::HashMap;

use common::*;
use wgrad::nn::{
    FileLayout, Init, Mlp, MlpConfig, Mode, ParamBuilder, ParamId, Params, Precision, ResNet, ResNetConfig,
    read_safetensors,
};
use wgrad::optim::{Group, LossScaler, Sgd, SgdOptions};
use wgrad::ssl::nt_xent;
use wgrad::{DType, Rng, Tensor};

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

/// A layer as a user writes it: fields, and a forward of plain ops.
struct Dense {
    weight: ParamId,
    bias: ParamId,
}

impl Dense {
    fn new(build: &ParamBuilder, inputs: usize, outputs: usize) -> Self {
        let init = Init::linear(inputs);
        Self {
            weight: build.param("weight", [inputs, outputs], FileLayout::Linear, init),
            bias: build.param("bias", [outputs], FileLayout::Same, init),
        }
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Tensor {
        let x = params.activations(x);
        x.matmul(&params.operand(self.weight)).add(&params.operand(self.bias)).relu()
    }
}

/// Losses of two steps, what they changed in the parameters, and the type of the hidden activations.
fn two_steps_of_own_layers(precision: Precision) -> (Vec<f32>, Vec<f32>, DType) {
    let build = ParamBuilder::new(Rng::new(11));
    let layers = [Dense::new(&build.scope("1"), 7, 33), Dense::new(&build.scope("2"), 33, 5)];
    let params = build.finish(gpu()).unwrap().with_precision(precision);
    let x = gpu().tensor(&data(1, 64 * 7), [64, 7]).unwrap();
    let target = gpu().tensor(&data(2, 64 * 5), [64, 5]).unwrap();
    let options = SgdOptions { momentum: 0.9, ..SgdOptions::default() };
    let mut sgd = Sgd::new(&params, options, Group::default_for).unwrap();
    let scaler = scaler(&params);
    let first = params.flat().copy();
    let (mut losses, mut dtype) = (vec![], DType::F32);
    for _ in 0..2 {
        let hidden = layers[0].forward(&params, &x);
        dtype = hidden.dtype();
        let y = layers[1].forward(&params, &hidden).cast(DType::F32);
        let loss = (&y - &target).square().mean_all();
        let gradient = scaler.gradient(&params, &loss);
        assert_eq!(gradient.dtype(), DType::F32);
        scaler.step(&mut sgd, &params, &gradient, 0.5);
        losses.push(loss.item().unwrap());
    }
    (losses, params.flat().sub(&first).to_vec().unwrap(), dtype)
}

/// Seen: losses 7e-6 apart, steps 4e-4 of their length.
#[test]
fn layers_of_your_own_train_in_f16() {
    let (losses, steps, dtype) = two_steps_of_own_layers(Precision::F32);
    assert!(losses[1] < losses[0] && dtype == DType::F32, "{losses:?} in {dtype:?}");
    if !Precision::F16.runs_on(gpu()) {
        eprintln!("skipped: this adapter has no f16");
        return;
    }
    let (losses_f16, steps_f16, dtype) = two_steps_of_own_layers(Precision::F16);
    assert_eq!(dtype, DType::F16, "activations are stored in it");
    assert_close("losses in f16", &losses_f16, &f64s(&losses), Tol::new(0.0, 1e-4));
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let apart =
        norm(&mut steps.iter().zip(&steps_f16).map(|(a, b)| a - b)) / norm(&mut steps.iter().copied());
    assert!(apart > 0.0 && apart < 4e-3, "the steps are {apart:e} of their length apart");
}

/// What goes wrong without the two helpers says what to do.
#[test]
#[should_panic(expected = "cast one, or take a parameter by Params::operand")]
fn a_parameter_in_f32_beside_activations_in_f16_is_refused() {
    if !Precision::F16.runs_on(gpu()) {
        panic!("skipped: no f16 here to cast one, or take a parameter by Params::operand");
    }
    let build = ParamBuilder::new(Rng::new(11));
    let layer = Dense::new(&build, 7, 5);
    let params = build.finish(gpu()).unwrap().with_precision(Precision::F16);
    let x = params.activations(&gpu().zeros([2, 7]).unwrap());
    let _ = x.matmul(&params.get(layer.weight));
}
