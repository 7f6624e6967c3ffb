//! Nearest neighbours and their vote.

use wgrad::reference::knn as reference;

use crate::cases::products::{NEIGHBOURS, SIMILARITY};
use crate::common::*;

/// Two near ties may change places in f32, so an index is checked by the similarity it stands for.
#[test]
fn indices_stand_for_their_similarities() {
    for [n, m, d, k] in NEIGHBOURS {
        let (queries, bank) = (data(1, n * d), data(2, m * d));
        let (q, b) = (gpu().tensor(&queries, [n, d]).unwrap(), gpu().tensor(&bank, [m, d]).unwrap());
        let (similarity, index) = q.knn(&b, k);
        let (similarity, index) = (similarity.to_vec().unwrap(), index.to_vec_u32().unwrap());
        let (queries, bank) = (f64s(&queries), f64s(&bank));
        for (row, found) in index.chunks(k).enumerate() {
            let dot = |i: &u32| {
                let bank = &bank[*i as usize * d..][..d];
                queries[row * d..][..d].iter().zip(bank).map(|(q, b)| q * b).sum::<f64>()
            };
            let named: Vec<f64> = found.iter().map(dot).collect();
            assert_close("index", &similarity[row * k..][..k], &named, SIMILARITY);
            let mut distinct = found.to_vec();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), k, "row {row} of {n} x {m}: an index twice");
        }
    }
}

#[test]
fn ties_go_to_the_lower_index() {
    // Small integers: every similarity is exact, and most are tied.
    for n in [5, 8] {
        tied(n, 2100, 3, 37);
    }
}

fn tied(n: usize, m: usize, d: usize, k: usize) {
    let small = |seed, n| data(seed, n).iter().map(|x| (2.0 * x).round()).collect::<Vec<f32>>();
    let (queries, bank) = (small(3, n * d), small(4, m * d));
    let (q, b) = (gpu().tensor(&queries, [n, d]).unwrap(), gpu().tensor(&bank, [m, d]).unwrap());
    let (_, index) = q.knn(&b, k);
    let (_, want) = reference::knn(&f64s(&queries), &f64s(&bank), d, k);
    let index: Vec<usize> = index.to_vec_u32().unwrap().into_iter().map(|i| i as usize).collect();
    assert_eq!(index, want);
}

#[test]
fn a_nan_row_is_nobodys_neighbour() {
    let bank = [1.0, 0.0, f32::NAN, f32::NAN, 0.5, 0.5];
    let b = gpu().tensor(&bank, [3, 2]).unwrap();
    let four = gpu().tensor(&[1.0, 0.0].repeat(4), [4, 2]).unwrap();
    assert_eq!(four.knn(&b, 3).1.to_vec_u32().unwrap(), [0, 2, u32::MAX].repeat(4));
    let (similarity, index) = four.slice_rows(0, 1).knn(&b, 3);
    assert_eq!(index.to_vec_u32().unwrap(), [0, 2, u32::MAX]);
    let labels = gpu().tensor_u32(&[0, 1, 1], [3]).unwrap();
    let votes = similarity.knn_vote(&index, &labels, 2, 1.0).to_vec().unwrap();
    assert_close("votes", &votes, &[1.0, (-0.5_f64).exp()], Tol::new(1e-6, 1e-4));
}

#[test]
#[should_panic(expected = "knn: k = 4 of a bank [3, 2]")]
fn k_is_at_most_the_bank() {
    let bank = gpu().zeros([3, 2]).unwrap();
    let _ = bank.knn(&bank, 4);
}
