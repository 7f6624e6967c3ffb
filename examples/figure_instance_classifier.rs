//! InfoNCE is softmax regression over N classes, one an instance, with the keys over tau as its weights.
//!
//!     cargo run --release --example figure_instance_classifier
//!
//! A classifier of N classes has logits W z and the loss -ln softmax(W z) at the label. Put the N keys, over tau, in the rows of
//! W, and let the label of query i be i, and this is InfoNCE:
//!
//!     L = -ln( e^(q_i . k_i / tau) / sum_j e^(q_i . k_j / tau) ),      dL/dq_i = (sum_j p_ij k_j - k_i) / tau
//!
//! Every image is a class of its own, and its weights need no training: they are an embedding of the image. Wu et al. 2018,
//! "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.1. The same holds of real classes: the
//! mean embedding of a class, as its weight, makes a classifier before its first step.
//!
//! Measured: loss and gradients of the streamed contrastive kernels, which never store the logits, against logits stored whole
//! and given to a classifier's cross-entropy; and class means as weights on an encoder that has learned nothing.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::data::{DataSource, Images};
use wgrad::eval::{accuracy, class_means};
use wgrad::nn::{Mode, ParamBuilder, ResNet, ResNetConfig};
use wgrad::ssl::info_nce;
use wgrad::train::figure::{self, Args, Figure, line};

/// Queries, keys and their width.
const SIZE: [usize; 3] = [192, 320, 48];

fn main() -> ExitCode {
    figure::main(include_str!("figure_instance_classifier.rs"), instance_classifier)
}

pub(crate) fn instance_classifier(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("instance_classifier", "tau,loss_difference,gradient_difference,bound");
    let [n, m, d] = SIZE;
    let q = gpu.normal([n, d], 0.0, 1.0, &mut rng)?;
    let k = gpu.normal([m, d], 0.0, 1.0, &mut rng)?;
    let labels = gpu.tensor_u32(&(0..n as u32).collect::<Vec<_>>(), [n])?;
    let (mut losses, mut gradients) = (vec![], vec![]);
    for tau in [0.02_f32, 0.05, 0.1, 0.2, 0.5, 1.0] {
        // Twice the same numbers, by two roads: never stored, and as N x M logits W = keys / tau.
        let both = [true, false].map(|streamed| {
            let (q, k) = (q.copy().requires_grad(), k.copy().requires_grad());
            let loss = if streamed {
                info_nce(&q, &k, tau)
            } else {
                let weights = k.l2_normalize().mul_scalar(1.0 / tau);
                q.l2_normalize().matmul_nt(&weights).softmax_cross_entropy(&labels, 1.0)
            };
            let value = loss.item()?;
            let grads = loss.backward();
            let gradient = |x: &Tensor| grads.get(x).map_or_else(|| Ok(vec![]), Tensor::to_vec);
            Ok::<_, wgrad::Error>((value, [gradient(&q)?, gradient(&k)?].concat()))
        });
        let [streamed, stored] = both;
        let ((loss, gradient), (other, other_gradient)) = (streamed?, stored?);
        let apart = f64::from((loss - other).abs());
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let differences = &mut gradient.iter().zip(&other_gradient).map(|(a, b)| a - b);
        let share = norm(differences) / norm(&mut other_gradient.iter().copied());
        // Scores up to 1 / tau, each rounded to 2^-24 of itself, in a mean; relative to the gradient as much again.
        let eps = f64::from(f32::EPSILON);
        let (loss_bound, share_bound) =
            (8.0 * eps / f64::from(tau) + 2e-6, 1e-4 + 8.0 * eps / f64::from(tau));
        figure.row(&[tau.into(), apart, share, share_bound]);
        let what = |part: &str| format!("tau = {tau}: {part}, streamed against stored");
        figure.claim(
            what("loss"),
            format!("0 ± {loss_bound:.1e}"),
            format!("{apart:.1e}"),
            apart <= loss_bound,
        );
        figure.claim(
            what("gradients"),
            format!("0 ± {share_bound:.1e}"),
            format!("{share:.1e}"),
            share <= share_bound,
        );
        losses.push((f64::from(tau), apart.max(1e-9).log10()));
        gradients.push((f64::from(tau), share.max(1e-9).log10()));
    }

    // Class means as a classifier, on an encoder that has learned nothing yet: even its embedding tells classes apart.
    let splits = DataSource::Embedded.load()?;
    let (mut train, test) = (splits.train, splits.test);
    train.truncate(2000);
    let build = ParamBuilder::new(args.rng());
    let encoder = ResNet::new(&build, &ResNetConfig { channels: train.channels, ..ResNetConfig::demo() });
    let params = build.finish(&gpu)?.frozen();
    let embed = |data: &wgrad::data::Dataset| {
        let images = Images::range(&gpu, data, 0..data.len().min(2000))?.normalize(train.mean, train.std);
        Ok::<_, wgrad::Error>(encoder.forward(&params, &images, Mode::Train))
    };
    let (rows, queries) = (embed(&train)?, embed(&test)?);
    let middle = rows.mean(&[0]);
    let [rows, queries] = [rows, queries].map(|x| x.sub(&middle).l2_normalize());
    let means = class_means(&rows, &train.labels, train.classes())?;
    let top1 = accuracy(&queries.matmul_nt(&means.l2_normalize()), &test.labels[..queries.shape()[0]])?;
    let chance = 1.0 / train.classes() as f64;
    figure.claim(
        "class means as weights, no step of training: top-1",
        format!("> {:.2}", 3.0 * chance),
        format!("{top1:.3}"),
        top1 > 3.0 * chance,
    );
    figure.panel(
        "log10 of the difference",
        "tau",
        vec![line("loss", losses), line("gradients, relative", gradients)],
    );
    figure.finish(args, &gpu)
}
