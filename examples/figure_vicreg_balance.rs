//! VICReg's three weights decide how large the embedding is, whether it collapses, and whether its columns repeat one another.
//!
//!     cargo run --release --example figure_vicreg_balance
//!
//! The loss of VICReg has no negatives. It asks the two views of an image to agree (I, the mean squared difference), each column
//! to have a standard deviation of 1 over the batch (a hinge), and different columns not to covary (C, the sum of their squared
//! covariances):
//!
//!     L = lambda I + mu (1 - std) + nu C          while std < 1
//!
//! Scale the embedding by r and L becomes lambda I r^2 + mu (1 - r std) + nu C r^4, least at r = 1 where
//!
//!     2 lambda I + 4 nu C = mu std
//!
//! so the weights decide how large the embedding is. Without covariance, and with views that correlate by rho, I is
//! 2 std^2 (1 - rho), and std = mu / (4 lambda (1 - rho)): the paper's lambda = mu reaches the full std of 1 once views
//! correlate by 3/4, and mu = 0 means 0. Bardes, Ponce & LeCun 2022, "VICReg", equations 1 to 6 and table 7 (which weights
//! collapse); the balance is derived here.
//!
//! Measured: seven sets of weights on the demo's encoder, means over the last steps. Correlation is the root mean square of that
//! between different columns.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::ssl::{VicRegWeights, vicreg_loss};
use wgrad::train::figure::{self, Args, Figure, Miniature, line, theory};

/// Width of the embedding; steps of a run, those between two measurements, and measurements in a mean at the end.
const WIDTH: usize = 32;
const STEPS: u64 = 150;
const EVERY: u64 = 5;
const LAST: usize = 6;
/// The step from which the picture has the balance: before, it is far above.
const SETTLED: f64 = 30.0;
/// Learning rate over the largest weight.
const LR: f64 = 0.5;

/// Invariance, variance, covariance.
const WEIGHTS: [[f32; 3]; 7] = [
    [1.0, 0.0, 0.0],
    [25.0, 0.0, 1.0],
    [0.0, 25.0, 1.0],
    [1.0, 1.0, 1.0],
    [1.0, 1.0, 0.0],
    [25.0, 1.0, 1.0],
    [25.0, 25.0, 1.0],
];

fn main() -> ExitCode {
    figure::main(include_str!("figure_vicreg_balance.rs"), vicreg_balance)
}

pub(crate) fn vicreg_balance(args: &Args) -> wgrad::Result<Figure> {
    let gpu = args.gpu()?;
    let demo = Miniature::demo(args, &gpu)?;
    let mut figure = Figure::new("vicreg_balance", "lambda,mu,nu,step,std,correlation,pull,push");
    let mut runs = vec![];
    for [invariance, variance, covariance] in WEIGHTS {
        let build = ParamBuilder::new(args.rng());
        let encoder = demo.encoder(&build);
        let head = MlpConfig::vicreg(encoder.features(), &[WIDTH, WIDTH]);
        let expander = Mlp::new(&build.scope("projector"), &head);
        let params = build.finish(&gpu)?;
        let weights = VicRegWeights { invariance, variance, covariance };
        let [lambda, mu, nu] = [invariance, variance, covariance].map(f64::from);
        // Rows of step, std, correlation, and both sides of the balance.
        let mut rows: Vec<[f64; 5]> = vec![];
        let loss = |views: &Tensor, step: u64| {
            let z = expander.forward(&params, &encoder.forward(&params, views, Mode::Train), Mode::Train);
            let [z1, z2] = [0, 1].map(|view| z.slice_rows(view * Miniature::BATCH, Miniature::BATCH));
            let loss = vicreg_loss(&z1, &z2, weights);
            if step.is_multiple_of(EVERY) {
                let [std, correlation] = spread(&z)?;
                let pull = 2.0 * lambda * f64::from(loss.invariance.item()?)
                    + 4.0 * nu * f64::from(loss.covariance.item()?);
                rows.push([step as f64, std, correlation, pull, mu * std]);
            }
            Ok(loss.total)
        };
        demo.train(&params, STEPS, LR / lambda.max(mu), loss, |_, _| Ok(()))?;
        for row in &rows {
            figure.row(&[&[lambda, mu, nu], &row[..]].concat());
        }
        runs.push((format!("({invariance}, {variance}, {covariance})"), rows));
    }

    let end = |which: usize, of: usize| {
        runs[which].1.iter().rev().take(LAST).map(|row| row[of]).sum::<f64>() / LAST as f64
    };
    let stds: [f64; 7] = std::array::from_fn(|which| end(which, 1));
    for which in [0, 1] {
        let limit = stds[6] / 10.0;
        figure.claim(
            format!("{}: std, collapse", runs[which].0),
            format!("< {limit:.3}, a tenth of (25, 25, 1)"),
            format!("{:.4}", stds[which]),
            stds[which] < limit,
        );
    }
    let order = [5, 3, 6, 2].map(|which| (&runs[which].0, stds[which]));
    figure.claim(
        "std of (25, 1, 1) (1, 1, 1) (25, 25, 1) (0, 25, 1)",
        "rising",
        order.iter().map(|(_, std)| format!("{std:.3}")).collect::<Vec<_>>().join(" "),
        order.windows(2).all(|pair| pair[0].1 < pair[1].1),
    );
    for which in [3, 5, 6] {
        let ratio = end(which, 3) / end(which, 4);
        let what = format!("{}: (2 lambda I + 4 nu C) / (mu std)", runs[which].0);
        figure.near(what, 1.0, ratio, 0.2);
    }
    let [with, without] = [6, 4].map(|which| end(which, 2));
    figure.claim(
        "correlation of columns: (25, 25, 1) against (1, 1, 0)",
        format!("< {without:.3}"),
        format!("{with:.3}"),
        with < without,
    );
    let lines = |of: usize| {
        runs.iter().map(move |(label, rows)| line(label, rows.iter().map(move |row| (row[0], row[of]))))
    };
    let balanced = [3, 5, 6].map(|which| {
        let (mu, label) = (f64::from(WEIGHTS[which][1]), if which == 3 { "balance" } else { "" });
        let settled = runs[which].1.iter().filter(|row| row[0] >= SETTLED);
        theory(label, settled.map(|row| (row[0], row[3] / mu)))
    });
    figure.panel("mean std of columns", "step", lines(1).chain(balanced).collect());
    figure.panel("rms correlation of different columns", "step", lines(2).collect());
    figure.finish(args, &gpu)
}

/// Mean standard deviation of the columns of `z` `[n, d]`, and root mean square of the correlations off the diagonal.
fn spread(z: &Tensor) -> wgrad::Result<[f64; 2]> {
    let z = z.stop_gradient();
    let (centred, n, d) = (z.sub(&z.mean(&[0])), z.shape()[0], z.shape()[1] as f64);
    let std = centred.square().mean(&[0]).sqrt();
    let unit = centred.div(&std.add_scalar(1e-6));
    let squares = f64::from(unit.matmul_tn(&unit).mul_scalar(1.0 / n as f32).square().sum_all().item()?);
    let diagonal = f64::from(unit.square().mean(&[0]).square().sum_all().item()?);
    Ok([f64::from(std.mean_all().item()?), ((squares - diagonal).max(0.0) / (d * (d - 1.0))).sqrt()])
}
