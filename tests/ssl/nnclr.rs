use wgrad::reference::ssl as spec;
use wgrad::ssl::{Queue, info_nce, nearest, nnclr_loss};

use crate::common::*;
use crate::support::*;

fn queue_of((values, [len, d]): &Matrix) -> Queue {
    let queue = Queue::new(gpu(), *len, *d, &mut rng()).unwrap();
    queue.rows().write(values);
    queue
}

#[test]
fn equals_its_specification() {
    for (n, k, d) in [(1, 1, 1), (5, 7, 3), (33, 1100, 8)] {
        for t in TAUS {
            let (rows, tau64) = (unit_matrix(9, k, d), f64::from(tau(t)));
            let queue = queue_of(&rows);
            let rows = f64s(&rows.0);
            check_loss(
                "nnclr_loss",
                tau64,
                &[1, 2, 3, 4].map(|seed| matrix(seed, n, d)),
                2,
                |x| nnclr_loss(&x[2], &x[0], &x[3], &x[1], &queue, tau(t)),
                |x| spec::nnclr([&x[2], &x[3]], [&x[0], &x[1]], &rows, d, tau64),
            );
        }
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let queue = Queue::new(gpu(), 29, 6, &mut rng()).unwrap();
    queue.rows().write(&f.tensor("bank").to_vec().unwrap());
    let (c, e) = (f.tensor("c"), f.tensor("e"));
    for t in TAUS {
        f.check("nnclr", t, &["a", "b"], |x| nnclr_loss(&c, &x[0], &e, &x[1], &queue, tau(t)));
    }
}

/// A queue that holds the batch itself gives each row back, whatever its length.
#[test]
fn the_nearest_row_is_the_row_itself() {
    let rows = unit_matrix(5, 13, 6);
    let queue = queue_of(&rows);
    let found = nearest(&tensor(&rows).mul_scalar(3.0).requires_grad(), &queue);
    assert!(!found.tracks_grad());
    assert_eq!(found.to_vec().unwrap(), rows.0);
    let z = tensor(&rows);
    let p = tensor(&matrix(6, 13, 6));
    let same = nnclr_loss(&z, &p, &z, &p, &queue, 0.2).item().unwrap();
    assert_loss("info_nce", 0.2, same, f64::from(info_nce(&z, &p, 0.2).item().unwrap()));
}
