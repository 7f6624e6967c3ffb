use wgrad::Rng;
use wgrad::reference::{lerp, ssl as spec};
use wgrad::ssl::{Bank, Nce, instance_discrimination_loss};

use crate::common::*;
use crate::support::*;

fn bank_of(rows: &Matrix) -> Bank {
    let bank = Bank::new(gpu(), rows.1[0], rows.1[1], &mut rng()).unwrap();
    bank.rows().write(&rows.0);
    bank
}

fn places(n: usize, images: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 7 + 3) % images as u32).collect()
}

fn as_usize(x: &[u32]) -> Vec<usize> {
    x.iter().map(|&i| i as usize).collect()
}

#[test]
fn the_full_softmax_equals_its_specification() {
    for (n, images, d) in [(1, 1, 1), (5, 9, 3), (33, 71, 8)] {
        for t in TAUS {
            let (rows, at, tau64) = (unit_matrix(3, images, d), places(n, images), f64::from(tau(t)));
            let bank = bank_of(&rows);
            check_loss(
                "instance_discrimination_loss",
                tau64,
                &[matrix(1, n, d)],
                1,
                |x| instance_discrimination_loss(&x[0], &bank, &indices(&at), tau(t)),
                |x| spec::instance_discrimination(&x[0], &f64s(&rows.0), &as_usize(&at), d, tau64),
            );
        }
    }
}

#[test]
fn nce_equals_its_specification() {
    for (n, m, images, d) in [(1, 1, 1, 2), (5, 3, 9, 3), (33, 16, 71, 8)] {
        for t in TAUS {
            let (rows, at, tau64) = (unit_matrix(3, images, d), places(n, images), f64::from(tau(t)));
            let bank = bank_of(&rows);
            let mut draw = Rng::new(5);
            let drawn: Vec<u32> = (0..n * m).map(|_| draw.below(images as u32)).collect();
            let negatives = indices(&drawn);
            let (at64, drawn, rows64) = (as_usize(&at), as_usize(&drawn), f64s(&rows.0));
            // Z is of the first batch, the gradient of the second.
            let first = matrix(8, n, d);
            let mut nce = Nce::new(tau(t), gpu()).unwrap();
            let _ = nce.loss(&tensor(&first), &bank, &indices(&at), &negatives);
            let ln_z = spec::nce_ln_z(&f64s(&first.0), &rows64, &at64, &drawn, d, tau64);
            assert_loss("ln Z", tau64, nce.ln_z().item().unwrap(), ln_z);
            let ln_z = f64::from(nce.ln_z().item().unwrap());
            let nce = std::cell::RefCell::new(nce);
            check_loss(
                "nce",
                tau64,
                &[matrix(1, n, d)],
                1,
                |x| nce.borrow_mut().loss(&x[0], &bank, &indices(&at), &negatives),
                |x| spec::nce(&x[0], &rows64, &at64, &drawn, d, tau64, ln_z),
            );
            assert!(!nce.borrow().ln_z().tracks_grad());
        }
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let bank = Bank::new(gpu(), 29, 6, &mut rng()).unwrap();
    bank.rows().write(&f.tensor("bank").to_vec().unwrap());
    let (at, negatives) = (f.indices("at"), f.indices("negatives"));
    for t in TAUS {
        f.check("instance", t, &["a"], |x| instance_discrimination_loss(&x[0], &bank, &at, tau(t)));
        f.check("nce", t, &["a"], |x| Nce::new(tau(t), gpu()).unwrap().loss(&x[0], &bank, &at, &negatives));
    }
}

/// All rows equal: a guess among M; for NCE, P = 1 / M for every image, so h = 1 / (1 + m).
#[test]
fn collapse_is_a_guess() {
    let bank = bank_of(&(vec![0.5; 9 * 4], [9, 4]));
    let z = gpu().full([3, 4], 2.0).unwrap();
    let at = indices(&[1, 2, 3]);
    let got = instance_discrimination_loss(&z, &bank, &at, 0.1).item().unwrap();
    assert_loss("full", 0.1, got, 9_f64.ln());
    let negatives = indices(&[0, 1, 2, 3, 4, 5]);
    let got = Nce::new(0.1, gpu()).unwrap().loss(&z, &bank, &at, &negatives).item().unwrap();
    assert_loss("nce", 0.1, got, 3_f64.ln() + 2.0 * 1.5_f64.ln());
}

#[test]
fn staleness_is_one_less_the_mean_cosine() {
    let (rows, z) = (unit_matrix(1, 11, 7), matrix(2, 3, 7));
    let at = [3, 10, 0];
    let got = bank_of(&rows).staleness(&indices(&at), &tensor(&z)).item().unwrap();
    let unit = spec::unit(&f64s(&z.0), 7);
    let cosine = |(i, &row): (usize, &u32)| {
        let own = &rows.0[7 * row as usize..][..7];
        unit[7 * i..].iter().zip(own).map(|(a, &b)| a * f64::from(b)).sum::<f64>()
    };
    let want = 1.0 - at.iter().enumerate().map(cosine).sum::<f64>() / 3.0;
    assert!((f64::from(got) - want).abs() < 1e-6, "{got} is not {want}");
}

#[test]
fn the_bank_moves_the_rows_of_the_batch_alone() {
    let (rows, z) = (unit_matrix(1, 11, 7), matrix(2, 5, 7));
    let bank = bank_of(&rows);
    let at = [3, 10, 0, 7, 1];
    let leaf = tensor(&z).requires_grad();
    bank.update(&indices(&at), &leaf, 0.5);
    let unit = spec::unit(&f64s(&z.0), 7);
    let want = lerp::lerp_unit_rows(&f64s(&rows.0), &unit, &as_usize(&at), 7, 0.5);
    assert_close("bank", &bank.rows().to_vec().unwrap(), &want, F32);
    assert!(!bank.rows().tracks_grad());
    let other = bank.rows().to_vec().unwrap();
    assert_eq!(other[2 * 7..3 * 7], rows.0[2 * 7..3 * 7]);
}

#[test]
fn negatives_are_drawn_evenly_and_repeat() {
    let bank = Bank::new(gpu(), 7, 3, &mut rng()).unwrap();
    let drawn = bank.draw(7000, &mut Rng::new(2)).unwrap().to_vec_u32().unwrap();
    for image in 0..7 {
        let count = drawn.iter().filter(|&&i| i == image).count();
        assert!((850..1150).contains(&count), "image {image} drawn {count} times of 7000");
    }
    assert!(drawn.iter().all(|&i| i < 7));
    assert_eq!(drawn, bank.draw(7000, &mut Rng::new(2)).unwrap().to_vec_u32().unwrap());
    let mut next = Rng::new(2);
    let _ = bank.draw(7000, &mut next).unwrap();
    assert_ne!(drawn, bank.draw(7000, &mut next).unwrap().to_vec_u32().unwrap());
}
