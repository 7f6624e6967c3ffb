//! A teacher that is a moving average looks back over about 1 / (1 - m) steps.
//!
//!     cargo run --release --example figure_ema_window
//!
//! The teacher of MoCo, BYOL and DINO is t <- m t + (1 - m) w, with w the student's weights: an average over the past,
//!
//!     t = (1 - m) sum_k m^k w(k steps ago)
//!
//! An impulse of the student decays as (1 - m) m^k, to 1/e in about 1 / (1 - m) steps, and independent noise of variance 1 comes
//! out with variance (1 - m) / (1 + m): a long window averages noise away, and lags. Tarvainen & Valpola 2017, "Mean teachers are
//! better role models"; He et al. 2020, "Momentum Contrast", equation 2. The adaptive momentum looks back less while gradients have
//! signal, more when they are noise: `optim::Momentum` has its rule. A cosine to 1 forgets ever more slowly.
//!
//! Measured: both responses of the kernel, and the window of the adaptive momentum over noise, signal, noise. Where gradients are
//! noise alone its estimate of the signal is around 0, and the window jumps below its longest.

use std::f64::consts::PI;
use std::process::ExitCode;

use wgrad::nn::{FileLayout, Init, ParamBuilder, Params};
use wgrad::optim::{Ema, LossScaler, Momentum};
use wgrad::train::figure::{self, Args, Figure, line, theory};
use wgrad::{Gpu, Tensor};

/// Weights of the student: as many samples of the noise response.
const WEIGHTS: usize = 16_384;
/// Steps of a phase of the adaptive momentum.
const PHASE: u64 = 150;

fn main() -> ExitCode {
    figure::main(include_str!("figure_ema_window.rs"), ema_window)
}

/// A student of zeros.
fn student(args: &Args, gpu: &Gpu) -> wgrad::Result<Params> {
    let build = ParamBuilder::new(args.rng());
    let _ = build.param("w", [WEIGHTS], FileLayout::Same, Init::Constant(0.0));
    build.finish(gpu)
}

pub(crate) fn ema_window(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("ema_window", "momentum,to,steps_ago,response,theory");
    let mut impulses = vec![];
    for (label, m, to) in
        [("0.9", 0.9, 0.9), ("0.99", 0.99, 0.99), ("0.999", 0.999, 0.999), ("0.9 to 1", 0.9, 1.0)]
    {
        // An impulse of one step; a cosine rises over the two windows that are looked at.
        let window = (1.0_f64 / (1.0 - m)).round() as u64;
        let (params, steps) = (student(args, &gpu)?, 2 * window);
        let (teacher, scaler, idle) =
            (params.fork(), LossScaler::new(&params)?, params.flat().full_like(0.0));
        let ema = Ema::new(&params, Momentum::Cosine { from: m, to, steps })?;
        let (mut response, mut expected, mut worst) = (vec![], 0.0, 0.0_f64);
        for step in 0..steps {
            params.flat().write(&vec![if step == 0 { 1.0 } else { 0.0 }; params.flat().len()]);
            ema.update(&teacher, &params, &idle, &scaler, step);
            let now = to - (to - m) * (1.0 + (PI * step as f64 / steps as f64).cos()) / 2.0;
            expected = if step == 0 { 1.0 - now } else { expected * now };
            if step % (window / 10) == 0 {
                let value = f64::from(teacher.flat().slice_rows(0, 1).to_vec()?[0]);
                figure.row(&[m, to, step as f64, value, expected]);
                worst = worst.max((value - expected).abs() * window as f64);
                let age = step as f64 / window as f64;
                response.push((age, value * window as f64, expected * window as f64));
            }
        }
        let claim = format!("m = {label}: response x window, largest error");
        figure.claim(claim, "<= 1e-4", format!("{worst:.1e}"), worst <= 1e-4);
        impulses.push((label, response));
        if to > m {
            continue;
        }

        // Noise, until the start is forgotten: 5 windows leave e^-10 of its square.
        let teacher = params.fork();
        for step in 0..5 * window {
            let noise = gpu.normal([params.flat().len()], 0.0, 1.0, &mut rng)?;
            ema.update(&teacher, &clone_of(&params, &noise), &idle, &scaler, step);
        }
        let variance = f64::from(teacher.flat().slice_rows(0, WEIGHTS).square().mean_all().item()?);
        let theory = (1.0 - m) / (1.0 + m);
        // The variance of a mean of 16,384 squares of normals is 2 / 16,384 of it: 4 standard errors, and the start's rest.
        let within = theory * (4.0 * (2.0 / WEIGHTS as f64).sqrt() + (-10.0_f64).exp());
        figure.near(
            format!("m = {m}: variance of averaged noise x window"),
            theory * window as f64,
            variance * window as f64,
            within * window as f64,
        );
    }

    // Adaptive: gradients that are noise, then noise around a constant, then noise again.
    let params = student(args, &gpu)?;
    let scaler = LossScaler::new(&params)?;
    let ema = Ema::new(&params, Momentum::Adaptive { shortest: 0.9, longest: 0.999 })?;
    let teacher = params.fork();
    let (mut windows, mut ends) = (vec![], vec![]);
    for step in 0..3 * PHASE {
        let noise = gpu.normal([params.flat().len()], 0.0, 1.0, &mut rng)?;
        let signal = if (step / PHASE) == 1 { 1.0 } else { 0.0 };
        ema.update(&teacher, &params, &noise.add_scalar(signal), &scaler, step);
        let window = 1.0 / (1.0 - f64::from(ema.momentum(step).item()?));
        windows.push((step as f64, window));
        if (step + 1) % PHASE == 0 {
            ends.push(window);
        }
    }
    // Half of the mean square is signal: x = 1/2, so 1 / (1 - m) = 10 x^(-1/3).
    figure.near(
        "adaptive: window where half the gradient is signal",
        10.0 * 0.5_f64.powf(-1.0 / 3.0),
        ends[1],
        0.5,
    );
    let longer = ends[0].min(ends[2]) / ends[1];
    figure.claim(
        "adaptive: window on noise over that on signal",
        "> 3",
        format!("{longer:.1}"),
        longer > 3.0,
    );
    let measured = impulses
        .iter()
        .map(|(label, rows)| line(&format!("m = {label}"), rows.iter().map(|row| (row.0, row.1))));
    let expected = impulses.iter().map(|(_, rows)| theory("", rows.iter().map(|row| (row.0, row.2))));
    figure.panel("impulse response x window", "age / window", measured.chain(expected).collect());
    let windows = windows.into_iter().map(|(step, window)| (step, window.log10()));
    figure.panel("log10 of the adaptive window: noise, signal, noise", "step", vec![line("", windows)]);
    figure.finish(args, &gpu)
}

/// The same layout with other values.
fn clone_of(params: &Params, values: &Tensor) -> Params {
    let other = params.fork();
    other.flat().lerp_(values, 1.0);
    other
}
