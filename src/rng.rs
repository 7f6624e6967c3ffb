//! Random numbers that can be recomputed from their name alone: Philox4x32-10.
//!
//! A counter-based generator has no hidden state. One block of four words is a pure function of a 64-bit key and a
//! 128-bit counter, so the CPU and the GPU (`shaders/lib/philox.wgsl`) make the same bits, in any order and on any
//! number of workers. A generator with a carried state (PCG, xoshiro) would be faster on the CPU, but every consumer
//! would have to agree on who draws first.
//!
//! The key is always `(seed, stream)`. Who owns which counter:
//!
//! | consumer | counter |
//! |---|---|
//! | a sequence on the CPU ([`Rng::next_u32`] and what is built on it) | `(block, block >> 32, 0, 1)` |
//! | a tensor filled on the GPU ([`Rng::next_tensor`]) | `(element / 4, tensor, 0, 0)` |
//! | augmentation | `(step or epoch, dataset index, view, draw)` |
//!
//! Augmentation would overlap the other two, so it has a stream of its own; see [`streams`].
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

/// Streams: the second word of the key. Two streams of one seed are independent.
pub mod streams {
    /// Initial weights, and whatever else a program draws once at its start.
    pub const INIT: u32 = 0;
    /// The order of the data set, one permutation an epoch.
    pub const SHUFFLE: u32 = 1;
    /// Augmentation.
    pub const AUGMENT: u32 = 2;
    /// Synthetic data.
    pub const SYNTHETIC: u32 = 3;
    /// Evaluation: the order of a linear probe, the sample of a plot.
    pub const EVAL: u32 = 4;
    /// Which images keep their labels where few may be used.
    pub const LABELS: u32 = 5;
    /// Where the images of a moved data set go.
    pub const MOVE: u32 = 6;
    /// The first number free for a program's own streams.
    pub const USER: u32 = 0x100;
}

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// One block of Philox4x32-10: four random words for a counter and a key.
///
/// ```
/// assert_eq!(wgrad::rng::philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
#[must_use]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..ROUNDS {
        let product =
            [u64::from(MULTIPLIERS[0]) * u64::from(c[0]), u64::from(MULTIPLIERS[1]) * u64::from(c[2])];
        let high = product.map(|p| (p >> 32) as u32);
        let low = product.map(|p| p as u32);
        c = [high[1] ^ c[1] ^ k[0], low[1], high[0] ^ c[3] ^ k[1], low[0]];
        k[0] = k[0].wrapping_add(WEYL[0]);
        k[1] = k[1].wrapping_add(WEYL[1]);
    }
    c
}

/// The upper 24 bits of a word as a number in [0, 1). Exact in `f32`, so CPU and GPU agree to the bit.
#[must_use]
pub fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// A word as an integer in `0..n` by multiply and shift. No rejection, so one word is one choice; the largest
/// deviation from an even choice is n / 2^32.
#[must_use]
pub fn below(bits: u32, n: u32) -> u32 {
    ((u64::from(bits) * u64::from(n)) >> 32) as u32
}

/// A Philox key with the position of a sequence. Cloning it copies the position: both then draw the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: [u32; 2],
    /// Words drawn from the CPU sequence.
    words: u64,
    /// Tensors filled on the GPU.
    tensors: u32,
}

