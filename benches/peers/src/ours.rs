//! wgrad's side.

use std::cell::RefCell;
use std::rc::Rc;

use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, ResNet, ResNetConfig};
use wgrad::ops::{BatchNormOptions, Conv2dOptions};
use wgrad::optim::{Group, Optimizer, Sgd, SgdOptions};
use wgrad::ssl::{info_nce, nt_xent};
use wgrad::{Gpu, Rng, Tensor};

use crate::{Shape, Side, data};

pub(crate) fn side(gpu: &Gpu, shape: &Shape) -> Side {
    let s = &shape.shape;
    let constant = |seed: u32, dims: &[usize]| -> Tensor {
        gpu.tensor(&data(seed, dims.iter().product()), dims).expect("upload")
    };
    let leaf = |seed: u32, dims: &[usize]| constant(seed, dims).requires_grad();
    match shape.op.as_str() {
        "matmul" => {
            let (a, b) = (constant(1, &[s[0], s[2]]), constant(2, &[s[2], s[1]]));
            forward(gpu, move || a.matmul(&b))
        }
        "conv_forward" => {
            let (x, w) = conv_inputs(s, &constant);
            forward(gpu, move || x.conv2d(&w, Conv2dOptions::new().padding(1)))
        }
        "conv_training" => {
            let (x, w) = conv_inputs(s, &leaf);
            let r = constant(3, &[s[0], s[1], s[1], s[3]]);
            gradients(gpu, vec![x.clone(), w.clone()], move || {
                x.conv2d(&w, Conv2dOptions::new().padding(1)).mul(&r).sum_all()
            })
        }
        "info_nce" => {
            let (q, k) = (leaf(1, s), leaf(2, s));
            gradients(gpu, vec![q.clone(), k.clone()], move || info_nce(&q, &k, 0.2))
        }
        "softmax" => {
            let x = constant(1, s);
            forward(gpu, move || x.softmax(None))
        }
        "column_sum" => {
            let x = constant(1, s);
            forward(gpu, move || x.sum(&[0]))
        }
        "relu" => {
            let x = constant(1, s);
            forward(gpu, move || x.relu())
        }
        "batch_norm" => {
            let (x, gamma, beta) = (leaf(1, s), leaf(2, &s[3..]), leaf(3, &s[3..]));
            let r = constant(4, s);
            gradients(gpu, vec![x.clone(), gamma.clone(), beta.clone()], move || {
                x.batch_norm(BatchNormOptions::train().affine(&gamma, &beta)).mul(&r).sum_all()
            })
        }
        "layer_norm" => {
            let (x, gamma, beta) = (leaf(1, s), leaf(2, &s[1..]), leaf(3, &s[1..]));
            let r = constant(4, s);
            gradients(gpu, vec![x.clone(), gamma.clone(), beta.clone()], move || {
                x.layer_norm(&gamma, &beta).mul(&r).sum_all()
            })
        }
        "simclr_step" => simclr_step(gpu, shape.network(), s[0], s[1]),
        other => panic!("no op {other}"),
    }
}

fn conv_inputs(s: &[usize], make: &dyn Fn(u32, &[usize]) -> Tensor) -> (Tensor, Tensor) {
    (make(1, &[s[0], s[1], s[1], s[2]]), make(2, &[3, 3, s[2], s[3]]))
}

/// Values of one op.
fn forward(gpu: &Gpu, op: impl Fn() -> Tensor + 'static) -> Side {
    of(gpu, move || vec![op()])
}

/// A scalar and its gradients.
fn gradients(gpu: &Gpu, leaves: Vec<Tensor>, loss: impl Fn() -> Tensor + 'static) -> Side {
    of(gpu, move || {
        let loss = loss();
        let mut results = vec![loss.stop_gradient()];
        let grads = loss.backward();
        results.extend(leaves.iter().map(|leaf| grads.get(leaf).expect("a gradient").clone()));
        results
    })
}

fn of(gpu: &Gpu, work: impl Fn() -> Vec<Tensor> + 'static) -> Side {
    let last = Rc::new(RefCell::new(vec![]));
    let (gpu, kept) = (gpu.clone(), Rc::clone(&last));
    Side {
        run: Box::new(move |repeats| {
            for _ in 0..repeats {
                *kept.borrow_mut() = work();
            }
            gpu.sync().expect("device");
        }),
        results: Box::new(move || last.borrow().iter().map(|t| t.to_vec().expect("read")).collect()),
    }
}

/// The network of the step, its projector, and names, shapes and values of its parameters.
pub(crate) fn network(gpu: &Gpu, name: &str) -> (ResNet, Mlp, Params) {
    let config = match name {
        "resnet8" => ResNetConfig::resnet8(),
        "resnet18" => ResNetConfig::resnet18(),
        other => panic!("no network {other}"),
    };
    let build = ParamBuilder::new(Rng::new(7));
    let encoder = ResNet::new(&build.scope("encoder"), &config);
    let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), &[128, 128]));
    let params = build.finish(gpu).expect("upload");
    (encoder, projector, params)
}

/// SGD with momentum on a ResNet, NT-Xent: one step on fixed views.
fn simclr_step(gpu: &Gpu, name: &str, batch: usize, size: usize) -> Side {
    let (encoder, projector, params) = network(gpu, name);
    let options = SgdOptions { momentum: 0.9, weight_decay: 5e-4, ..SgdOptions::default() };
    let sgd = RefCell::new(Sgd::new(&params, options, Group::default_for).expect("memory"));
    let views = [2 * batch, size, size, 3];
    let views = gpu.tensor(&data(1, views.iter().product()), views).expect("upload");
    of(gpu, move || {
        let features = encoder.forward(&params, &views, Mode::Train);
        let z = projector.forward(&params, &features, Mode::Train);
        let loss = nt_xent(&z.slice_rows(0, batch), &z.slice_rows(batch, batch), 0.2);
        let value = loss.stop_gradient();
        let gradient = params.pack(&loss.backward());
        sgd.borrow_mut().step(&params, &gradient, 0.01);
        vec![value]
    })
}
