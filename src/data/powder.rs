//! X-ray diffraction of powders of cubic crystals, as a diffractometer might measure it.

use crate::rng::Rng;

/// Channels of a spectrum, evenly spaced in ln(sin theta).
pub const CHANNELS: usize = 320;
/// Lattices, in the order of their labels; those of the last two have atoms that scatter as 1 and 0.4.
pub const LATTICES: [&str; 6] =
    ["simple cubic", "body-centred", "face-centred", "diamond", "rock salt", "caesium chloride"];

/// sqrt(h^2 + k^2 + l^2) / a at the first channel and after the last, in 1/angstrom.
const RANGE: [f64; 2] = [0.2, 1.3];
/// Lattice constant a, in angstrom; width of a peak, in channels; background, in counts.
const CONSTANT: [f64; 2] = [3.5, 6.0];
const WIDTH: [f64; 2] = [1.5, 3.0];
const BACKGROUND: [f64; 2] = [0.0, 0.5];
/// Largest h.
const ORDER: i32 = 8;

/// `n` spectra `[n, CHANNELS]`, square roots of counts, and the lattice of each: every one in turn.
///
/// A family of planes h, k, l reflects where sin theta = lambda / (2 a) sqrt(h^2 + k^2 + l^2) (Bragg's law for a cubic lattice),
/// with its multiplicity times the squared structure factor of the lattice over the square of that root. Drawn evenly for each
/// spectrum: the lattice constant, 3.5 to 6 angstrom; the width of the peaks, 1.5 to 3 channels; a constant background. For each
/// family: a factor of 1/2 to 2, for grains that lie one way. For each channel: noise.
///
/// Cullity & Stock 2001, "Elements of X-Ray Diffraction", chapters 3 and 4: Bragg's law, multiplicities, structure factors.
#[must_use]
pub fn powder_spectra(n: usize, rng: &mut Rng) -> (Vec<f32>, Vec<u32>) {
    let mut between = |[low, high]: [f64; 2]| low + (high - low) * f64::from(rng.uniform());
    let (mut values, mut labels) = (vec![], vec![]);
    let step = (RANGE[1] / RANGE[0]).ln() / CHANNELS as f64;
    for lattice in (0..LATTICES.len()).cycle().take(n) {
        let (a, width) = (between(CONSTANT), between(WIDTH));
        let mut counts = [between(BACKGROUND); CHANNELS];
        for [h, k, l] in families() {
            let squares = f64::from(h * h + k * k + l * l);
            let height = multiplicity([h, k, l]) * structure(lattice, [h, k, l]) / squares;
            let height = height * 2.0_f64.powf(between([-1.0, 1.0]));
            let at = (squares.sqrt() / a / RANGE[0]).ln() / step;
            for (channel, count) in counts.iter_mut().enumerate() {
                *count += height * (-((channel as f64 - at) / width).powi(2) / 2.0).exp();
            }
        }
        values.extend(counts.map(|count| (count + between([0.0, 0.1])).sqrt() as f32));
        labels.push(lattice as u32);
    }
    (values, labels)
}

/// h >= k >= l >= 0, not all 0.
fn families() -> impl Iterator<Item = [i32; 3]> {
    (1..ORDER).flat_map(|h| (0..=h).flat_map(move |k| (0..=k).map(move |l| [h, k, l])))
}

/// Planes of a family: orders of the three numbers, times signs of those that are not 0.
fn multiplicity([h, k, l]: [i32; 3]) -> f64 {
    let orders = match (h == k, k == l) {
        (true, true) => 1,
        (false, false) => 6,
        _ => 3,
    };
    f64::from(orders << [h, k, l].iter().filter(|&&x| x > 0).count())
}

/// Squared structure factor, 1 where all atoms of a lattice of one kind scatter in step.
fn structure(lattice: usize, [h, k, l]: [i32; 3]) -> f64 {
    let (sum, alternating) = (h + k + l, |order: i32| (1.0 + 0.4 * f64::from(1 - 2 * (order % 2))).powi(2));
    let unmixed = f64::from((h - k) % 2 == 0 && (k - l) % 2 == 0);
    match lattice {
        0 => 1.0,
        1 => f64::from(sum % 2 == 0),
        2 => unmixed,
        3 => unmixed * [1.0, 0.5, 0.0, 0.5][(sum % 4) as usize],
        4 => unmixed * alternating(h),
        _ => alternating(sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first reflections of the textbook, and their multiplicities.
    #[test]
    fn lattices_reflect_where_they_should() {
        let first = |lattice| {
            let mut seen: Vec<_> = families().filter(|&hkl| structure(lattice, hkl) > 0.0).collect();
            seen.sort_by_key(|[h, k, l]| h * h + k * k + l * l);
            seen.truncate(4);
            seen
        };
        assert_eq!(first(0), [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 0, 0]]);
        assert_eq!(first(1), [[1, 1, 0], [2, 0, 0], [2, 1, 1], [2, 2, 0]]);
        assert_eq!(first(2), [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1]]);
        assert_eq!(first(3), [[1, 1, 1], [2, 2, 0], [3, 1, 1], [4, 0, 0]]);
        assert_eq!(first(4), first(2));
        assert_eq!(first(5), first(0));
        let planes = [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 0], [2, 1, 1], [3, 2, 1]].map(multiplicity);
        assert_eq!(planes, [6.0, 12.0, 8.0, 24.0, 24.0, 48.0]);
        // (111) of rock salt is the difference of its atoms, (200) their sum.
        assert!(
            (structure(4, [1, 1, 1]) - 0.36).abs() < 1e-12 && (structure(4, [2, 0, 0]) - 1.96).abs() < 1e-12
        );
    }

    #[test]
    fn spectra_are_named_by_their_seed() {
        let draw = |seed| powder_spectra(12, &mut Rng::new(seed));
        let (values, labels) = draw(3);
        assert_eq!((values.len(), &labels[..7]), (12 * CHANNELS, &[0, 1, 2, 3, 4, 5, 0][..]));
        assert!(values.iter().all(|v| v.is_finite() && *v >= 0.0));
        assert!(draw(3).0 == values && draw(4).0 != values);
    }
}
