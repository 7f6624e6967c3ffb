use wgrad::reference::{lerp, ssl as spec};
use wgrad::ssl::{Center, TeacherTemperature, dino_loss};

use crate::common::*;
use crate::support::*;

fn center_of(values: &[f32]) -> Center {
    let center = Center::new(gpu(), values.len(), 0.9).unwrap();
    center.values().write(values);
    center
}

#[test]
fn equals_its_specification() {
    for (n, views, k) in [(1, 2, 1), (5, 2, 7), (3, 5, 33), (33, 3, 5)] {
        for t in TAUS {
            let tau_t = 0.6 * tau(t);
            let middle = data(3, k);
            let center = center_of(&middle);
            let [tau_s, tau_t64] = [tau(t), tau_t].map(f64::from);
            let dino = |x: &[Vec<f64>]| spec::dino(&x[0], &x[1], &f64s(&middle), n, tau_s, tau_t64);
            let inputs = [matrix(1, views * n, k), matrix(2, 2 * n, k)];
            check_loss(
                "dino_loss",
                tau_t64,
                &inputs,
                1,
                |x| dino_loss(&x[0], &x[1], &center, tau(t), tau_t).loss,
                |x| dino(x)[0],
            );
            let out =
                dino_loss(&tensor(&inputs[0]).requires_grad(), &tensor(&inputs[1]), &center, tau(t), tau_t);
            let [loss, entropy] = dino(&inputs.map(|x| f64s(&x.0)));
            assert_loss("entropy", tau_t64, out.teacher_entropy.item().unwrap(), entropy);
            assert_loss("kl", tau_t64, out.kl.item().unwrap(), loss - entropy);
            assert!(!out.teacher_entropy.tracks_grad() && !out.kl.tracks_grad());
        }
    }
}

#[test]
fn equals_pytorch() {
    let f = fixture();
    let teacher = f.tensor("teacher");
    let center = center_of(&f.tensor("center").to_vec().unwrap());
    for t in TAUS {
        let loss = |x: &wgrad::Tensor| dino_loss(x, &teacher, &center, tau(t), 0.6 * tau(t)).loss;
        f.check("dino", t, &["scores"], |x| loss(&x[0]));
    }
}

/// Equal logits everywhere: the loss and the entropy are ln K, the divergence 0.
#[test]
fn the_even_collapse_is_ln_k() {
    let center = center_of(&[0.0; 8]);
    let student = gpu().full([12, 8], 0.3).unwrap().requires_grad();
    let out = dino_loss(&student, &gpu().full([6, 8], -0.2).unwrap(), &center, 0.1, 0.04);
    assert_loss("loss", 0.1, out.loss.item().unwrap(), 8_f64.ln());
    assert_loss("entropy", 0.1, out.teacher_entropy.item().unwrap(), 8_f64.ln());
    assert_loss("kl", 0.1, out.kl.item().unwrap(), 0.0);
}

/// One output far above the rest, in teacher and student: no entropy, no loss. The centre brings it back to ln K.
#[test]
fn the_sharp_collapse_has_no_entropy_until_it_is_centred() {
    let row = [1.0, -1.0, -1.0, -1.0];
    let (center, logits) = (center_of(&[0.0; 4]), tensor(&(row.repeat(6), [6, 4])));
    let out = dino_loss(&logits, &logits, &center, 0.1, 0.04);
    assert_loss("entropy", 0.04, out.teacher_entropy.item().unwrap(), 0.0);
    assert_loss("loss", 0.04, out.loss.item().unwrap(), 3.0 * (-20_f64).exp());
    let center = Center::new(gpu(), 4, 0.0).unwrap();
    center.update(&logits);
    let out = dino_loss(&logits, &logits, &center, 0.1, 0.04);
    assert_loss("entropy", 0.04, out.teacher_entropy.item().unwrap(), 4_f64.ln());
}

/// After the loss and before backward: the centre belongs to the teacher's side, which records nothing.
#[test]
fn the_centre_follows_raw_logits() {
    let (values, teacher) = (data(1, 33), matrix(2, 10, 33));
    let center = center_of(&values);
    let student = tensor(&matrix(3, 20, 33)).requires_grad();
    let loss = dino_loss(&student, &tensor(&teacher), &center, 0.1, 0.04).loss;
    center.update(&tensor(&teacher));
    assert!(loss.backward().get(&student).is_some());
    let want = lerp::lerp_mean(&f64s(&values), &f64s(&teacher.0), 0.1);
    assert_close("center", &center.values().to_vec().unwrap(), &want, F32);
}

#[test]
fn the_temperature_rises_and_stays() {
    let t = TeacherTemperature { start: 0.04, end: 0.07, warmup: 30 };
    assert_eq!([t.at(0), t.at(30), t.at(1000)], [0.04, 0.07, 0.07]);
    assert!((t.at(10) - 0.05).abs() < 1e-7);
    assert_eq!(TeacherTemperature { warmup: 0, ..t }.at(0), 0.07);
}

#[test]
#[should_panic(expected = "dino_loss: student [5, 4] and targets [6, 4]")]
fn views_must_fit() {
    let center = center_of(&[0.0; 4]);
    let _ = dino_loss(&gpu().zeros([5, 4]).unwrap(), &gpu().zeros([6, 4]).unwrap(), &center, 0.1, 0.04);
}
