use wgrad::Tensor;
use wgrad::reference::ssl as spec;
use wgrad::ssl::{SwavOptions, sinkhorn, swav_loss};

use crate::common::*;
use crate::support::*;

fn options(tau: f32) -> SwavOptions {
    SwavOptions { tau, ..SwavOptions::default() }
}

#[test]
fn sinkhorn_equals_its_specification() {
    for (b, k) in [(1, 1), (5, 3), (33, 70), (130, 7)] {
        for (epsilon, iterations) in [(0.05, 3), (0.5, 1), (0.03, 10)] {
            let scores = matrix(1, b, k);
            let got = sinkhorn(&tensor(&scores), epsilon, iterations).to_vec().unwrap();
            let want = spec::sinkhorn(&f64s(&scores.0), k, f64::from(epsilon), iterations);
            // Logarithms up to 2 / epsilon are rounded to eps of that, twice an iteration.
            assert_close("sinkhorn", &got, &want, Tol::new(1e-6, 2e-5));
        }
    }
}

/// Scores that the plain exponential would turn into 0 and infinity.
#[test]
fn sinkhorn_holds_out_at_any_epsilon() {
    let scores = tensor(&matrix(2, 24, 5)).mul_scalar(100.0);
    let q = sinkhorn(&scores, 0.005, 3);
    for row in q.to_vec().unwrap().chunks(5) {
        let sum: f32 = row.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row:?}");
    }
}

/// After many rounds the prototypes have equal shares, however the scores lean to one of them.
#[test]
fn prototypes_get_equal_shares() {
    let lean: Vec<f32> = data(3, 40 * 4).iter().enumerate().map(|(i, v)| v + f32::from(i % 4 == 0)).collect();
    let q = sinkhorn(&tensor(&(lean, [40, 4])), 0.5, 50).sum(&[0]).to_vec().unwrap();
    assert!(q.iter().all(|v| (v - 10.0).abs() < 1e-2), "{q:?}");
}

#[test]
fn equals_its_specification() {
    for (n, views, k) in [(1, 2, 1), (5, 2, 7), (3, 5, 33), (33, 3, 5)] {
        for t in TAUS {
            let (scores, queue) = (matrix(1, views * n, k), matrix(2, 2 * 11, k));
            let tau64 = f64::from(tau(t));
            // Assignments are constants: those of the scores as given.
            let own = f64s(&scores.0);
            let assign = |view: usize, with_queue: bool| {
                let mut all = own[view * n * k..(view + 1) * n * k].to_vec();
                if with_queue {
                    all.extend(f64s(&queue.0[view * 11 * k..(view + 1) * 11 * k]));
                }
                spec::sinkhorn(&all, k, f64::from(0.05_f32), 3)[..n * k].to_vec()
            };
            let rows = tensor(&queue);
            let halves = [rows.slice_rows(0, 11), rows.slice_rows(11, 11)];
            for with_queue in [false, true] {
                let targets = [assign(0, with_queue), assign(1, with_queue)].concat();
                check_loss(
                    "swav_loss",
                    tau64,
                    std::slice::from_ref(&scores),
                    1,
                    |x| swav_loss(&x[0], n, with_queue.then_some([&halves[0], &halves[1]]), options(tau(t))),
                    |x| spec::cross_view(&targets, &x[0], n, k, tau64),
                );
            }
        }
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let rows = f.tensor("queue_scores");
    let queue = [rows.slice_rows(0, 11), rows.slice_rows(11, 11)];
    for t in TAUS {
        let loss = |x: &Tensor, queue| swav_loss(x, 9, queue, options(tau(t)));
        f.check("swav", t, &["scores"], |x| loss(&x[0], None));
        f.check("swav_queue", t, &["scores"], |x| loss(&x[0], Some([&queue[0], &queue[1]])));
    }
}

/// Equal scores: even assignments, and a loss of ln K that nothing moves.
#[test]
fn collapse_is_ln_k() {
    let scores = gpu().full([12, 5], 0.4).unwrap().requires_grad();
    let loss = swav_loss(&scores, 4, None, SwavOptions::default());
    assert_loss("collapse", 0.1, loss.item().unwrap(), 5_f64.ln());
    assert_gradient(
        "collapse",
        0.1,
        12,
        &loss.backward().get(&scores).unwrap().to_vec().unwrap(),
        &[0.0; 60],
    );
}
