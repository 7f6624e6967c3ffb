//! burn's side, in its own layouts (NCHW images, OIHW weights); what is compared is brought to wgrad's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use burn::tensor::activation::{log_softmax, relu, softmax};
use burn::tensor::module::{batch_norm_train, conv2d, layer_norm};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{Shape, Side, data};

pub(crate) fn side(device: &Device, shape: &Shape) -> Side {
    let s = &shape.shape;
    match shape.op.as_str() {
        "matmul" => {
            let (a, b) = (tensor(device, 1, [s[0], s[2]]), tensor(device, 2, [s[2], s[1]]));
            of(device, move || vec![a.clone().matmul(b.clone()).into()])
        }
        "conv_forward" => {
            let (x, w) = conv_inputs(device, s);
            of(device, move || vec![Kept::Images(convolve(x.clone(), w.clone(), 1))])
        }
        "conv_training" => {
            let device = &device.clone().autodiff();
            let (x, w) = conv_inputs(device, s);
            let (x, w) = (x.require_grad(), w.require_grad());
            let r = images(device, 3, [s[0], s[1], s[1], s[3]]);
            of(device, move || {
                let loss = (convolve(x.clone(), w.clone(), 1) * r.clone()).sum();
                let grads = loss.backward();
                vec![
                    loss.inner().into(),
                    Kept::Images(x.grad(&grads).expect("a gradient")),
                    Kept::Weights(w.grad(&grads).expect("a gradient")),
                ]
            })
        }
        "info_nce" => {
            let device = &device.clone().autodiff();
            let (q, k) = (tensor(device, 1, [s[0], s[1]]), tensor(device, 2, [s[0], s[1]]));
            let (q, k) = (q.require_grad(), k.require_grad());
            let labels = Tensor::<1, Int>::arange(0..s[0] as i64, device).reshape([s[0], 1]);
            of(device, move || {
                let logits = normalize(q.clone()).matmul(normalize(k.clone()).transpose()) / 0.2;
                let loss = log_softmax(logits, 1).gather(1, labels.clone()).mean().neg();
                let grads = loss.backward();
                let gradient = |t: &Tensor<2>| t.grad(&grads).expect("a gradient").into();
                vec![loss.inner().into(), gradient(&q), gradient(&k)]
            })
        }
        "softmax" => {
            let x = tensor(device, 1, [s[0], s[1]]);
            of(device, move || vec![softmax(x.clone(), 1).into()])
        }
        "column_sum" => {
            let x = tensor(device, 1, [s[0], s[1]]);
            of(device, move || vec![x.clone().sum_dim(0).into()])
        }
        "relu" => {
            let x = tensor(device, 1, [s[0], s[1]]);
            of(device, move || vec![relu(x.clone()).into()])
        }
        "batch_norm" => {
            let device = &device.clone().autodiff();
            let x = images(device, 1, [s[0], s[1], s[2], s[3]]).require_grad();
            let gamma = tensor(device, 2, [s[3]]).require_grad();
            let beta = tensor(device, 3, [s[3]]).require_grad();
            let r = images(device, 4, [s[0], s[1], s[2], s[3]]);
            of(device, move || {
                let y = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5).output;
                let loss = (y * r.clone()).sum();
                let grads = loss.backward();
                let gradient = |t: &Tensor<1>| t.grad(&grads).expect("a gradient").into();
                vec![
                    loss.inner().into(),
                    Kept::Images(x.grad(&grads).expect("a gradient")),
                    gradient(&gamma),
                    gradient(&beta),
                ]
            })
        }
        "layer_norm" => {
            let device = &device.clone().autodiff();
            let x = tensor(device, 1, [s[0], s[1]]).require_grad();
            let gamma = tensor(device, 2, [s[1]]).require_grad();
            let beta = tensor(device, 3, [s[1]]).require_grad();
            let r = tensor(device, 4, [s[0], s[1]]);
            of(device, move || {
                let y = layer_norm(x.clone(), gamma.clone(), Some(beta.clone()), 1e-5);
                let loss = (y * r.clone()).sum();
                let grads = loss.backward();
                let gradient = |t: &Tensor<1>| t.grad(&grads).expect("a gradient").into();
                vec![loss.inner().into(), x.grad(&grads).expect("a gradient").into(), gradient(&gamma), gradient(&beta)]
            })
        }
        "simclr_step" => simclr_step(device, s[0], s[1]),
        other => panic!("no op {other}"),
    }
}

/// A result in burn's layout.
enum Kept {
    One(Tensor<1>),
    Two(Tensor<2>),
    Images(Tensor<4>),
    Weights(Tensor<4>),
}

