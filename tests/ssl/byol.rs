use wgrad::reference::ssl as spec;
use wgrad::ssl::{byol_loss, simsiam_loss};

use crate::common::*;
use crate::support::*;

#[test]
fn equals_its_specification() {
    for (n, d) in [(1, 1), (5, 3), (33, 9)] {
        check_loss(
            "byol_loss",
            1.0,
            &[1, 2, 3, 4].map(|seed| matrix(seed, n, d)),
            2,
            |x| byol_loss(&x[0], &x[2], &x[1], &x[3]),
            |x| spec::byol(&x[0], &x[2], &x[1], &x[3], d),
        );
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let (c, e) = (f.tensor("c"), f.tensor("e"));
    f.check("byol", 1000, &["a", "b"], |x| byol_loss(&x[0], &c, &x[1], &e));
}

/// Views alike in one direction, at right angles in the other: 0 + 2. And it is 4 + 4 times SimSiam's.
#[test]
fn by_hand() {
    let x = tensor(&(vec![3.0, 0.0], [1, 2]));
    let y = tensor(&(vec![0.0, 0.5], [1, 2]));
    assert_loss("byol", 1.0, byol_loss(&x, &x, &x, &y).item().unwrap(), 2.0);
    assert_loss("simsiam", 1.0, simsiam_loss(&x, &x, &x, &y).item().unwrap(), -0.5);
}

/// All rows alike: 0, with no gradient left.
#[test]
fn collapse_is_the_minimum() {
    let p = gpu().full([5, 4], 0.3).unwrap().requires_grad();
    let z = gpu().full([5, 4], 0.7).unwrap();
    let loss = byol_loss(&p, &z, &p, &z);
    assert_loss("collapse", 1.0, loss.item().unwrap(), 0.0);
    assert_gradient("collapse", 1.0, 5, &loss.backward().get(&p).unwrap().to_vec().unwrap(), &[0.0; 20]);
}
