//! Strings of DNA with motifs in them.

use crate::rng::Rng;

/// A strand as numbers: A 0, C 1, G 2, T 3, so that `3 - b` pairs with `b`.
pub type Bases = Vec<u32>;

/// Bases of a motif.
pub const MOTIF: usize = 8;

/// The other strand, read its own way: the same molecule.
#[must_use]
pub fn reverse_complement(bases: &[u32]) -> Bases {
    bases.iter().rev().map(|base| 3 - base).collect()
}

/// Each base replaced by a random one, which may be the same, with a chance of `percent` in 100.
#[must_use]
pub fn mutate(bases: &[u32], percent: u32, rng: &mut Rng) -> Bases {
    bases.iter().map(|&base| if rng.below(100) < percent { rng.below(4) } else { base }).collect()
}

/// `n` sequences of random bases, each with one of the motifs in it, in turn, and which that is.
///
/// Each quarter of the sequence has a copy of the motif somewhere, its bases mutated with a chance of 10 %. Half of the sequences
/// are given by their other strand, which has the reverse complement of the motif.
///
/// # Panics
/// If there are no motifs, or a quarter is no longer than one.
#[must_use]
pub fn motif_sequences(n: usize, length: usize, motifs: &[Bases], rng: &mut Rng) -> (Vec<Bases>, Vec<u32>) {
    let part = length / 4;
    assert!(motifs.iter().all(|motif| motif.len() < part), "a quarter of {length} bases holds no motif");
    let labels: Vec<u32> = (0..motifs.len() as u32).cycle().take(n).collect();
    let sequence = |&label: &u32| {
        let mut bases: Bases = (0..length).map(|_| rng.below(4)).collect();
        for quarter in 0..4 {
            let copy = mutate(&motifs[label as usize], 10, rng);
            let at = quarter * part + rng.below((part - copy.len()) as u32) as usize;
            bases[at..at + copy.len()].copy_from_slice(&copy);
        }
        if rng.below(2) == 0 { bases } else { reverse_complement(&bases) }
    };
    (labels.iter().map(sequence).collect(), labels)
}

/// `count` random motifs.
#[must_use]
pub fn random_motifs(count: usize, rng: &mut Rng) -> Vec<Bases> {
    (0..count).map(|_| (0..MOTIF).map(|_| rng.below(4)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strands() {
        assert_eq!(reverse_complement(&[0, 0, 1, 2, 3]), [0, 1, 2, 3, 3]);
        let (mut rng, strand) = (Rng::new(0), vec![2; 4000]);
        assert_eq!(mutate(&strand, 0, &mut rng), strand);
        let changed = mutate(&strand, 40, &mut rng).iter().filter(|&&base| base != 2).count();
        // 30 % in 4,000 draws: four standard deviations are 116.
        assert!(changed.abs_diff(1200) < 116, "{changed}");
    }

    /// Closest match of a motif on either strand, in bases that differ: copies are near, other motifs are not.
    #[test]
    fn sequences_have_their_motif() {
        let mut rng = Rng::new(1);
        let motifs = random_motifs(3, &mut rng);
        let (sequences, labels) = motif_sequences(90, 96, &motifs, &mut rng);
        assert_eq!(labels[..4], [0, 1, 2, 0]);
        let differ = |bases: &[u32], motif: &[u32]| {
            let at = |window: &[u32]| window.iter().zip(motif).filter(|(a, b)| a != b).count();
            bases.windows(MOTIF).map(at).min().unwrap()
        };
        let near = sequences.iter().zip(&labels).filter(|(bases, label)| {
            let motif = &motifs[**label as usize];
            differ(bases, motif).min(differ(&reverse_complement(bases), motif)) <= 1
        });
        assert_eq!(near.count(), 90);
    }
}
