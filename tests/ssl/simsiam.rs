use wgrad::reference::ssl as spec;
use wgrad::ssl::{simsiam_loss, simsiam_squared_loss};

use crate::common::*;
use crate::support::*;

/// p1, p2, then the targets z2, z1.
fn inputs(n: usize, d: usize) -> [Matrix; 4] {
    [1, 2, 3, 4].map(|seed| matrix(seed, n, d))
}

#[test]
fn both_forms_equal_their_specification() {
    for (n, d) in [(1, 1), (5, 3), (33, 9)] {
        check_loss(
            "simsiam_loss",
            1.0,
            &inputs(n, d),
            2,
            |x| simsiam_loss(&x[0], &x[2], &x[1], &x[3]),
            |x| spec::simsiam(&x[0], &x[2], &x[1], &x[3], d),
        );
        check_loss(
            "simsiam_squared_loss",
            1.0,
            &inputs(n, d),
            2,
            |x| simsiam_squared_loss(&x[0], &x[2], &x[1], &x[3]),
            |x| spec::simsiam_squared(&x[0], &x[2], &x[1], &x[3], d),
        );
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let (c, e) = (f.tensor("c"), f.tensor("e"));
    f.check("simsiam", 1000, &["a", "b"], |x| simsiam_loss(&x[0], &c, &x[1], &e));
    f.check("simsiam_squared", 1000, &["a", "b"], |x| simsiam_squared_loss(&x[0], &c, &x[1], &e));
}

/// On unit rows the squared form is 2 + 2 times the cosine form.
#[test]
fn the_forms_agree_on_unit_rows() {
    let [p1, p2, z2, z1] = [1, 2, 3, 4].map(|seed| tensor(&unit_matrix(seed, 21, 6)));
    let cosine = simsiam_loss(&p1, &z2, &p2, &z1).item().unwrap();
    let squared = simsiam_squared_loss(&p1, &z2, &p2, &z1).item().unwrap();
    assert!((squared - (2.0 + 2.0 * cosine)).abs() < 1e-5, "{squared} {cosine}");
}

/// Rows alike: -1, with no gradient left.
#[test]
fn collapse_is_the_minimum() {
    let p = gpu().full([5, 4], 0.3).unwrap().requires_grad();
    let z = gpu().full([5, 4], 0.7).unwrap();
    let loss = simsiam_loss(&p, &z, &p, &z);
    assert_loss("collapse", 1.0, loss.item().unwrap(), -1.0);
    assert_gradient("collapse", 1.0, 5, &loss.backward().get(&p).unwrap().to_vec().unwrap(), &[0.0; 20]);
}

/// The same projection as target and, through the predictor, as trained tensor: a gradient from the second use alone.
#[test]
fn a_target_is_a_constant() {
    let z = tensor(&matrix(1, 5, 4)).requires_grad();
    let p = z.mul_scalar(2.0);
    assert!(simsiam_loss(&p, &z, &p, &z).backward().get(&z).is_some());
    let p = p.stop_gradient();
    assert!(!simsiam_loss(&p, &z, &p, &z).tracks_grad());
    assert!(!simsiam_squared_loss(&p, &z, &p, &z).tracks_grad());
}

#[test]
#[should_panic(expected = "simsiam_loss: [3, 4] [3, 4] [3, 4] [3, 5] must be the same [N, d]")]
fn shapes_must_agree() {
    let (a, b) = (gpu().zeros([3, 4]).unwrap(), gpu().zeros([3, 5]).unwrap());
    let _ = simsiam_loss(&a, &a, &a, &b);
}
