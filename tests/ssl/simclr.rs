use wgrad::Tensor;
use wgrad::reference::{contrastive, ssl as spec};
use wgrad::ssl::{nt_xent, nt_xent_dot};

use crate::support::*;

/// The specification on both views stacked `[2 n, d]`.
fn stacked(z: &[f64], d: usize, tau: f64) -> f64 {
    let n = z.len() / d / 2;
    let positive: Vec<usize> = (0..2 * n).map(|i| (i + n) % (2 * n)).collect();
    let excluded: Vec<Option<usize>> = (0..2 * n).map(Some).collect();
    let of = contrastive::Spec { d, tau, positive: &positive, excluded: &excluded, extra: None };
    contrastive::contrastive(z, z, &of).loss
}

#[test]
fn cosine_and_dot_equal_their_specification() {
    for (n, d) in [(1, 1), (5, 3), (33, 8)] {
        for t in TAUS {
            let tau64 = f64::from(tau(t));
            let views = [matrix(1, n, d), matrix(2, n, d)];
            let loss = |x: &[Tensor]| nt_xent(&x[0], &x[1], tau(t));
            check_loss("nt_xent", tau64, &views, 2, loss, |x| stacked(&spec::unit(&x.concat(), d), d, tau64));
            // Rows of length 1 at most, as the bounds are stated for.
            let short = views.map(|(x, shape)| (x.iter().map(|v| v / (d as f32).sqrt()).collect(), shape));
            let loss = |x: &[Tensor]| nt_xent_dot(&x[0], &x[1], tau(t));
            check_loss("nt_xent_dot", tau64, &short, 2, loss, |x| stacked(&x.concat(), d, tau64));
        }
    }
}

/// Dot products see the length of a row: rows twice as long are a quarter of the temperature.
#[test]
fn longer_rows_are_a_lower_temperature() {
    let views = [1, 2].map(|seed| tensor(&matrix(seed, 7, 5)));
    let long = [&views[0], &views[1]].map(|x| x.mul_scalar(2.0));
    let got = nt_xent_dot(&long[0], &long[1], 0.4).item().unwrap();
    assert_loss("length", 0.1, got, f64::from(nt_xent_dot(&views[0], &views[1], 0.1).item().unwrap()));
}
