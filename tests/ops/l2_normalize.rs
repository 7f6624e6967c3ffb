//! Rows scaled to unit length.

use wgrad::reference::l2_normalize as reference;

use crate::common::*;

/// A sum of `c` squares in f32, then a square root and a division.
const TOL: Tol = Tol::new(2e-6, 5e-6);

#[test]
fn clamped_rows_divide_by_a_constant() {
    let x = [3e-13_f32, -4e-13, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0];
    let dy = [1.0_f32, 2.0, -1.0, 0.5, -0.5, 1.0, 1.0, 1.0, 1.0];
    let leaf = gpu().tensor(&x, [3, 3]).unwrap().requires_grad();
    let y = leaf.l2_normalize();
    assert_close("value", &y.to_vec().unwrap(), &reference::forward(&f64s(&x), 3, 1e-12), TOL);

    let weights = gpu().tensor(&dy, [3, 3]).unwrap();
    let loss = gpu()
        .zeros([])
        .unwrap()
        .with_backward("dot", &[&y], &[&weights], |b| vec![Some(b.saved::<1>()[0].clone())]);
    let dx = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
    assert_close("gradient", &dx, &reference::backward(&f64s(&x), 3, 1e-12, &f64s(&dy)), TOL);
}

#[test]
fn more_than_65535_groups_and_long_rows() {
    for [rows, c] in [[8 * 65_536 + 1, 2], [1, 70_000], [65, 70_000]] {
        let x = data(2, rows * c);
        let y = gpu().tensor(&x, [rows, c]).unwrap().l2_normalize().to_vec().unwrap();
        // One lane adds 70,000 squares in turn.
        assert_close("many", &y, &reference::forward(&f64s(&x), c, 1e-12), Tol::new(1e-7, 5e-5));
    }
}
