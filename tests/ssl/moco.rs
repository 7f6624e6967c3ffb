use wgrad::nn::in_parts;
use wgrad::ops::BatchNormOptions;
use wgrad::reference::ssl as spec;
use wgrad::ssl::{Probe, Queue, Shuffle, moco_loss};

use crate::common::*;
use crate::support::*;

fn queue_of(rows: &Matrix) -> Queue {
    let queue = Queue::new(gpu(), rows.1[0], rows.1[1], &mut rng()).unwrap();
    queue.rows().write(&rows.0);
    queue
}

#[test]
fn equals_its_specification() {
    for (n, k, d) in [(1, 1, 1), (5, 7, 3), (33, 70, 8)] {
        for t in TAUS {
            let (keys, tau64) = (unit_matrix(3, k, d), f64::from(tau(t)));
            let queue = queue_of(&keys);
            let keys = f64s(&keys.0);
            check_loss(
                "moco_loss",
                tau64,
                &[matrix(1, n, d), matrix(2, n, d)],
                1,
                |x| moco_loss(&x[0], &x[1], &queue, tau(t)),
                |x| spec::moco(&x[0], &x[1], &keys, d, tau64),
            );
        }
    }
}

/// Query, key and one negative at right angles to both: ln(1 + e^(-1 / tau)).
#[test]
fn by_hand() {
    let q = tensor(&(vec![2.0, 0.0], [1, 2]));
    let queue = queue_of(&(vec![0.0, 1.0], [1, 2]));
    let got = moco_loss(&q, &q, &queue, 0.5).item().unwrap();
    assert_loss("moco", 0.5, got, (-2_f64).exp().ln_1p());
}

/// All rows equal: a guess among K + 1.
#[test]
fn collapse_is_a_guess() {
    let q = gpu().full([5, 4], 0.5).unwrap().requires_grad();
    let queue = queue_of(&(vec![0.5; 12 * 4], [12, 4]));
    let loss = moco_loss(&q, &q, &queue, 0.07);
    assert_loss("collapse", 0.07, loss.item().unwrap(), 13_f64.ln());
    assert_gradient("collapse", 0.07, 5, &loss.backward().get(&q).unwrap().to_vec().unwrap(), &[0.0; 20]);
}

#[test]
fn a_queue_starts_as_unit_rows_and_is_a_ring() {
    let mut queue = Queue::new(gpu(), 6, 5, &mut rng()).unwrap();
    for row in queue.rows().to_vec().unwrap().chunks(5) {
        let norm: f32 = row.iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    assert!(!queue.rows().tracks_grad());
    assert_eq!((queue.len(), queue.pointer(), queue.staleness(2), queue.is_full()), (6, 0, 3, false));
    for step in 0..4 {
        queue.enqueue(&gpu().full([2, 5], step as f32).unwrap());
    }
    let firsts: Vec<f32> = queue.rows().to_vec().unwrap().into_iter().step_by(5).collect();
    assert_eq!(firsts, [3.0, 3.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!((queue.pointer(), queue.enqueued(), queue.is_full()), (2, 8, true));

    let mut resumed = Queue::new(gpu(), 6, 5, &mut rng()).unwrap();
    resumed.rows().write(&queue.rows().to_vec().unwrap());
    resumed.set_enqueued(queue.enqueued());
    for queue in [&mut queue, &mut resumed] {
        queue.enqueue(&gpu().full([2, 5], 9.0).unwrap());
    }
    assert_eq!(queue.rows().to_vec().unwrap(), resumed.rows().to_vec().unwrap());
}

#[test]
#[should_panic(expected = "a batch [4, 5] does not divide a queue [6, 5]")]
fn a_batch_divides_the_queue() {
    let mut queue = Queue::new(gpu(), 6, 5, &mut rng()).unwrap();
    queue.enqueue(&gpu().zeros([4, 5]).unwrap());
}

/// Shuffled and restored is as it was; in parts of a batch, batch normalisation sees other company by another order alone.
#[test]
fn shuffling_is_undone_and_matters_to_parts_of_a_batch() {
    let n = 12;
    let x = tensor(&matrix(1, n, 5));
    let shuffle = Shuffle::new(gpu(), n, &mut rng()).unwrap();
    let shuffled = shuffle.shuffle(&x);
    assert_ne!(shuffled.to_vec().unwrap(), x.to_vec().unwrap());
    assert_eq!(shuffle.restore(&shuffled).to_vec().unwrap(), x.to_vec().unwrap());

    let normalize = |parts: usize, shuffle: Option<&Shuffle>| {
        let order = shuffle.map_or_else(|| x.clone(), |s| s.shuffle(&x));
        let y = in_parts(&order, parts, |part| part.batch_norm(BatchNormOptions::train()));
        shuffle.map_or_else(|| y.clone(), |s| s.restore(&y)).to_vec().unwrap()
    };
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let whole = normalize(1, None);
    assert!(far(&whole, &normalize(1, Some(&shuffle))) < 1e-5);
    let parts = normalize(3, None);
    assert!(far(&whole, &parts) > 0.1 && far(&parts, &normalize(3, Some(&shuffle))) > 0.1);

    // Each part is that part alone, and gradients find their rows.
    let first = x.slice_rows(0, 4).batch_norm(BatchNormOptions::train()).to_vec().unwrap();
    assert_eq!(parts[..20], first[..]);
    let leaf = x.copy().requires_grad();
    let loss = in_parts(&leaf, 3, |part| part.square()).sum_all();
    let gradient = loss.backward().get(&leaf).unwrap().to_vec().unwrap();
    assert_eq!(gradient, x.mul_scalar(2.0).to_vec().unwrap());
}

#[test]
#[should_panic(expected = "in_parts: 5 parts of 12 rows")]
fn parts_divide_the_batch() {
    let _ = in_parts(&tensor(&matrix(1, 12, 5)), 5, Clone::clone);
}

/// An encoder that turns every row by a known angle while its keys are in the queue is stale by 1 - its cosine.
#[test]
fn staleness_is_what_the_encoder_has_turned_by() {
    let (n, d) = (4, 2);
    let mut queue = Queue::new(gpu(), 3 * n, d, &mut rng()).unwrap();
    let probe = Probe::new(gpu(), [n, 3, 1, 1], d).unwrap();
    let images = gpu().full([n, 3, 1, 1], 1.0).unwrap();
    let keys_at = |angle: f32| gpu().tensor(&[angle.cos(), angle.sin()].repeat(n), [n, d]).unwrap();
    let mut measured = vec![];
    let mut passes = 0;
    for step in 0..9 {
        let angle = 0.1 * step as f32;
        let count = std::cell::Cell::new(0);
        probe.observe(&queue, &images, &keys_at(angle), |again| {
            count.set(count.get() + 1);
            assert_eq!(again.shape(), images.shape());
            keys_at(angle).mul_scalar(7.0) // of any length
        });
        passes += count.get();
        queue.enqueue(&keys_at(angle));
        measured.push(probe.staleness().item().unwrap());
    }
    // Measured when the ring starts over: at steps 3 and 6, of keys three steps old.
    let turned = 1.0 - 0.3_f32.cos();
    for (step, &value) in measured.iter().enumerate() {
        let want = if step < 3 { 0.0 } else { turned };
        assert!((value - want).abs() < 1e-6, "step {step}: {value}");
    }
    assert_eq!(passes, 2);
}
