use wgrad::reference::ssl as spec;
use wgrad::ssl::barlow_twins_loss;

use crate::common::*;
use crate::support::*;

#[test]
fn equals_its_specification() {
    for (n, d) in [(2, 1), (5, 3), (33, 9)] {
        for lambda in [0.0051_f32, 1.0] {
            check_loss(
                "barlow_twins_loss",
                1.0,
                &[matrix(1, n, d), matrix(2, n, d)],
                2,
                |x| barlow_twins_loss(&x[0], &x[1], lambda),
                |x| spec::barlow_twins(&x[0], &x[1], d, f64::from(lambda)),
            );
        }
    }
}

#[test]
fn equals_pytorch() {
    fixture().check("barlow", 1000, &["a", "b"], |x| barlow_twins_loss(&x[0], &x[1], 0.0051));
}

/// Two columns that are the same, both views alike: the diagonal is right, two entries of 1 are redundant.
#[test]
fn by_hand() {
    let z = tensor(&(vec![3.0, 3.0, -3.0, -3.0], [2, 2]));
    let got = barlow_twins_loss(&z, &z, 0.5).item().unwrap();
    assert_loss("barlow", 1.0, got, 1.0);
}

/// All rows equal: no correlation at all, so D.
#[test]
fn collapse_costs_one_a_column() {
    let z = gpu().full([6, 3], 0.5).unwrap();
    assert_loss("collapse", 1.0, barlow_twins_loss(&z, &z, 0.0051).item().unwrap(), 3.0);
}
