//! Temperature decides which negatives are felt: each pulls with its softmax weight.
//!
//!     cargo run --release --example figure_temperature
//!
//! The gradient of InfoNCE to a negative is
//!
//!     dL/dk_j = p_j q / tau,      p_j = e^(q . k_j / tau) / sum_l e^(q . k_l / tau)
//!
//! so the log of its share falls by 1 / tau for each unit of similarity. At a high temperature all negatives push alike; as it
//! falls, the hardest take all: tau says how hard a negative must be to count. Too low, and one false negative, an image of
//! the same kind, decides. Wang & Liu 2021, "Understanding the Behaviour of Contrastive Loss", section 3.2.
//!
//! Measured: the length of the gradient that each key receives from one query, without normalisation.

use std::process::ExitCode;

use wgrad::ssl::info_nce_dot;
use wgrad::train::figure::{self, Args, Figure, line, theory};

/// Keys and their width.
const SIZE: [usize; 2] = [512, 32];

/// The smallest share that is drawn.
const FLOOR: f64 = 1e-8;

fn main() -> ExitCode {
    figure::main(include_str!("figure_temperature.rs"), temperature)
}

pub(crate) fn temperature(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("temperature", "tau,similarity,share,softmax");
    let [m, d] = SIZE;
    let q = gpu.normal([1, d], 0.0, 1.0, &mut rng)?.l2_normalize();
    let k = gpu.normal([m, d], 0.0, 1.0, &mut rng)?.l2_normalize();
    let similarity: Vec<f64> = q.matmul_nt(&k).to_vec()?.into_iter().map(f64::from).collect();
    let (mut curves, mut halves) = (vec![], vec![]);
    for tau in [0.03_f32, 0.07, 0.2, 0.5, 1.0] {
        let keys = k.copy().requires_grad();
        let gradients = info_nce_dot(&q, &keys, tau).backward();
        let rows = gradients.get(&keys).map_or_else(|| gpu.zeros([m, d]), |g| Ok(g.clone()))?;
        let lengths: Vec<f64> = rows.square().sum(&[1]).sqrt().to_vec()?.into_iter().map(f64::from).collect();
        // Shares among the negatives: key 0 is the positive.
        let total: f64 = lengths[1..].iter().sum();
        let top = similarity[1..].iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = similarity[1..].iter().map(|s| ((s - top) / f64::from(tau)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut negatives: Vec<[f64; 3]> =
            (1..m).map(|j| [similarity[j], lengths[j] / total, weights[j - 1] / sum]).collect();
        negatives.sort_by(|a, b| a[0].total_cmp(&b[0]));
        for [similarity, share, softmax] in &negatives {
            figure.row(&[tau.into(), *similarity, *share, *softmax]);
        }
        let worst =
            negatives.iter().map(|[_, share, p]| (share - p).abs() / p.max(1e-12)).fold(0.0, f64::max);
        // Similarities rounded to 2^-24 over tau in the exponent, and the smallest weights' own rounding.
        let within = 1e-3 + 16.0 * f64::from(f32::EPSILON) / f64::from(tau);
        let felt: Vec<_> = negatives.iter().filter(|[_, _, p]| *p > 1e-6).collect();
        let worst_felt = felt.iter().map(|[_, share, p]| (share - p).abs() / p).fold(0.0, f64::max);
        figure.claim(
            format!("tau = {tau}: share of a negative = softmax weight"),
            format!("0 ± {within:.1e}"),
            format!("{worst_felt:.1e} (all: {worst:.1e})"),
            worst_felt <= within,
        );
        // How many of the hardest make up half of the pull.
        let mut hardest = 0.0;
        let half = negatives.iter().rev().take_while(|[_, share, _]| {
            let more = hardest < 0.5;
            hardest += share;
            more
        });
        halves.push((f64::from(tau), half.count() as f64));
        curves.push((tau, negatives));
    }
    figure.claim(
        "hardest negatives that make half of the pull",
        "more at every higher tau",
        halves.iter().map(|(_, n)| format!("{n}")).collect::<Vec<_>>().join(" "),
        halves.windows(2).all(|pair| pair[0].1 < pair[1].1),
    );
    let shares = curves.iter().map(|(tau, rows)| {
        line(
            &format!("tau = {tau}"),
            rows.iter().filter(|row| row[1] > FLOOR).map(|[s, share, _]| (*s, share.log10())),
        )
    });
    let expected = curves.iter().map(|(_, rows)| {
        let felt = rows.iter().position(|row| row[2] > FLOOR).unwrap_or_default();
        theory("", [rows[felt], rows[rows.len() - 1]].map(|[s, _, p]| (s, p.log10())))
    });
    figure.panel(
        "log10 of a negative's share of the gradient",
        "similarity to the query",
        shares.chain(expected).collect(),
    );
    figure.finish(args, &gpu)
}
