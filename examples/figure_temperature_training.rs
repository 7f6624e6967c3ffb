//! Temperature has an inner optimum: too low and only the hardest negatives count, too high and all count alike.
//!
//!     cargo run --release --example figure_temperature_training
//!
//! The gradient of NT-Xent to the similarities of an image, p the softmax over similarities / tau, is
//!
//!     dL/ds_positive = (p_positive - 1) / tau,     dL/ds_j = p_j / tau
//!
//! As tau falls the few hardest negatives take all of it; as it rises all weigh the same, and images that look alike are no longer
//! told apart. Wang & Liu 2021, "Understanding the Behaviour of Contrastive Loss", sections 3 and 4, call it the
//! uniformity-tolerance dilemma; on CIFAR-10 they have 79.75 % at tau = 0.07, 83.27 at 0.3, 82.21 at 1.
//!
//! First the gradients of 8 batches, at one network after 20 steps at tau = 0.2: their mean G, the signal, and their scatter S, the
//! noise, S^2 = E |g - G|^2. S goes as 1 / tau, so the sweep trains with tau L in place of L, as MoCo v3 does (Chen, Xie & He 2021,
//! algorithm 1): else low temperatures would take the larger steps. Of the sweep: kNN accuracy, and uniformity of the embeddings,
//! ln E exp(-2 |x - y|^2), lower for a wider spread. With the 126 negatives of a batch, and with 14: eight groups apart.
//!
//! The share of signal does not name the best tau: it is least near 0.2, where the network was trained. From 0.2 on embeddings
//! spread less as tau rises, as in the paper; below 0.2 too, unlike its long runs. What fewer negatives do to the best tau is less
//! than what another seed does.

use std::process::ExitCode;

use wgrad::eval::uniformity;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params, ResNet};
use wgrad::ssl::nt_xent;
use wgrad::train::figure::{self, Args, Figure, Miniature, line, theory};
use wgrad::{Gpu, Tensor};

/// Width of the embedding, steps of a run, steps before the gradients, learning rate at the middle temperature.
const WIDTH: usize = 64;
const STEPS: u64 = 120;
const WARM: u64 = 20;
const LR: f64 = 0.1;
/// Temperatures, the indices of the middle and the last, and images that are contrasted with each other.
const TAUS: [f32; 5] = [0.02, 0.1, 0.2, 0.5, 1.0];
const MIDDLE: usize = 2;
const END: usize = TAUS.len() - 1;
const GROUPS: [usize; 2] = [Miniature::BATCH, 8];
/// Batches whose gradients are compared.
const GRADIENTS: u64 = 8;

fn main() -> ExitCode {
    figure::main(include_str!("figure_temperature_training.rs"), temperature_training)
}

/// Encoder and projector, as every run starts.
struct Network {
    params: Params,
    encoder: ResNet,
    projector: Mlp,
}

impl Network {
    fn new(args: &Args, demo: &Miniature, gpu: &Gpu) -> wgrad::Result<Self> {
        let build = ParamBuilder::new(args.rng());
        let encoder = demo.encoder(&build);
        let head = MlpConfig::simclr(encoder.features(), &[WIDTH, WIDTH]);
        let projector = Mlp::new(&build.scope("projector"), &head);
        Ok(Self { params: build.finish(gpu)?, encoder, projector })
    }

    fn embed(&self, views: &Tensor) -> Tensor {
        let features = self.encoder.forward(&self.params, views, Mode::Train);
        self.projector.forward(&self.params, &features, Mode::Train)
    }
}

/// NT-Xent in groups of `group` images: the mean over all rows.
fn grouped(z: &Tensor, group: usize, tau: f32) -> Tensor {
    let n = Miniature::BATCH;
    let rows = |at: usize| z.slice_rows(at, group);
    let losses = (0..n).step_by(group).map(|at| nt_xent(&rows(at), &rows(n + at), tau));
    losses.reduce(|sum, loss| sum.add(&loss)).expect("groups").mul_scalar(group as f32 / n as f32)
}