impl From<Tensor<1>> for Kept {
    fn from(t: Tensor<1>) -> Self {
        Self::One(t)
    }
}

impl From<Tensor<2>> for Kept {
    fn from(t: Tensor<2>) -> Self {
        Self::Two(t)
    }
}

impl Kept {
    fn values(&self) -> Vec<f32> {
        let data = match self {
            Self::One(t) => t.clone().into_data(),
            Self::Two(t) => t.clone().into_data(),
            Self::Images(t) => t.clone().permute([0, 2, 3, 1]).into_data(),
            Self::Weights(t) => t.clone().permute([2, 3, 1, 0]).into_data(),
        };
        data.to_vec().expect("f32")
    }
}

fn of(device: &Device, work: impl FnMut() -> Vec<Kept> + 'static) -> Side {
    let last = Rc::new(RefCell::new(vec![]));
    let (device, kept, mut work) = (device.clone(), Rc::clone(&last), work);
    Side {
        run: Box::new(move |repeats| {
            for _ in 0..repeats {
                *kept.borrow_mut() = work();
            }
            device.sync().expect("device");
        }),
        results: Box::new(move || last.borrow().iter().map(Kept::values).collect()),
    }
}

fn tensor<const D: usize>(device: &Device, seed: u32, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(data(seed, shape.iter().product()), shape), device)
}

/// The values of wgrad's NHWC tensor as NCHW, laid out so in memory.
fn images(device: &Device, seed: u32, [n, h, w, c]: [usize; 4]) -> Tensor<4> {
    nchw(device, &data(seed, n * h * w * c), [n, h, w, c])
}

fn nchw(device: &Device, values: &[f32], [n, h, w, c]: [usize; 4]) -> Tensor<4> {
    let at = |i: usize| {
        let (x, y, ch, b) = (i % w, i / w % h, i / w / h % c, i / w / h / c);
        values[((b * h + y) * w + x) * c + ch]
    };
    Tensor::from_data(TensorData::new((0..values.len()).map(at).collect::<Vec<f32>>(), [n, c, h, w]), device)
}

/// HWIO weights as OIHW.
fn oihw(device: &Device, values: &[f32], [kh, kw, cin, cout]: [usize; 4]) -> Tensor<4> {
    let at = |i: usize| {
        let (x, y, ci, co) = (i % kw, i / kw % kh, i / kw / kh % cin, i / kw / kh / cin);
        values[((y * kw + x) * cin + ci) * cout + co]
    };
    Tensor::from_data(TensorData::new((0..values.len()).map(at).collect::<Vec<f32>>(), [cout, cin, kh, kw]), device)
}

fn conv_inputs(device: &Device, s: &[usize]) -> (Tensor<4>, Tensor<4>) {
    let shape = [3, 3, s[2], s[3]];
    (images(device, 1, [s[0], s[1], s[1], s[2]]), oihw(device, &data(2, shape.iter().product()), shape))
}

/// With the padding that keeps the size at stride 1.
fn convolve(x: Tensor<4>, w: Tensor<4>, stride: usize) -> Tensor<4> {
    let pad = w.dims()[2] / 2;
    conv2d(x, w, None, ConvOptions::new([stride, stride], [pad, pad], [1, 1], 1))
}

fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    x / norm
}

/// Parameters by name, of rank 4 (convolutions), 2 (linear) and 1.
#[derive(Default)]
struct Model {
    fours: HashMap<String, Tensor<4>>,
    twos: HashMap<String, Tensor<2>>,
    ones: HashMap<String, Tensor<1>>,
    running: HashMap<String, [Tensor<1>; 2]>,
}

impl Model {
    /// wgrad's initial values.
    fn new(device: &Device) -> Self {
        let gpu = wgrad::Gpu::builder().quiet().build().expect("adapter");
        let (_, _, params) = crate::ours::network(&gpu);
        let flat = params.flat().to_vec().expect("read");
        let mut model = Self::default();
        for segment in params.segments() {
            let values = &flat[segment.range()];
            let name = segment.name.clone();
            match **segment.shape() {
                [kh, kw, cin, cout] => {
                    let w = oihw(device, values, [kh, kw, cin, cout]).require_grad();
                    model.fours.insert(name, w);
                }
                [a, b] => {
                    let w = Tensor::from_data(TensorData::new(values.to_vec(), [a, b]), device);
                    model.twos.insert(name, w.require_grad());
                }
                [n] => {
                    let v = Tensor::from_data(TensorData::new(values.to_vec(), [n]), device);
                    model.ones.insert(name, v.require_grad());
                }
                _ => panic!("{name} has another rank"),
            }
        }
        model
    }

