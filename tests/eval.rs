//! Accuracies and measures on features whose values are known.

mod common;

use common::{data, gpu};
use wgrad::eval::*;
use wgrad::reference::knn as reference;
use wgrad::{Rng, Tensor};

fn rows(values: &[f32], d: usize) -> Tensor {
    gpu().tensor(values, [values.len() / d, d]).unwrap()
}

/// Rows spread evenly over the sphere of `d` dimensions.
fn sphere(seed: u32, n: usize, d: usize) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f32> = (0..n * d).map(|_| rng.normal()).collect();
    rows(&values, d)
}

/// f32 sums of a few hundred terms; written so that NaN fails.
#[track_caller]
fn near(got: f64, want: f64, within: f64) {
    assert!((got - want).abs() <= within, "{got}, expected {want} within {within}");
}

#[test]
fn a_collapsed_embedding_shows_in_every_measure() {
    let z = rows(&[0.3, -0.4, 1.2].repeat(100), 3);
    near(embedding_std(&z).unwrap(), 0.0, 1e-6);
    near(f64::from(batch_std(&z).item().unwrap()), 0.0, 1e-6);
    near(alignment(&z, &z).unwrap(), 0.0, 1e-6);
    near(uniformity(&z).unwrap(), 0.0, 1e-5);
    near(rankme(&z).unwrap(), 1.0, 1e-4);
}

#[test]
fn an_even_embedding_has_the_values_of_theory() {
    let (n, d) = (2500, 48); // more rows than the pairwise measures use
    let z = sphere(1, n, d);
    // Each coordinate has mean square 1/d; its sampling error is 1/sqrt(2 n d).
    near(embedding_std(&z).unwrap(), 1.0 / (d as f64).sqrt(), 4e-4);
    near(f64::from(batch_std(&z).item().unwrap()), embedding_std(&z).unwrap(), 1e-6);
    // E exp(-2 |x - y|^2) = exp(-4) E exp(4 t), t the cosine: mean 0, mean square 1/d, E exp(4 t) ~ exp(8 / d).
    near(uniformity(&z).unwrap(), -4.0 + 8.0 / d as f64, 0.01);
    near(alignment(&z, &sphere(2, n, d)).unwrap(), 2.0, 0.03);
    let rank = rankme(&z).unwrap();
    assert!(rank > 0.98 * d as f64 && rank <= d as f64, "{rank}");
}

#[test]
fn small_cases_by_hand() {
    let (x, y) = ([1.0, 0.0], [0.0, 5.0]);
    let both = rows(&[x, y].concat(), 2);
    near(uniformity(&both).unwrap(), -4.0, 1e-5); // one pair at squared distance 2
    near(alignment(&rows(&x, 2), &rows(&[-3.0, 0.0], 2)).unwrap(), 4.0, 1e-6);
    near(embedding_std(&both).unwrap(), 0.5, 1e-6);
    // Singular values 3 and 1: p = (3/4, 1/4).
    let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
    near(rankme(&rows(&[3.0, 0.0, 0.0, 1.0], 2)).unwrap(), entropy.exp(), 1e-6);
}

#[test]
fn knn_accuracy_is_the_share_that_the_reference_gets_right() {
    let (n, m, d, classes) = (90, 400, 7, 4);
    let labels: Vec<u32> = (0..m as u32).map(|i| i % classes).collect();
    // A class shifts its rows, less than the noise: some are right, some wrong.
    let make = |seed, n: usize| {
        let mut x = data(seed, n * d);
        (0..n).for_each(|i| x[i * d + i % classes as usize] += 0.8);
        x
    };
    let (queries, bank) = (make(1, n), make(2, m));
    let unit = |x: &[f32]| {
        let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        x.chunks(d)
            .flat_map(|row| row.iter().map(|v| f64::from(*v) / norm(row)).collect::<Vec<_>>())
            .collect()
    };
    let (unit_queries, unit_bank): (Vec<f64>, Vec<f64>) = (unit(&queries), unit(&bank));
    for k in [1, 20, 1000] {
        let used = k.min(m);
        let (similarity, index) = reference::knn(&unit_queries, &unit_bank, d, used);
        let scores = reference::knn_vote(&similarity, &index, &labels, used, classes as usize, 0.1);
        let winner = |s: &[f64]| (0..s.len()).max_by(|&a, &b| s[a].total_cmp(&s[b]).then(b.cmp(&a))).unwrap();
        let right =
            scores.chunks(classes as usize).zip(&labels).filter(|(s, l)| winner(s) == **l as usize).count();
        let knn = Knn { k, ..Knn::default() };
        let got = knn_accuracy(&rows(&bank, d), &labels, &rows(&queries, d), &labels[..n], knn).unwrap();
        near(got, right as f64 / n as f64, 1e-12);
        assert!(got > 0.3 && got < 1.0, "the case decides nothing: {got}");
    }
}

#[test]
fn a_linear_probe_separates_what_a_plane_separates() {
    let (n, d) = (600, 9);
    let make = |seed| {
        let mut x = data(seed, n * d);
        // The class is the sign of one direction, at a scale far from 1; another feature never moves.
        let labels: Vec<u32> = x.chunks(d).map(|r| u32::from(r[2] + r[5] > 0.0)).collect();
        x.chunks_mut(d).for_each(|r| {
            r[2] *= 1000.0;
            r[7] = 3.0;
        });
        (rows(&x, d), labels)
    };
    let ((train, labels), (test, test_labels)) = (make(3), make(4));
    let accuracy = linear_probe(&train, &labels, &test, &test_labels, LinearProbe::default()).unwrap();
    assert!(accuracy > 0.95, "{accuracy}");
    // Fitted once, it is measured on as many sets as wanted.
    let probe = LinearProbe::default().fit(&train, &labels).unwrap();
    assert_eq!(probe.accuracy(&test, &test_labels).unwrap(), accuracy);
    assert!(probe.accuracy(&train, &labels).unwrap() > 0.9);
    let again = linear_probe(&train, &labels, &test, &test_labels, LinearProbe::default()).unwrap();
    assert_eq!(accuracy.to_bits(), again.to_bits(), "the same rows give the same accuracy");
    // Labels that the features know nothing of stay near chance.
    let chance: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let accuracy = linear_probe(&train, &chance, &test, &chance, LinearProbe::default()).unwrap();
    assert!((accuracy - 0.5).abs() < 0.1, "{accuracy}");
}

#[test]
fn the_principal_plane_keeps_the_widest_directions() {
    let mut rng = Rng::new(6);
    let scales = [0.1, 5.0, 0.2, 2.0, 0.1];
    let x: Vec<f32> = (0..2000).flat_map(|_| scales.map(|s| s * rng.normal() + 7.0)).collect();
    let plane = principal_plane(&rows(&x, 5)).unwrap();
    for (i, (a, b)) in plane.iter().enumerate() {
        let row = &x[i * 5..][..5];
        near(a.abs(), f64::from((row[1] - 7.0).abs()), 0.5);
        near(b.abs(), f64::from((row[3] - 7.0).abs()), 0.5);
    }
}
