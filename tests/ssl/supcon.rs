use wgrad::reference::ssl as spec;
use wgrad::ssl::{SupCon, nt_xent, nt_xent_dot};

use crate::common::*;
use crate::support::*;

#[test]
fn equals_its_specification() {
    for (n, classes, d) in [(1, 1, 2), (5, 2, 3), (33, 4, 8), (9, 40, 5)] {
        for t in TAUS {
            let labels: Vec<u32> = (0..n as u32).map(|i| (i * i + 1) % classes as u32).collect();
            let tau64 = f64::from(tau(t));
            let op = SupCon::new(gpu(), classes, tau(t)).unwrap();
            check_loss(
                "SupCon",
                tau64,
                &[matrix(1, n, d), matrix(2, n, d)],
                2,
                |x| op.loss(&x[0], &x[1], &indices(&labels)),
                |x| spec::sup_con(&x.concat(), &labels.repeat(2), d, tau64),
            );
        }
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let labels = f.indices("labels");
    for t in TAUS {
        let op = SupCon::new(gpu(), 3, tau(t)).unwrap();
        f.check("sup_con", t, &["a", "b"], |x| op.loss(&x[0], &x[1], &labels));
    }
}

#[test]
fn a_class_of_its_own_for_each_image_is_nt_xent() {
    let (a, b) = (tensor(&matrix(1, 17, 6)), tensor(&matrix(2, 17, 6)));
    let labels: Vec<u32> = (0..17).rev().collect();
    let got = SupCon::new(gpu(), 20, 0.1).unwrap().loss(&a, &b, &indices(&labels)).item().unwrap();
    assert_eq!(got.to_bits(), nt_xent(&a, &b, 0.1).item().unwrap().to_bits());
    let unit = |x: &wgrad::Tensor| x.l2_normalize();
    let dot = nt_xent_dot(&unit(&a), &unit(&b), 0.1).item().unwrap();
    assert_loss("nt_xent_dot", 0.1, got, f64::from(dot));
}

/// A pair of views is its own only candidate, and at a low temperature views that are alike are certain of each other: no loss, and
/// no gradient, to the last bit.
#[test]
fn certain_rows_have_no_loss() {
    let leaf = |n: usize| tensor(&matrix(1, n, 64)).requires_grad();
    for (z1, z2, tau) in [(leaf(1), tensor(&matrix(2, 1, 64)), 0.1), (leaf(5), leaf(5), 0.005)] {
        let labels: Vec<u32> = (0..z1.shape()[0] as u32).collect();
        let loss = SupCon::new(gpu(), 5, tau).unwrap().loss(&z1, &z2, &indices(&labels));
        assert!(loss.item().unwrap() == 0.0, "{:?}", loss.item());
        let dz = loss.backward().get(&z1).unwrap().to_vec().unwrap();
        assert!(dz.iter().all(|&g| g == 0.0), "{dz:?}");
    }
}

/// All rows equal: a guess among the 2N - 1 others, whatever the labels.
#[test]
fn collapse_is_a_guess() {
    let z = gpu().full([6, 4], 0.2).unwrap();
    let op = SupCon::new(gpu(), 2, 0.07).unwrap();
    let got = op.loss(&z, &z, &indices(&[0, 1, 1, 0, 0, 0])).item().unwrap();
    assert_loss("collapse", 0.07, got, 11_f64.ln());
}

#[test]
fn an_unknown_label_gives_nan() {
    let z = tensor(&matrix(1, 2, 3));
    let op = SupCon::new(gpu(), 2, 0.1).unwrap();
    assert!(op.loss(&z, &z, &indices(&[0, 2])).item().unwrap().is_nan());
}
