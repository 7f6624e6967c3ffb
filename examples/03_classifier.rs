//! A classifier of clothes: a small convolutional network, trained by a loop of our own on images that come with the crate.
//!
//!     cargo run --release --example 03_classifier

use std::sync::Arc;

use wgrad::data::{DataSource, Images, Loader, Splits};
use wgrad::eval::accuracy;
use wgrad::nn::{ConvNorm, Linear, Mode, ParamBuilder, Params};
use wgrad::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use wgrad::{Gpu, Rng, Tensor};

const EPOCHS: u32 = 4;
const BATCH: usize = 100;

/// Three convolutions, each halving height and width, and a linear layer on the mean over the last map. Layers hold
/// names of parameters; the values live in a `Params`.
struct Net {
    convs: [ConvNorm; 3],
    linear: Linear,
}

impl Net {
    fn new(build: &ParamBuilder, channels: usize, classes: usize) -> Self {
        let conv = |name, from, to| ConvNorm::new(&build.scope(name), from, to, 3, 2);
        let convs = [conv("conv1", channels, 16), conv("conv2", 16, 32), conv("conv3", 32, 64)];
        Self { convs, linear: Linear::new(&build.scope("linear"), 64, classes, true) }
    }

    /// Images `[n, h, w, c]` to logits `[n, classes]`.
    fn forward(&self, params: &Params, images: &Tensor, mode: Mode) -> Tensor {
        let maps = self.convs.iter().fold(images.clone(), |x, conv| conv.forward_relu(params, &x, mode));
        self.linear.forward(params, &maps.global_avg_pool())
    }
}

fn main() -> wgrad::Result<()> {
    wgrad::train::no_flags(include_str!("03_classifier.rs")); // --help, and no more

    // 10,000 and 2,000 images of Fashion-MNIST in bytes. "cifar10:DIR" or "folder:DIR" reads others.
    let Splits { train, test } = "embedded".parse::<DataSource>()?.load()?;
    let (train, gpu) = (Arc::new(train), Gpu::new()?);
    let normal = |images: &Images| images.normalize(train.mean, train.std); // the same for both splits

    let build = ParamBuilder::new(Rng::new(1));
    let net = Net::new(&build, train.channels, train.classes());
    let params = build.finish(&gpu)?; // drawn and uploaded
    let mut adamw = AdamW::new(&params, AdamWOptions::default(), Group::exclude_1d)?;

    let test_accuracy = || {
        let images = Images::range(&gpu, &test, 0..test.len())?;
        accuracy(&net.forward(&params.frozen(), &normal(&images), Mode::Eval), &test.labels)
    };
    let mut right = test_accuracy()?;
    println!("{} images; before training: test accuracy {:.1} %", train.len(), 100.0 * right);

    let loader = Loader::builder(&train, BATCH).seed(1).epochs(EPOCHS).build()?; // a thread ahead of us
    let per_epoch = loader.steps_per_epoch() as u64;
    let schedule = Schedule::warmup_cosine(0.01, per_epoch / 4, per_epoch * u64::from(EPOCHS));
    for batch in loader {
        let labels = gpu.tensor_u32(&batch.labels, [BATCH])?;
        let logits = net.forward(&params, &normal(&Images::upload(&gpu, &batch)?), Mode::Train);
        let loss = logits.softmax_cross_entropy(&labels, 1.0);
        let gradient = params.pack(&loss.backward()); // one flat tensor, as the parameters are
        adamw.step(&params, &gradient, schedule.at(batch.step));

        if (batch.step + 1) % per_epoch == 0 {
            right = test_accuracy()?; // reading waits; do it rarely
            let (epoch, loss) = (batch.epoch + 1, loss.item()?);
            println!("epoch {epoch}: loss {loss:.3}, test accuracy {:.1} %", 100.0 * right);
        }
    }
    assert!(right > 0.8, "after {EPOCHS} epochs {:.1} % of the test images are right", 100.0 * right);
    Ok(())
}
