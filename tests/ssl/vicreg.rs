use wgrad::reference::ssl as spec;
use wgrad::ssl::{VicRegWeights, vicreg_loss};

use crate::common::*;
use crate::support::*;

#[test]
fn equals_its_specification() {
    let weights = [
        VicRegWeights::default(),
        VicRegWeights { invariance: 1.0, variance: 0.0, covariance: 3.0 },
        VicRegWeights { invariance: 0.0, variance: 2.0, covariance: 0.0 },
    ];
    for (n, d) in [(2, 1), (5, 3), (33, 9)] {
        for weights in weights {
            let total = |[invariance, variance, covariance]: [f64; 3]| {
                f64::from(weights.invariance) * invariance
                    + f64::from(weights.variance) * variance
                    + f64::from(weights.covariance) * covariance
            };
            check_loss(
                "vicreg_loss",
                1.0,
                &[matrix(1, n, d), matrix(2, n, d)],
                2,
                |x| vicreg_loss(&x[0], &x[1], weights).total,
                |x| total(spec::vicreg_terms(&x[0], &x[1], d)),
            );
        }
    }
}

#[test]
fn the_terms_are_unweighted_constants() {
    let (x, y) = (matrix(1, 21, 5), matrix(2, 21, 5));
    let loss = vicreg_loss(&tensor(&x).requires_grad(), &tensor(&y), VicRegWeights::default());
    let want = spec::vicreg_terms(&f64s(&x.0), &f64s(&y.0), 5);
    for (term, want) in [&loss.invariance, &loss.variance, &loss.covariance].into_iter().zip(want) {
        assert_loss("term", 1.0, term.item().unwrap(), want);
        assert!(!term.tracks_grad());
    }
}

#[test]
fn equals_pytorch() {
    let all = VicRegWeights::default();
    fixture().check("vicreg", 1000, &["a", "b"], |x| vicreg_loss(&x[0], &x[1], all).total);
}

/// All rows equal: no distance, no covariance, a hinge of 1 less the root of 1e-4.
#[test]
fn collapse_costs_the_hinge() {
    let z = gpu().full([6, 3], 0.4).unwrap().requires_grad();
    let loss = vicreg_loss(&z, &z, VicRegWeights::default());
    assert_loss("collapse", 1.0, loss.total.item().unwrap(), 25.0 * 0.99);
    assert_loss("collapse", 1.0, loss.variance.item().unwrap(), 0.99);
    let g = loss.total.backward().get(&z).unwrap().to_vec().unwrap();
    assert!(g.iter().all(|v| v.abs() < 1e-3), "{g:?}");
}
