//! The bound of InfoNCE falls short of the mutual information by chi^2 / (2 N): N times the gap tends to a constant.
//!
//!     cargo run --release --example figure_mi_bias
//!
//! With the exact score T = ln p(y|x)/p(y), whose mean over pairs is I, what the bound misses is
//!
//!     I - (ln N - L) = mean over i of ln( 1/N sum_j e^T_ij ) = chi^2 / (2 N) + O(1 / N^2)
//!
//! The mean in the logarithm is around 1; expanded there, the logarithm loses half its variance, and that falls as 1/N: chi^2 is
//! the mean of (p(y|x)/p(y) - 1)^2 over independent x and y, for Gaussians (1 - rho^2)^(-d) - 1. It grows exponentially with the
//! information, so the expansion is of use only where N is far above chi^2: the figure before is the other end. That nested means
//! are biased in this way: Rainforth et al. 2018, "On Nesting Monte Carlo Estimators".
//!
//! Measured: the gap as the mean of T_ii - (ln N - L) on the same samples, else noise in T_ii drowns it; less the mean of
//! e^T_ij - 1 over i != j, which is exactly 0 on average, and carries most of the noise that is left: a control variate.

use std::process::ExitCode;

use wgrad::data::Gaussians;
use wgrad::ssl::info_nce_dot;
use wgrad::train::figure::{self, Args, Figure, line, theory};
use wgrad::train::plot::{Series, Stroke};

/// Numbers of candidates.
const CANDIDATES: [usize; 4] = [64, 128, 256, 512];
/// Pairs in a mean, so that every N sees as many.
const PAIRS: usize = 16_384;

fn main() -> ExitCode {
    figure::main(include_str!("figure_mi_bias.rs"), mi_bias)
}

pub(crate) fn mi_bias(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("mi_bias", "rho,d,candidates,n_times_gap,standard_error,expected");
    let mut series = vec![];
    for (d, nats) in [(1, 0.1438), (2, 0.2877), (4, 0.2)] {
        let pairs = Gaussians::with_information(d, nats);
        let rho = pairs.rho;
        let expected = 0.5 * ((1.0 - rho * rho).powi(-(d as i32)) - 1.0);
        let mut curve = vec![];
        for n in CANDIDATES {
            let mut gaps = vec![];
            for _ in 0..PAIRS / n {
                let [x, y] = pairs.pairs(&gpu, n, &mut rng)?;
                let [q, k] = pairs.factors(&x, &y)?;
                let positive = pairs.log_ratio(&x, &y);
                // All on the device: the gap is small beside its parts.
                let gap =
                    positive.mean_all().add(&info_nce_dot(&q, &k, 1.0)).sub_scalar((n as f64).ln() as f32);
                // q . k is T up to a constant of x.
                let constant = positive.sub(&q.mul(&k).sum(&[1])).reshape([n, 1]);
                let others = q.matmul_nt(&k).add(&constant).exp().sum_all().sub(&positive.exp().sum_all());
                let control =
                    others.mul_scalar((1.0 / (n * n) as f64) as f32).sub_scalar(1.0 - 1.0 / n as f32);
                gaps.push(gap.sub(&control).reshape([1]));
            }
            let gaps: Vec<f64> = wgrad::Tensor::concat_rows(&gaps.iter().collect::<Vec<_>>())
                .to_vec()?
                .into_iter()
                .map(|gap| n as f64 * f64::from(gap))
                .collect();
            let count = gaps.len() as f64;
            let mean = gaps.iter().sum::<f64>() / count;
            let error =
                (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (count * (count - 1.0))).sqrt();
            figure.row(&[rho, d as f64, n as f64, mean, error, expected]);
            curve.push((n as f64, mean, error));
            // The next term of the expansion is of order 1/N; what is left is sampling error, and f32: 1e-7 in a gap times N.
            let within = 4.0 * error + 4.0 * expected / n as f64 + 2e-7 * n as f64;
            figure.near(format!("I = {nats}, d = {d}, N = {n}: N x gap"), expected, mean, within);
        }
        let ends = [CANDIDATES[0], CANDIDATES[CANDIDATES.len() - 1]].map(|n| (n as f64, expected));
        series.push((format!("I = {nats}, d = {d}"), curve, ends));
    }
    for (label, curve, ends) in series {
        figure.panel(
            &format!("N x (I - bound), {label}"),
            "N candidates",
            vec![
                line("measured", curve.iter().map(|row| (row.0, row.1))),
                around("± 2 standard errors", &curve, 2.0),
                around("", &curve, -2.0),
                theory("chi^2 / 2", ends),
            ],
        );
    }
    figure.finish(args, &gpu)
}

/// The curve, some standard errors off.
fn around(label: &str, curve: &[(f64, f64, f64)], errors: f64) -> Series {
    let points = curve.iter().map(|(n, mean, error)| (*n, mean + errors * error));
    Series { stroke: Stroke::Muted, ..line(label, points) }
}