pub(crate) fn temperature_training(args: &Args) -> wgrad::Result<Figure> {
    let gpu = args.gpu()?;
    let demo = Miniature::demo(args, &gpu)?;
    let mut figure = Figure::new("temperature_training", "group,tau,signal,noise,knn,uniformity");
    let start = Network::new(args, &demo, &gpu)?;
    let warm = |views: &Tensor, _| Ok(grouped(&start.embed(views), GROUPS[0], TAUS[MIDDLE]));
    demo.train(&start.params, WARM, LR, warm, |_, _| Ok(()))?;

    // By group and temperature: tau, |G|^2 / S^2, S, accuracy, uniformity.
    let mut found: Vec<Vec<[f64; 5]>> = vec![];
    for group in GROUPS {
        let mut row = vec![];
        for tau in TAUS {
            let (mut sum, mut squares) = (start.params.flat().full_like(0.0), 0.0);
            let loss = |views: &Tensor, _| Ok(grouped(&start.embed(views), group, tau));
            // A learning rate of 0 leaves the network where it is.
            demo.train(&start.params, GRADIENTS, 0.0, loss, |gradient, _| {
                sum = sum.add(gradient);
                squares += f64::from(gradient.square().sum_all().item()?);
                Ok(())
            })?;
            let (b, mean) = (GRADIENTS as f64, f64::from(sum.square().sum_all().item()?));
            let noise = (squares - mean / b) / (b - 1.0);
            let signal = mean / (b * b) - noise / b;

            let network = Network::new(args, &demo, &gpu)?;
            let mut spread = 0.0;
            let loss = |views: &Tensor, step: u64| {
                let z = network.embed(views);
                if step + 1 == STEPS {
                    spread = uniformity(&z.slice_rows(0, Miniature::BATCH))?;
                }
                Ok(grouped(&z, group, tau).mul_scalar(tau / TAUS[MIDDLE]))
            };
            demo.train(&network.params, STEPS, LR, loss, |_, _| Ok(()))?;
            let knn = demo.knn(&network.encoder, &network.params)?;
            figure.row(&[group as f64, tau.into(), signal, noise, knn, spread]);
            row.push([tau.into(), signal / noise, noise.sqrt(), knn, spread]);
        }
        found.push(row);
    }

    let of = |group: usize, what: usize| found[group].iter().map(|row| row[what]).collect::<Vec<_>>();
    let list = |values: &[f64]| values.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(" ");
    for (which, group) in GROUPS.iter().enumerate() {
        let unit: Vec<f64> = found[which].iter().map(|row| row[0] * row[2]).collect();
        let even = unit.iter().all(|a| unit.iter().all(|b| *a < 1.25 * b));
        figure.claim(format!("{group} images: noise x tau, by tau"), "even up to 1.25", list(&unit), even);
        let (ratio, spread) = (of(which, 1), of(which, 4));
        let rises = ratio[END] > 2.0 * ratio[MIDDLE];
        figure.claim(format!("{group} images: G^2 / S^2"), "at 1 twice that at 0.2", list(&ratio), rises);
        let dilemma = spread[MIDDLE..].windows(2).all(|pair| pair[0] < pair[1]);
        figure.claim(format!("{group} images: uniformity"), "rises from 0.2 on", list(&spread), dilemma);
    }
    let more = of(0, 1)[0] / of(1, 1)[0];
    figure.claim("tau = 0.02: G^2 / S^2 of 64 over of 8", "> 1.1", format!("{more:.3}"), more > 1.1);
    let knn: Vec<f64> = of(0, 3).iter().zip(of(1, 3)).map(|(many, few)| 0.5 * (many + few)).collect();
    let inner = knn[1].max(knn[MIDDLE]) > knn[0].max(knn[END]) + 0.01;
    figure.claim("kNN accuracy, mean of both", "0.1 or 0.2 above ends by 0.01", list(&knn), inner);

    let titles = ["signal^2 / noise^2", "log10 noise", "kNN accuracy", "uniformity"];
    for (what, title) in (1..).zip(titles) {
        let lines = GROUPS.iter().zip(&found).map(|(group, rows)| {
            let value = |row: &[f64; 5]| if what == 2 { row[what].log10() } else { row[what] };
            line(&format!("{group} images"), rows.iter().map(|row| (row[0].log10(), value(row))))
        });
        let [tau, _, noise, ..] = found[0][MIDDLE];
        let inverse = TAUS.map(|t| (f64::from(t).log10(), (noise * tau / f64::from(t)).log10()));
        let inverse = (what == 2).then(|| theory("1 / tau", inverse));
        figure.panel(title, "log10 tau", lines.chain(inverse).collect());
    }
    figure.finish(args, &gpu)
}
