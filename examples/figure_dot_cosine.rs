//! InfoNCE on dot products can be lowered by longer vectors, on cosines by directions alone.
//!
//!     cargo run --release --example figure_dot_cosine
//!
//! Scale all embeddings by s and the dot scores grow by s^2:
//!
//!     L(s) = mean over i of ln( 1 + sum_(j != i) e^(s^2 (q_i . k_j - q_i . k_i) / tau) )
//!
//! Where every positive ranks first the loss falls to 0, and so does its gradient, without a better direction anywhere: norms
//! grow as long as one trains. With one row mis-ranked it grows as s^2 instead. On cosines the loss does not see s, hence its
//! gradient is orthogonal to each embedding, z . dL/dz = 0, and a step leaves the length to second order (and only lengthens
//! it); the temperature, which s^2 would have been, must be chosen. Wang et al. 2017, "NormFace", section 3.3.
//!
//! Measured: loss and gradient of the same embeddings at scales of 1/2 to 16, and free embeddings trained by both.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::ssl::{info_nce, info_nce_dot};
use wgrad::train::figure::{self, Args, Figure, line};

/// Rows and width of the embeddings, and the temperature.
const SIZE: [usize; 2] = [128, 32];
const TAU: f32 = 0.5;
/// Steps and learning rate of the training at the end.
const STEPS: usize = 150;
const LR: f32 = 8.0;

/// A loss of queries and keys at a temperature.
type Loss = fn(&Tensor, &Tensor, f32) -> Tensor;

fn main() -> ExitCode {
    figure::main(include_str!("figure_dot_cosine.rs"), dot_cosine)
}

pub(crate) fn dot_cosine(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("dot_cosine", "scale,dot,dot_misranked,cosine,dot_gradient,cosine_gradient");
    let [n, d] = SIZE;
    let q = gpu.normal([n, d], 0.0, 1.0, &mut rng)?.l2_normalize();
    let near = q.add(&gpu.normal([n, d], 0.0, 0.05, &mut rng)?).l2_normalize();
    // The same keys, the first two exchanged: rows 0 and 1 rank another key first.
    let exchanged: Vec<u32> = [1, 0].into_iter().chain(2..n as u32).collect();
    let wrong = near.gather_rows(&gpu.tensor_u32(&exchanged, [n])?);

    let scales = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0_f32];
    let mut measured = vec![];
    for s in scales {
        let value = |loss: Loss, keys: &Tensor| {
            let z = q.mul_scalar(s).requires_grad();
            let loss = loss(&z, &keys.mul_scalar(s), TAU);
            let value = f64::from(loss.item()?);
            let gradient = loss.backward().get(&z).cloned().unwrap_or_else(|| z.full_like(0.0));
            let length = f64::from(gradient.square().sum_all().sqrt().item()?);
            // The largest |z . g| / (|z| |g|) over rows: 0 for cosines.
            let along =
                z.stop_gradient().l2_normalize().mul(&gradient.l2_normalize()).sum(&[1]).abs().max_all();
            Ok::<_, wgrad::Error>([value, length, f64::from(along.item()?)])
        };
        let (dot, misranked, cosine) =
            (value(info_nce_dot, &near)?, value(info_nce_dot, &wrong)?, value(info_nce, &near)?);
        figure.row(&[s.into(), dot[0], misranked[0], cosine[0], dot[1], cosine[1]]);
        measured.push((f64::from(s), dot, misranked, cosine));
    }
    let [first, .., last] = &measured[..] else { unreachable!("several scales") };
    let below = |figure: &mut Figure, what: &str, limit: f64, value: f64| {
        figure.claim(what, format!("<= {limit:.1e}"), format!("{value:.1e}"), value <= limit);
    };
    // What is left is rounding: scores reach s^2 / tau, each to 2^-24 of itself.
    let rounding = 256.0 / f64::from(TAU) * f64::from(f32::EPSILON);
    below(&mut figure, "dot, all positives first, s = 16: loss", rounding, last.1[0]);
    below(&mut figure, "dot, all positives first, s = 16: gradient", 1e-6 * first.1[1], last.1[1]);
    // Two of n rows lose about s^2 (1 - cos) / tau each: 4 times as much at twice the scale.
    let before = measured[measured.len() - 2].2[0];
    figure.near("dot, two rows mis-ranked: loss at s = 16 over s = 8", 4.0, last.2[0] / before, 0.05);
    let spread = measured.iter().map(|m| (m.3[0] - first.3[0]).abs()).fold(0.0, f64::max);
    below(&mut figure, "cosine: change of the loss over all s", 1e-5, spread);
    let along = measured.iter().map(|m| m.3[2]).fold(0.0, f64::max);
    below(&mut figure, "cosine: largest |z . grad| / (|z| |grad|)", 1e-5, along);

    // Free embeddings by gradient descent from the same start.
    let start = [q.mul_scalar(0.5), gpu.normal([n, d], 0.0, 0.1, &mut rng)?];
    let mut norms = vec![];
    for loss in [info_nce_dot as Loss, info_nce] {
        let [mut z, mut k] = start.clone();
        let mut curve = vec![];
        for step in 0..=STEPS {
            if step % 10 == 0 {
                let norm = z.square().sum(&[1]).sqrt().mean_all().item()?;
                curve.push((step as f64, f64::from(norm)));
            }
            let (a, b) = (z.requires_grad(), k.requires_grad());
            let grads = loss(&a, &b, TAU).backward();
            let stepped = |x: &Tensor| {
                let fixed = x.stop_gradient();
                grads.get(x).map_or_else(|| fixed.clone(), |g| fixed.sub(&g.mul_scalar(LR)))
            };
            (z, k) = (stepped(&a), stepped(&b));
        }
        norms.push(curve);
    }
    let growth = |curve: &[(f64, f64)]| curve[curve.len() - 1].1 / curve[0].1;
    let [dot, cosine] = [growth(&norms[0]), growth(&norms[1])];
    figure.claim(
        "training: growth of the norm, dot over cosine",
        "> 1.5",
        format!("{:.2}", dot / cosine),
        dot > 1.5 * cosine,
    );
    figure.claim("training: dot norms never stop", "last tenth grows", format!("{dot:.2} in all"), {
        let [.., before, after] = &norms[0][..] else { unreachable!("many points") };
        after.1 > before.1
    });

    let log =
        |of: usize| measured.iter().map(move |m| (m.0.log2(), [m.1, m.2, m.3][of][0].max(1e-9).log10()));
    figure.panel(
        "log10 of the loss",
        "log2 of the scale s",
        vec![line("dot", log(0)), line("dot, two rows mis-ranked", log(1)), line("cosine", log(2))],
    );
    let [dot, cosine] = <[_; 2]>::try_from(norms).unwrap_or_default();
    figure.panel("mean norm in training", "step", vec![line("dot", dot), line("cosine", cosine)]);
    figure.finish(args, &gpu)
}
