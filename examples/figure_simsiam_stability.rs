//! What the stopped gradient changes: with it a collapsed embedding is unstable, without it stable.
//!
//!     cargo run --release --example figure_simsiam_stability
//!
//! Collapsed means that every image has the same unit embedding c. Let the two views of an image deviate from it by small a
//! and b, orthogonal to c, and let the predictor h keep c and multiply deviations by a gain g. What the views share is
//! s = (a + b) / sqrt 2, the noise of the augmentation n = (a - b) / sqrt 2, and to second order the loss is
//!
//!     L = -1/2 cos(h(z1), z2) - 1/2 cos(h(z2), z1) = -1 + 1/4 ((g - 1)^2 |s|^2 + (g + 1)^2 |n|^2)
//!
//! Descending it, s moves at the rate -(1 - g)^2 / 2 of itself: what images have of their own dies out, whatever the gain.
//! With the targets fixed, half of each derivative is gone, and the rate is +g (1 - g) / 2: for a gain between 0 and 1 the
//! shared part grows, and the collapsed point cannot last. The best predictor of one view from the other has the gain
//! (|s|^2 - |n|^2) / (|s|^2 + |n|^2), below 1 as long as there is noise: learning the predictor is what opens the exit. At
//! g = 1, no predictor, both rates are 0. This is the linear theory of Tian, Chen & Ganguli 2021, "Understanding
//! Self-Supervised Learning Dynamics without Contrastive Pairs", section 3, for the loss of Chen & He 2021, equation 2.
//!
//! Measured: the rates from one backward pass near the collapsed point, and 40 steps of descent on free embeddings.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::ssl::simsiam_loss;
use wgrad::train::figure::{self, Args, Figure, line, theory};

/// Images, width of the embedding.
const SIZE: [usize; 2] = [256, 64];
/// Root mean square length of a deviation where rates are measured, and where descent begins.
const NEAR: [f32; 2] = [1e-2, 1e-3];
/// Gain, learning rate and steps of the descent.
const DESCENT: (f32, f32, i32) = (0.5, 1.0, 40);

/// A loss of predictions and targets of both views, as [`simsiam_loss`].
type Loss = fn(&Tensor, &Tensor, &Tensor, &Tensor) -> Tensor;

fn main() -> ExitCode {
    figure::main(include_str!("figure_simsiam_stability.rs"), simsiam_stability)
}

