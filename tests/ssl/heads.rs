//! The heads that methods put on the encoder.

use wgrad::nn::{DinoHead, DinoHeadConfig, LastNorm, Mlp, MlpConfig, Mode, ParamBuilder, Params, Prototypes};
use wgrad::ops::BatchNormOptions;
use wgrad::reference::{matmul, ssl as spec, unary};
use wgrad::{Rng, Tensor};

use crate::common::*;
use crate::support::*;

fn build() -> ParamBuilder {
    ParamBuilder::new(Rng::new(3))
}

/// Values of the parameter `name`.
fn values(params: &Params, name: &str) -> Vec<f64> {
    let segment = params.segments().iter().find(|s| s.name == name).unwrap();
    f64s(&params.flat().to_vec().unwrap()[segment.range()])
}

/// Length of its part of the packed gradient.
fn gradient_length(params: &Params, loss: &Tensor, name: &str) -> f32 {
    let range = params.segments().iter().find(|s| s.name == name).unwrap().range();
    let packed = params.pack(&loss.backward()).to_vec().unwrap();
    packed[range].iter().map(|v| v * v).sum::<f32>().sqrt()
}

#[test]
fn presets_are_the_papers_heads() {
    let names = |config: &MlpConfig| {
        let build = build();
        let _ = Mlp::new(&build, config);
        build
            .segments()
            .0
            .into_iter()
            .map(|s| format!("{} {}", s.name, s.shape))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(
        names(&MlpConfig::simsiam(6, &[8, 4])),
        "0.weight [6, 8], 1.weight [8], 1.bias [8], 3.weight [8, 4]"
    );
    assert_eq!(MlpConfig::simsiam(6, &[8, 4]).last_norm, LastNorm::Plain);
    assert_eq!(
        names(&MlpConfig::predictor(4, 2)),
        "0.weight [4, 2], 1.weight [2], 1.bias [2], 3.weight [2, 4], 3.bias [4]"
    );
    assert_eq!(
        names(&MlpConfig::vicreg(6, &[8, 7])),
        "0.weight [6, 8], 1.weight [8], 1.bias [8], 3.weight [8, 7]"
    );
    assert_eq!(MlpConfig::vicreg(6, &[8, 7]).last_norm, LastNorm::None);
}

/// SimSiam's projections have columns of mean 0 and variance 1, and no weight that could undo it.
#[test]
fn the_last_norm_of_simsiam_is_plain() {
    let build = build();
    let head = Mlp::new(&build, &MlpConfig::simsiam(5, &[9, 3]));
    let params = build.finish(gpu()).unwrap();
    let z = head.forward(&params, &tensor(&matrix(1, 33, 5)), Mode::Train).to_vec().unwrap();
    let (mean, var) = wgrad::reference::batch_norm::moments(&f64s(&z), 3);
    assert!(
        mean.iter().all(|m| m.abs() < 1e-5) && var.iter().all(|v| (v - 1.0).abs() < 1e-2),
        "{mean:?} {var:?}"
    );
}

#[test]
fn prototypes_give_cosines() {
    let build = build();
    let prototypes = Prototypes::new(&build.scope("prototypes"), 6, 11);
    let params = build.finish(gpu()).unwrap();
    let x = matrix(1, 5, 6);
    let w = spec::unit(&values(&params, "prototypes.weight"), 6);
    let want = matmul::matmul_nt(&spec::unit(&f64s(&x.0), 6), &w, [5, 11, 6]);
    let leaf = tensor(&x).requires_grad();
    let scores = prototypes.forward(&params, &leaf, false);
    assert_close("cosines", &scores.to_vec().unwrap(), &want, F32);

    let loss = scores.square().sum_all();
    assert!(gradient_length(&params, &loss, "prototypes.weight") > 0.1);
    let loss = prototypes.forward(&params, &leaf, true).square().sum_all();
    let grads = loss.backward();
    assert!(grads.get(&leaf).is_some() && grads.len() == 1, "resting prototypes have no gradient");
}

const DINO: DinoHeadConfig =
    DinoHeadConfig { inputs: 6, hidden: 10, bottleneck: 4, outputs: 7, batch_norm: false };

/// Against the same layers put together by hand; the running statistics are those of the batches.
#[test]
fn dinos_head_with_batch_norm_is_named_as_a_sequential() {
    let build = build();
    let head = DinoHead::new(&build.scope("head"), &DinoHeadConfig { batch_norm: true, ..DINO });
    let params = build.finish(gpu()).unwrap();
    let names: Vec<&str> = params.segments().iter().map(|s| s.name.as_str()).collect();
    let pair = |i: usize| [format!("head.mlp.{i}.weight"), format!("head.mlp.{i}.bias")];
    assert_eq!(names[..10], [pair(0), pair(3), pair(6), pair(1), pair(4)].concat()[..]);
    params.flat().write(&data(8, params.flat().len()));

    let x = tensor(&matrix(1, 33, 6));
    let get = |name: &str| {
        let values: Vec<f32> = values(&params, name).iter().map(|&v| v as f32).collect();
        gpu().tensor(&values, [values.len()])
    };
    let mut h = x.clone();
    for (layer, norm, [from, to]) in [(0, Some(1), [6, 10]), (3, Some(4), [10, 10]), (6, None, [10, 4])] {
        let [w, b] = pair(layer).map(|name| get(&name).unwrap());
        h = h.matmul(&w.reshape([from, to])).add(&b);
        if let Some(norm) = norm {
            let [gamma, beta] = pair(norm).map(|name| get(&name).unwrap());
            h = h.batch_norm(BatchNormOptions::train()).mul(&gamma).add(&beta).gelu();
        }
    }
    let w = get("head.last_layer.weight").unwrap().reshape([7, 4]);
    let want = h.l2_normalize().matmul_nt(&w.l2_normalize()).to_vec().unwrap();
    let got = head.forward(&params, &x, Mode::Train, false).to_vec().unwrap();
    assert_close("logits", &got, &f64s(&want), Tol::new(1e-4, 1e-4));
    let evaluated = head.forward(&params, &x, Mode::Eval, false).to_vec().unwrap();
    assert_ne!(got, evaluated, "running statistics are not those of one batch");
}

#[test]
fn dinos_head_is_three_layers_with_gelu_and_unit_rows() {
    let build = build();
    let head = DinoHead::new(&build.scope("head"), &DINO);
    let params = build.finish(gpu()).unwrap();
    let names: Vec<&str> = params.segments().iter().map(|s| s.name.as_str()).collect();
    let layer = |i: usize| [format!("head.mlp.{i}.weight"), format!("head.mlp.{i}.bias")];
    assert_eq!(
        names,
        [layer(0), layer(2), layer(4), ["head.last_layer.weight".into(), String::new()]].concat()[..7]
    );
    // 100 draws of standard deviation .02; biases start at 0 and are made to count here.
    let spread = values(&params, "head.mlp.2.weight").iter().map(|v| v * v).sum::<f64>() / 100.0;
    assert!((spread.sqrt() / 0.02 - 1.0).abs() < 0.25 && values(&params, "head.mlp.2.bias") == [0.0; 10]);
    params.flat().write(&data(8, params.flat().len()));

    let x = matrix(1, 5, 6);
    let linear = |x: &[f64], place: usize, from: usize, to: usize| {
        let [w, b] = layer(place).map(|name| values(&params, &name));
        matmul::linear(x, &w, &b, false, [5, to, from])
    };
    let h = unary::gelu(&linear(&f64s(&x.0), 0, 6, 10));
    let h = linear(&unary::gelu(&linear(&h, 2, 10, 10)), 4, 10, 4);
    let (h, w) = (spec::unit(&h, 4), spec::unit(&values(&params, "head.last_layer.weight"), 4));
    let want = matmul::matmul_nt(&h, &w, [5, 7, 4]);
    let logits = head.forward(&params, &tensor(&x), Mode::Train, false);
    assert_close("logits", &logits.to_vec().unwrap(), &want, Tol::new(2e-5, 2e-5));

    for (rest, name) in
        [(false, "head.last_layer.weight"), (true, "head.last_layer.weight"), (true, "head.mlp.0.weight")]
    {
        let loss = head.forward(&params, &tensor(&x), Mode::Train, rest).square().sum_all();
        let moves = gradient_length(&params, &loss, name) > 0.0;
        assert_eq!(moves, !rest || name.contains("mlp"), "{name}, rest {rest}");
    }
}