impl Rng {
    /// Stream 0 ([`streams::INIT`]) of a seed, at its start.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self::with_key([seed, 0])
    }

    /// The start of the sequence with key `[seed, stream]`.
    #[must_use]
    pub fn with_key(key: [u32; 2]) -> Self {
        Self { key, words: 0, tensors: 0 }
    }

    /// Another stream of the same seed, at its start.
    #[must_use]
    pub fn stream(&self, stream: u32) -> Self {
        Self::with_key([self.key[0], stream])
    }

    /// The key: `[seed, stream]`.
    #[must_use]
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// Four words for a counter. Leaves the position of the sequence as it is.
    #[must_use]
    pub fn block(&self, counter: [u32; 4]) -> [u32; 4] {
        philox(counter, self.key)
    }

    /// The next word of the sequence.
    pub fn next_u32(&mut self) -> u32 {
        let (block, lane) = (self.words / 4, self.words % 4);
        self.words += 1;
        self.block([block as u32, (block >> 32) as u32, 0, 1])[lane as usize]
    }

    /// The number of the next tensor to be filled on the GPU: word 1 of its counter.
    pub fn next_tensor(&mut self) -> u32 {
        let tensor = self.tensors;
        self.tensors = tensor.wrapping_add(1);
        tensor
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// Standard normal by Box-Muller. Computed in `f64` and rounded once. Takes two words.
    pub fn normal(&mut self) -> f32 {
        // 1 - u is in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }

    /// An integer in `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        below(self.next_u32(), n)
    }

    /// A random order of `items`, in place (Fisher-Yates, one word an element).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }

    /// Key and position in five words, for a checkpoint.
    #[must_use]
    pub fn state(&self) -> [u32; 5] {
        [self.key[0], self.key[1], self.words as u32, (self.words >> 32) as u32, self.tensors]
    }

    /// The generator whose [`state`](Self::state) this is.
    #[must_use]
    pub fn from_state(state: [u32; 5]) -> Self {
        let [seed, stream, low, high, tensors] = state;
        Self { key: [seed, stream], words: u64::from(low) | u64::from(high) << 32, tensors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Random123's `kat_vectors`, philox4x32 with 10 rounds.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let pi = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(philox(pi.0, pi.1), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn a_sequence_is_its_blocks_in_order() {
        let mut rng = Rng::new(7).stream(streams::SHUFFLE);
        let words: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        assert_eq!(words[..4], philox([0, 0, 0, 1], [7, 1]));
        assert_eq!(words[4..], philox([1, 0, 0, 1], [7, 1]));
    }

    #[test]
    fn state_resumes_the_sequence() {
        let mut rng = Rng::new(3);
        rng.words = u64::from(u32::MAX) * 4 + 2; // the block counter is about to carry into its second word
        rng.next_tensor();
        let mut resumed = Rng::from_state(rng.state());
        assert_eq!(resumed, rng);
        for _ in 0..9 {
            assert_eq!(resumed.next_u32(), rng.next_u32());
        }
        assert_eq!(resumed.next_tensor(), 1);
    }

    #[test]
    fn ranges_hold_at_their_ends() {
        assert_eq!((unit_f32(0), unit_f32(u32::MAX)), (0.0, 1.0 - 2f32.powi(-24)));
        assert_eq!((below(0, 10), below(u32::MAX, 10), below(u32::MAX, u32::MAX)), (0, 9, u32::MAX - 1));
        assert_eq!(Rng::new(0).below(0), 0);
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let (mut rng, n) = (Rng::new(11), 100_000);
        let uniform: Vec<f64> = (0..n).map(|_| f64::from(rng.uniform())).collect();
        let normal: Vec<f64> = (0..n).map(|_| f64::from(rng.normal())).collect();
        let moment = |x: &[f64], p| x.iter().map(|v| v.powi(p)).sum::<f64>() / n as f64;
        // Four standard errors of each moment at n = 100,000.
        assert!(
            (moment(&uniform, 1) - 0.5).abs() < 0.0037 && (moment(&uniform, 2) - 1.0 / 3.0).abs() < 0.0038
        );
        assert!(moment(&normal, 1).abs() < 0.0127 && (moment(&normal, 2) - 1.0).abs() < 0.018);
        assert!((moment(&normal, 4) - 3.0).abs() < 0.124);
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut order: Vec<u32> = (0..1000).collect();
        Rng::new(5).shuffle(&mut order);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().copied().eq(0..1000));
        Rng::new(5).shuffle::<u32>(&mut []);
    }
}