pub(crate) fn simsiam_stability(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("simsiam_stability", "gain,stopped,theory,flowing,theory");
    let [n, d] = SIZE;
    let c = gpu.normal([1, d], 0.0, 1.0, &mut rng)?.l2_normalize();
    let across = |x: Tensor| x.sub(&x.matmul_nt(&c).matmul(&c));
    let mut deviation =
        || Ok::<_, wgrad::Error>(across(gpu.normal([n, d], 0.0, (d as f32).sqrt().recip(), &mut rng)?));
    let [a, b] = [deviation()?, deviation()?];

    // What the two views of every image share, times sqrt 2, and the descent direction of the embeddings: of the sum over
    // images, not the mean, so that a rate is that of one image.
    let shared = |z: &[Tensor; 2]| across(z[0].add(&z[1]));
    let predict =
        |z: &Tensor, gain: f32| z.mul_scalar(gain).add(&z.matmul_nt(&c).matmul(&c).mul_scalar(1.0 - gain));
    let downhill = |z: &[Tensor; 2], gain: f32, loss: Loss| {
        let z = [0, 1].map(|view| z[view].requires_grad());
        let p = [0, 1].map(|view| predict(&z[view], gain));
        let gradients = loss(&p[0], &z[1], &p[1], &z[0]).backward();
        [0, 1].map(|view| {
            gradients.get(&z[view]).map_or_else(|| z[view].full_like(0.0), |g| g.mul_scalar(-(n as f32)))
        })
    };
    let dot = |x: &Tensor, y: &Tensor| Ok::<_, wgrad::Error>(f64::from(x.mul(y).sum_all().item()?));
    let deviating = |by: f32| [&a, &b].map(|x| x.mul_scalar(by).add(&c));

    let (mut stopped, mut flowing) = (vec![], vec![]);
    let (z, mut worst) = (deviating(NEAR[0]), 0.0_f64);
    let s = shared(&z);
    for gain in (0..=14).map(|i| f64::from(i) / 10.0) {
        let rate = |loss| {
            dot(&shared(&downhill(&z, gain as f32, loss)), &s)
                .map(|x| Ok::<_, wgrad::Error>(x / dot(&s, &s)?))?
        };
        let measured = [rate(simsiam_loss)?, rate(both_ways)?];
        let expected = [gain * (1.0 - gain) / 2.0, -(1.0 - gain).powi(2) / 2.0];
        figure.row(&[gain, measured[0], expected[0], measured[1], expected[1]]);
        worst = measured.iter().zip(expected).map(|(m, e)| (m - e).abs()).fold(worst, f64::max);
        stopped.push((gain, measured[0], expected[0]));
        flowing.push((gain, measured[1], expected[1]));
    }
    // The next order of the deviation, squared, with a factor for the longest rows; and embeddings are rounded to 2^-24.
    let within = 10.0 * f64::from(NEAR[0]).powi(2) + f64::from(f32::EPSILON / NEAR[0]) * 10.0;
    let below = |figure: &mut Figure, what: &str, value: f64, limit: f64| {
        figure.claim(what, format!("<= {limit:.1e}"), format!("{value:.1e}"), value <= limit);
    };
    below(&mut figure, "rates over all gains: largest error", worst, within);
    below(&mut figure, "no predictor (g = 1): rate with the stop", stopped[10].1.abs(), within);
    below(&mut figure, "no predictor (g = 1): rate without", flowing[10].1.abs(), within);

    let (gain, lr, steps) = DESCENT;
    let mut lengths = vec![];
    for (what, loss, rate) in [
        ("stopped", simsiam_loss as Loss, gain * (1.0 - gain) / 2.0),
        ("both ways", both_ways, -(1.0 - gain).powi(2) / 2.0),
    ] {
        let mut z = deviating(NEAR[1]);
        let start = dot(&shared(&z), &shared(&z))?.sqrt();
        let mut curve = vec![];
        for step in 0..=steps {
            let length = dot(&shared(&z), &shared(&z))?.sqrt() / start;
            let expected = f64::from(1.0 + lr * rate).powi(step);
            curve.push((f64::from(step), length.log10(), expected.log10()));
            let down = downhill(&z, gain, loss);
            z = [0, 1].map(|view| z[view].add(&down[view].mul_scalar(lr)));
        }
        let (_, length, expected) = curve[curve.len() - 1];
        figure.near(
            format!("{what}: log10 of |s| after {steps} steps over |s| before"),
            expected,
            length,
            0.05,
        );
        lengths.push((what, curve));
    }

    let rates = [("targets stopped", &stopped), ("gradient both ways", &flowing)];
    let measured = rates.iter().map(|(label, rows)| line(label, rows.iter().map(|r| (r.0, r.1))));
    let expected = rates.iter().map(|(_, rows)| theory("", rows.iter().map(|r| (r.0, r.2))));
    figure.panel(
        "growth rate of what views share",
        "gain of the predictor",
        measured.chain(expected).collect(),
    );
    let measured = lengths.iter().map(|(label, rows)| line(label, rows.iter().map(|r| (r.0, r.1))));
    let expected = lengths.iter().map(|(_, rows)| theory("", rows.iter().map(|r| (r.0, r.2))));
    figure.panel("log10 |s| in descent, gain 0.5", "step", measured.chain(expected).collect());
    figure.finish(args, &gpu)
}

/// The same loss with its gradient flowing into both sides.
fn both_ways(p1: &Tensor, z2: &Tensor, p2: &Tensor, z1: &Tensor) -> Tensor {
    let cosine = |p: &Tensor, z: &Tensor| p.l2_normalize().mul(&z.l2_normalize()).sum(&[1]).mean_all();
    cosine(p1, z2).add(&cosine(p2, z1)).mul_scalar(-0.5)
}
