//! The bound on mutual information that InfoNCE gives, ln N - L, saturates at ln N however large the information is.
//!
//!     cargo run --release --example figure_mi_bound
//!
//! Contrastive learning is a guessing game: given x and N candidates y_1 .. y_N, one of which was drawn with x, say which. With
//! a score f(x, y), the loss of the guess is a cross-entropy over the N candidates,
//!
//!     L = -mean over i of ln( e^f(x_i, y_i) / sum_j e^f(x_i, y_j) )
//!
//! One can only guess as far as x tells of y. Whatever the score, ln N - L is at most the mutual information I(x; y) on average;
//! it is at most ln N too, for L is not negative. So N candidates measure no more than ln N nats: an information of 10 would
//! need more than 22,000. van den Oord, Li & Vinyals 2018, "Representation Learning with Contrastive Predictive Coding",
//! section 2.3; Poole et al. 2019, "On Variational Bounds of Mutual Information", section 2.3.
//!
//! Measured: pairs of correlated Gaussians in 20 dimensions have a known I = -d/2 ln(1 - rho^2), and the best score
//! ln p(y|x)/p(y) is known too, so nothing is trained and the gap to I is the bound's own. What is expected of it was computed
//! in float64 by `tests/reference/mi_bound.py`.

use std::process::ExitCode;

use wgrad::data::Gaussians;
use wgrad::ssl::info_nce_dot;
use wgrad::train::figure::{self, Args, Figure, line, theory};

/// Numbers of candidates.
const CANDIDATES: [usize; 7] = [4, 16, 64, 128, 256, 512, 1024];
/// Batches in a mean.
const BATCHES: usize = 60;
/// Of so many candidates: the bounds of I = 2 and I = 10 in float64 by `tests/reference/mi_bound.py`, and three standard errors of
/// a mean over 60 batches.
const KNOWN: [(usize, [f64; 2], [f64; 2]); 5] = [
    (16, [1.518, 2.763], [0.123, 0.0144]),
    (64, [1.818, 4.122], [0.077, 0.0144]),
    (128, [1.887, 4.787], [0.059, 0.0138]),
    (256, [1.929, 5.431], [0.043, 0.0135]),
    (1024, [1.982, 6.637], [0.022, 0.0114]),
];

fn main() -> ExitCode {
    figure::main(include_str!("figure_mi_bound.rs"), mi_bound)
}

pub(crate) fn mi_bound(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("mi_bound", "information,candidates,ln_n,bound,standard_error");
    let mut curves = vec![];
    for (which, nats) in [2.0, 10.0].into_iter().enumerate() {
        let pairs = Gaussians::with_information(20, nats);
        let (mut curve, mut above) = (vec![], f64::MIN);
        let [x, y] = pairs.pairs(&gpu, 65_536, &mut rng)?;
        let score = f64::from(pairs.log_ratio(&x, &y).mean_all().item()?);
        // Each coordinate's score has variance rho^2: d of them over 65,536 pairs.
        let within = 4.0 * pairs.rho * (pairs.d as f64 / 65_536.0).sqrt();
        figure.near(format!("I = {nats}: mean exact score of pairs"), nats, score, within);
        for n in CANDIDATES {
            // The mean over batches of ln N - L; each loss is one streamed launch over N x N scores.
            let mut bounds = vec![];
            for _ in 0..BATCHES {
                let [x, y] = pairs.pairs(&gpu, n, &mut rng)?;
                let [q, k] = pairs.factors(&x, &y)?;
                bounds.push((n as f64).ln() - f64::from(info_nce_dot(&q, &k, 1.0).item()?));
            }
            let mean = bounds.iter().sum::<f64>() / BATCHES as f64;
            let squares = bounds.iter().map(|b| (b - mean).powi(2)).sum::<f64>();
            let error = (squares / (BATCHES * (BATCHES - 1)) as f64).sqrt();
            figure.row(&[nats, n as f64, (n as f64).ln(), mean, error]);
            curve.push(((n as f64).ln(), mean));
            if let Some((_, known, within)) = KNOWN.iter().find(|(known, ..)| *known == n) {
                figure.near(format!("I = {nats}, N = {n}: ln N - L"), known[which], mean, within[which]);
            }
            above = above.max((mean - nats.min((n as f64).ln())) / error);
        }
        figure.claim(
            format!("I = {nats}: bound above the lesser of I and ln N, at any N"),
            "<= 3 standard errors",
            format!("{above:.1}"),
            above <= 3.0,
        );
        curves.push(curve);
    }
    let [two, ten] = &curves[..] else { unreachable!("two curves") };
    let ends = [CANDIDATES[0], CANDIDATES[CANDIDATES.len() - 1]].map(|n| (n as f64).ln());
    figure.panel(
        "bound ln N - L (nats), and its limits",
        "ln N, N candidates",
        vec![
            line("I = 2, measured", two.iter().copied()),
            line("I = 10, measured", ten.iter().copied()),
            theory("ln N", ends.map(|x| (x, x))),
            theory("", ends.map(|x| (x, 2.0))),
        ],
    );
    figure.finish(args, &gpu)
}
