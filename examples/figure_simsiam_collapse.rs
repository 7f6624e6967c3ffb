//! SimSiam without its stopped gradient, or without its predictor, maps every image to one point.
//!
//!     cargo run --release --example figure_simsiam_collapse
//!
//! With p = h(z), h the predictor, the loss of two views is
//!
//!     L = -1/2 cos(p1, stop(z2)) - 1/2 cos(p2, stop(z1))
//!
//! and nothing in it forbids the constant: there it has its least value, -1. What forbids the constant is how the loss is
//! descended, as the figure before shows. The standard deviation of the unit embedding, mean over its d columns, tells:
//! 1 / sqrt(d) for rows spread evenly, 0 for a point. Chen & He 2021, "Exploring Simple Siamese Representation Learning",
//! sections 4.1 and 4.2, figure 2.
//!
//! Measured: the demo's encoder with both, and without one of them. The projector has no batch norm at its end, which would
//! hold the spread up for long against a loss that wants none.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::eval::batch_std;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::simsiam_loss;
use wgrad::train::figure::{self, Args, Figure, Miniature, line};

/// Width of the embedding, steps of a run, learning rate.
const WIDTH: usize = 64;
const STEPS: u64 = 150;
const LR: f64 = 0.3;

/// Label, whether the gradient is stopped, whether there is a predictor.
const RUNS: [(&str, bool, bool); 3] =
    [("both", true, true), ("no stop-gradient", false, true), ("no predictor", true, false)];

fn main() -> ExitCode {
    figure::main(include_str!("figure_simsiam_collapse.rs"), simsiam_collapse)
}

pub(crate) fn simsiam_collapse(args: &Args) -> wgrad::Result<Figure> {
    let gpu = args.gpu()?;
    let demo = Miniature::demo(args, &gpu)?;
    let mut figure = Figure::new("simsiam_collapse", "run,step,loss,std_share");
    let (mut losses, mut stds) = (vec![], vec![]);
    for (which, (label, stop, predicts)) in RUNS.into_iter().enumerate() {
        let build = ParamBuilder::new(args.rng());
        let encoder = demo.encoder(&build);
        let projector =
            Mlp::new(&build.scope("projector"), &MlpConfig::simclr(encoder.features(), &[WIDTH, WIDTH]));
        let predictor = Mlp::new(&build.scope("predictor"), &MlpConfig::predictor(WIDTH, WIDTH / 4));
        let params = build.finish(&gpu)?;
        let (mut loss_curve, mut std_curve) = (vec![], vec![]);
        let loss = |views: &Tensor, step: u64| {
            let z = projector.forward(&params, &encoder.forward(&params, views, Mode::Train), Mode::Train);
            let p = if predicts { predictor.forward(&params, &z, Mode::Train) } else { z.clone() };
            let [z1, z2] = [0, Miniature::BATCH].map(|at| z.slice_rows(at, Miniature::BATCH));
            let [p1, p2] = [0, Miniature::BATCH].map(|at| p.slice_rows(at, Miniature::BATCH));
            let loss = if stop { simsiam_loss(&p1, &z2, &p2, &z1) } else { flowing(&p1, &z2, &p2, &z1) };
            if step.is_multiple_of(10) || step + 1 == STEPS {
                let share = f64::from(batch_std(&z).item()?) * (WIDTH as f64).sqrt();
                let value = f64::from(loss.item()?);
                figure.row(&[which as f64, step as f64, value, share]);
                loss_curve.push((step as f64, value));
                std_curve.push((step as f64, share));
            }
            Ok(loss)
        };
        demo.train(&params, STEPS, LR, loss, |_, _| Ok(()))?;
        losses.push((label, loss_curve));
        stds.push((label, std_curve));
    }
    let last =
        |curves: &[(&str, Vec<(f64, f64)>)], which: usize| curves[which].1.last().map_or(f64::NAN, |p| p.1);
    let with = last(&stds, 0);
    figure.claim("both: std x sqrt(d) at the end", "> 0.5", format!("{with:.3}"), with > 0.5);
    for (which, (label, ..)) in RUNS.iter().enumerate().skip(1) {
        let without = last(&stds, which);
        figure.claim(
            format!("{label}: std x sqrt(d) at the end"),
            format!("< {:.3}, a tenth", with / 10.0),
            format!("{without:.4}"),
            without < with / 10.0,
        );
        let loss = last(&losses, which);
        figure.claim(format!("{label}: loss at the end"), "< -0.99", format!("{loss:.4}"), loss < -0.99);
    }
    for (title, curves) in [("loss", losses), ("embedding std x sqrt(d)", stds)] {
        let lines = curves.into_iter().map(|(label, curve)| line(label, curve)).collect();
        figure.panel(title, "step", lines);
    }
    figure.finish(args, &gpu)
}

/// The loss with the gradient flowing to both sides.
fn flowing(p1: &Tensor, z2: &Tensor, p2: &Tensor, z1: &Tensor) -> Tensor {
    let cosine = |p: &Tensor, z: &Tensor| p.l2_normalize().mul(&z.l2_normalize()).sum(&[1]).mean_all();
    cosine(p1, z2).add(&cosine(p2, z1)).mul_scalar(-0.5)
}
