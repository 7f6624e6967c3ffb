//! What InfoNCE teaches a score is the log-ratio of the positives' density to that of the negatives.
//!
//!     cargo run --release --example figure_optimal_score
//!
//! Given x, one y+ drawn from p(y|x) and K drawn from q(y), the chance that candidate i is the one from p(y|x) is, by Bayes' rule,
//! proportional to p(y_i|x) / q(y_i). The loss is least where the softmax of the scores is that chance, so where
//!
//!     f(x, y) = ln p(y|x) / q(y) + c(x)
//!
//! with any function c of x alone, which the softmax does not see. So a score says nothing without its negatives: other negatives
//! teach another score, from the same positives. van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive
//! Predictive Coding", section 2.3; Ma & Collins 2018, "Noise Contrastive Estimation and Negative Sampling".
//!
//! Measured: two small networks f(x, y) = u(x) . v(y) on Gaussian pairs of correlation 0.6. The negatives of the one are drawn from
//! the marginal p(y), those of the other from q'(y), a normal around 1 of deviation 1.5. What a score differs from a log-ratio by
//! must not depend on y: its variance over y, as a share of the log-ratio's own, is the error.

use std::process::ExitCode;

use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use wgrad::train::figure::{self, Args, Figure, line, theory};
use wgrad::{Result, Tensor};

/// Correlation of x and y; mean and standard deviation of each kind of negatives.
const RHO: f64 = 0.6;
const NOISE: [(&str, [f64; 2]); 2] = [("p(y)", [0.0, 1.0]), ("q'(y)", [1.0, 1.5])];
/// Pairs of a step and as many negatives, width of u and v, steps, learning rate.
const PAIRS: usize = 512;
const WIDTH: usize = 16;
const STEPS: u64 = 200;
const LR: f64 = 1e-2;
/// Points of x and of y where scores are looked at: even steps over -2 to 2.
const POINTS: usize = 41;

fn main() -> ExitCode {
    figure::main(include_str!("figure_optimal_score.rs"), optimal_score)
}

/// ln of the normal density.
fn ln_normal(y: f64, [mean, std]: [f64; 2]) -> f64 {
    -((y - mean) / std).powi(2) / 2.0 - std.ln()
}

/// The log-ratio up to a constant, with these negatives.
fn log_ratio(x: f64, y: f64, noise: [f64; 2]) -> f64 {
    ln_normal(y, [RHO * x, (1.0 - RHO * RHO).sqrt()]) - ln_normal(y, noise)
}

/// Point `i` of the axis.
fn point(i: usize) -> f64 {
    4.0 * i as f64 / (POINTS - 1) as f64 - 2.0
}

/// The mean over x of the variance over y, each y weighted by its density.
fn variance(of: impl Fn(usize, usize) -> f64) -> f64 {
    let weights: Vec<f64> = (0..POINTS).map(|y| ln_normal(point(y), NOISE[0].1).exp()).collect();
    let mean = |f: &dyn Fn(usize) -> f64| {
        (0..POINTS).map(|y| weights[y] * f(y)).sum::<f64>() / weights.iter().sum::<f64>()
    };
    let over_y = |x| mean(&|y| of(x, y).powi(2)) - mean(&|y| of(x, y)).powi(2);
    mean(&over_y)
}

pub(crate) fn optimal_score(args: &Args) -> Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("optimal_score", "negatives,step,error_of_ratio_to_p,error_of_ratio_to_q");
    let axis: Vec<f32> = (0..POINTS).map(|i| point(i) as f32).collect();
    let axis = gpu.tensor(&axis, [POINTS, 1])?;
    let first = gpu.zeros_u32([PAIRS])?;
    let (mut errors, mut curves, mut profiles) = (vec![], vec![], vec![]);
    for (which, (label, noise)) in NOISE.into_iter().enumerate() {
        let build = ParamBuilder::new(args.rng());
        let mlp = |name: &str| Mlp::new(&build.scope(name), &MlpConfig::plain(&[1, 64, 64, WIDTH]));
        let (u, v) = (mlp("u"), mlp("v"));
        let params = build.finish(&gpu)?;
        let embed = |mlp: &Mlp, x: &Tensor| mlp.forward(&params, x, Mode::Train);
        let mut adam = AdamW::new(&params, AdamWOptions::default(), Group::default_for)?;
        let schedule = Schedule::warmup_cosine(LR, STEPS / 10, STEPS);
        let mut curve = vec![];
        for step in 0..=STEPS {
            if step % 10 == 0 {
                let scores = embed(&u, &axis).matmul_nt(&embed(&v, &axis)).to_vec()?;
                let score = |x: usize, y: usize| f64::from(scores[x * POINTS + y]);
                let error = NOISE.map(|(_, noise)| {
                    let ratio = |x, y| log_ratio(point(x), point(y), noise);
                    variance(|x, y| score(x, y) - ratio(x, y)) / variance(ratio)
                });
                figure.row(&[which as f64, step as f64, error[0], error[1]]);
                curve.push((step as f64, error[which].log10()));
                if step == STEPS {
                    errors.push(error);
                    let x = 3 * (POINTS - 1) / 4;
                    let centred = |of: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
                        (0..POINTS).map(|y| (point(y), of(y) - of(x))).collect()
                    };
                    profiles.push(line(&format!("negatives from {label}"), centred(&|y| score(x, y))));
                    profiles.push(theory("", centred(&|y| log_ratio(point(x), point(y), noise))));
                    break;
                }
            }
            let x = gpu.normal([PAIRS, 1], 0.0, 1.0, &mut rng)?;
            let own = gpu.normal([PAIRS, 1], 0.0, (1.0 - RHO * RHO).sqrt() as f32, &mut rng)?;
            let negatives = gpu.normal([PAIRS, 1], noise[0] as f32, noise[1] as f32, &mut rng)?;
            let (at, positive) = (embed(&u, &x), embed(&v, &x.mul_scalar(RHO as f32).add(&own)));
            let right = at.mul(&positive).sum(&[1]).reshape([1, PAIRS]);
            let others = embed(&v, &negatives).matmul_nt(&at);
            let logits = Tensor::concat_rows(&[&right, &others]).transpose();
            let loss = logits.softmax_cross_entropy(&first, 1.0);
            adam.step(&params, &params.pack(&loss.backward()), schedule.at(step));
        }
        figure.claim(
            format!("negatives from {label}: error before and after"),
            "a twentieth at most",
            format!("{:.3} {:.4}", 10.0_f64.powf(curve[0].1), errors[which][which]),
            errors[which][which] < 0.05 * 10.0_f64.powf(curve[0].1),
        );
        curves.push(line(&format!("negatives from {label}"), curve));
    }
    for (which, (label, _)) in NOISE.into_iter().enumerate() {
        let [own, other] = [errors[which][which], errors[which][1 - which]];
        figure.claim(
            format!("negatives from {label}: the other log-ratio's error over its own's"),
            "> 4",
            format!("{:.1}", other / own),
            other > 4.0 * own,
        );
    }
    figure.panel("log10 of the error", "step", curves);
    figure.panel("score of (1, y) less that of (1, 1)", "y", profiles);
    figure.finish(args, &gpu)
}
