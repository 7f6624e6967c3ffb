//! Random tensors against `reference::philox`: the GPU makes the bits that the CPU makes.

use crate::common::*;
use wgrad::reference::philox;
use wgrad::{Rng, rng};

// One element, ragged blocks, and once more than 65,535 workgroups of 64 invocations of 4 elements.
const LENGTHS: [usize; 8] = [1, 2, 3, 4, 5, 255, 257, 16_777_219];

#[test]
fn uniform_has_the_bits_of_the_cpu() {
    for n in LENGTHS {
        let mut rng = Rng::new(0xdead_beef).stream(rng::streams::USER);
        let first = gpu().uniform([n], 0.0, 1.0, &mut rng).unwrap().to_vec().unwrap();
        let second = gpu().uniform([n], 0.0, 1.0, &mut rng).unwrap().to_vec().unwrap();
        for (draw, got) in [first, second].iter().enumerate() {
            let want = philox::uniform(n, rng.key(), draw as u32, 0.0, 1.0);
            let same = got.iter().zip(&want).all(|(&got, &want)| f64::from(got) == want);
            assert!(same && got.len() == n, "{n} elements, draw {draw}");
        }
    }
}

#[test]
fn uniform_in_a_range() {
    let mut rng = Rng::new(3);
    let got = gpu().uniform([1001], -2.0, 5.0, &mut rng).unwrap().to_vec().unwrap();
    assert_close("uniform", &got, &philox::uniform(1001, rng.key(), 0, -2.0, 5.0), F32);
    assert!(got.iter().all(|v| (-2.0..5.0).contains(v)));
}

// WGSL asks for 2^-11 absolute of sin and cos (SwiftShader's is 1.9e-4 off), times a radius of at most 5.8, times the
// standard deviation of 2.
const NORMAL: Tol = Tol::new(5.7e-3, 1e-5);

#[test]
fn normal_agrees_with_the_cpu() {
    for n in LENGTHS {
        let mut rng = Rng::new(9);
        let got = gpu().normal([n], 0.5, 2.0, &mut rng).unwrap().to_vec().unwrap();
        assert_close("normal", &got, &philox::normal(n, rng.key(), 0, 0.5, 2.0), NORMAL);
    }
}