    fn conv(&self, name: &str, x: Tensor<4>, stride: usize) -> Tensor<4> {
        convolve(x, self.fours[&format!("{name}.weight")].clone(), stride)
    }

    /// Batch norm in training, running statistics included.
    fn norm<const D: usize>(&mut self, name: &str, x: Tensor<D>) -> Tensor<D> {
        let parameter = |what: &str| self.ones[&format!("{name}.{what}")].clone();
        let count = x.shape().num_elements() / x.dims()[1];
        let out = batch_norm_train(x, parameter("weight"), parameter("bias"), 1e-5);
        let (mean, var) = (out.mean.inner(), out.variance.inner());
        let start = [mean.zeros_like(), var.ones_like()];
        let [m, v] = self.running.remove(name).unwrap_or(start);
        let unbiased = var * (count as f32 / (count as f32 - 1.0));
        self.running.insert(name.to_owned(), [m * 0.9 + mean * 0.1, v * 0.9 + unbiased * 0.1]);
        out.output
    }

    fn forward(&mut self, views: Tensor<4>) -> Tensor<2> {
        let mut x = self.conv("encoder.conv1", views, 1);
        x = relu(self.norm("encoder.bn1", x));
        for stage in 1..=3 {
            let block = format!("encoder.layer{stage}.0");
            let stride = if stage == 1 { 1 } else { 2 };
            let mut y = self.conv(&format!("{block}.conv1"), x.clone(), stride);
            y = relu(self.norm(&format!("{block}.bn1"), y));
            y = self.conv(&format!("{block}.conv2"), y, 1);
            y = self.norm(&format!("{block}.bn2"), y);
            let shortcut = match stage {
                1 => x,
                _ => {
                    let s = self.conv(&format!("{block}.downsample.0"), x, stride);
                    self.norm(&format!("{block}.downsample.1"), s)
                }
            };
            x = relu(y + shortcut);
        }
        let features: Tensor<2> = x.mean_dim(2).mean_dim(3).flatten(1, 3);
        let hidden = features.matmul(self.twos["projector.0.weight"].clone());
        let hidden = relu(self.norm("projector.1", hidden));
        hidden.matmul(self.twos["projector.3.weight"].clone()) + self.ones["projector.3.bias"].clone().unsqueeze()
    }
}

/// SGD with momentum and weight decay on one parameter.
fn sgd<const D: usize>(w: Tensor<D>, g: Tensor<D>, velocity: &mut HashMap<String, Tensor<D>>, name: &str) -> Tensor<D> {
    let w = w.inner();
    let g = g + w.clone() * 5e-4;
    let v = match velocity.remove(name) {
        Some(v) => v * 0.9 + g,
        None => g,
    };
    velocity.insert(name.to_owned(), v.clone());
    w - v * 0.01
}

fn simclr_step(device: &Device, batch: usize, size: usize) -> Side {
    let device = device.clone().autodiff();
    let mut model = Model::new(&device);
    let (mut v4, mut v2, mut v1) = (HashMap::new(), HashMap::new(), HashMap::new());
    let n = 2 * batch;
    let views = images(&device, 1, [n, size, size, 3]);
    let positive: Vec<i64> = (0..n).map(|i| ((i + batch) % n) as i64).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(positive, [n, 1]), &device);
    // A row's logit with itself does not count.
    let own: Vec<f32> = (0..n * n).map(|i| if i % (n + 1) == 0 { -1e9 } else { 0.0 }).collect();
    let own = Tensor::<2>::from_data(TensorData::new(own, [n, n]), &device);
    of(&device.clone(), move || {
        let z = normalize(model.forward(views.clone()));
        let logits = z.clone().matmul(z.transpose()) / 0.2 + own.clone();
        let loss = log_softmax(logits, 1).gather(1, labels.clone()).mean().neg();
        let grads = loss.backward();
        let value = loss.inner();
        for (name, w) in &mut model.fours {
            let g = w.grad(&grads).expect("a gradient");
            *w = Tensor::from_inner(sgd(w.clone(), g, &mut v4, name)).require_grad();
        }
        for (name, w) in &mut model.twos {
            let g = w.grad(&grads).expect("a gradient");
            *w = Tensor::from_inner(sgd(w.clone(), g, &mut v2, name)).require_grad();
        }
        for (name, w) in &mut model.ones {
            let g = w.grad(&grads).expect("a gradient");
            *w = Tensor::from_inner(sgd(w.clone(), g, &mut v1, name)).require_grad();
        }
        vec![value.into()]
    })
}
