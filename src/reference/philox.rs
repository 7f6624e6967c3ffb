//! Tensors of random numbers: `shaders/random.wgsl`. The generator itself is [`crate::rng::philox`], the same integers
//! on both sides.

use crate::rng::philox;

/// The upper 24 bits of a word as a number in [0, 1).
#[must_use]
pub fn unit(bits: u32) -> f64 {
    f64::from(bits >> 8) / f64::from(1 << 24)
}

/// y_i = lo + (hi - lo) u_i, with u_i from word i mod 4 of block (i / 4, draw, 0, 0).
#[must_use]
pub fn uniform(n: usize, key: [u32; 2], draw: u32, lo: f64, hi: f64) -> Vec<f64> {
    (0..n).map(|i| lo + (hi - lo) * unit(philox([i as u32 / 4, draw, 0, 0], key)[i % 4])).collect()
}

/// y_i = mean + std z_i. Box and Muller 1958: a pair of words (u, v) makes
/// sqrt(-2 ln(1 - u)) cos(2 pi v) and sqrt(-2 ln(1 - u)) sin(2 pi v).
#[must_use]
pub fn normal(n: usize, key: [u32; 2], draw: u32, mean: f64, std: f64) -> Vec<f64> {
    let element = |i: usize| {
        let words = philox([i as u32 / 4, draw, 0, 0], key);
        let pair = i % 4 / 2 * 2;
        let radius = (-2.0 * (1.0 - unit(words[pair])).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit(words[pair + 1]);
        mean + std * radius * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
    };
    (0..n).map(element).collect()
}
