//! The same images elsewhere in their frame: what an encoder that ignores position does not notice.

use super::dataset::Dataset;
use crate::rng::{below, philox, streams};

/// A shift reaches this part of an image's side, rounded up: 4 pixels of 28 or of 32, 28 of 224.
const REACH: usize = 8;

/// How one image is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Motion {
    /// Rows downwards.
    down: isize,
    /// Columns to the right, after the flip.
    right: isize,
    /// Whether left and right are exchanged.
    flip: bool,
}

impl Motion {
    /// That of image `index`: the words of the Philox block of its index, in the stream [`streams::MOVE`].
    fn of(index: u32, seed: u32, height: usize, width: usize) -> Self {
        let [down, right, flip, _] = philox([index, 0, 0, 0], [seed, streams::MOVE]);
        let shift = |bits: u32, side: usize| {
            let reach = reach(side);
            below(bits, 2 * reach as u32 + 1) as isize - reach as isize
        };
        Self { down: shift(down, height), right: shift(right, width), flip: below(flip, 2) == 1 }
    }

    /// Writes the image `from`, HWC with rows of `row` bytes and `channels` bytes a pixel, into `to`, which is black.
    fn apply(self, from: &[u8], to: &mut [u8], row: usize, channels: usize) {
        let (height, width) = (from.len() / row, row / channels);
        let source =
            |to: usize, shift: isize, side: usize| to.checked_add_signed(-shift).filter(|&x| x < side);
        for y in 0..height {
            let Some(from_y) = source(y, self.down, height) else { continue };
            for x in 0..width {
                let Some(shifted) = source(x, self.right, width) else { continue };
                let from_x = if self.flip { width - 1 - shifted } else { shifted };
                let pixel = &from[from_y * row + from_x * channels..][..channels];
                to[y * row + x * channels..][..channels].copy_from_slice(pixel);
            }
        }
    }
}

/// The largest shift along a side of `side` pixels.
pub(crate) fn reach(side: usize) -> usize {
    side.div_ceil(REACH)
}

impl Dataset {
    /// The same images with the same labels, each flipped left to right with probability 1/2, then shifted along both axes by
    /// a whole number of pixels, evenly from all those up to an eighth of the side (rounded up) either way: 4 pixels of 28 or
    /// 32. Pixels that come in are 0 in every channel: black, which is the background of the Fashion-MNIST images and a
    /// border like any other of a photograph.
    ///
    /// What happens to image `i` follows from `seed` and `i` alone, by integers: the same on every machine, whatever other
    /// images there are. So the first images of a moved set are the first images moved; of a selection, move first, then
    /// [`select`](Self::select).
    ///
    /// ```
    /// let test = wgrad::data::embedded::fashion_mnist()?.test;
    /// let moved = test.moved(0);
    /// assert_eq!(moved.labels, test.labels);
    /// assert_ne!(moved.images, test.images);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    #[must_use]
    pub fn moved(&self, seed: u32) -> Self {
        let [height, width, channels] = self.dims();
        let mut images = vec![0; self.images.len()];
        let pairs = self.images.chunks_exact(self.image_len().max(1));
        for (i, (from, to)) in pairs.zip(images.chunks_exact_mut(self.image_len().max(1))).enumerate() {
            Motion::of(i as u32, seed, height, width).apply(from, to, width * channels, channels);
        }
        let (name, labels, class_names) = (self.name.clone(), self.labels.clone(), self.class_names.clone());
        Self { name, images, labels, class_names, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` images whose bytes are never 0, so that what came in shows.
    fn images(count: usize, [height, width, channels]: [usize; 3]) -> Dataset {
        let bytes = count * height * width * channels;
        Dataset {
            name: "test".into(),
            images: (0..bytes).map(|i| 1 + (i * 31 % 251) as u8).collect(),
            labels: (0..count as u32).collect(),
            height,
            width,
            channels,
            class_names: vec!["a".into(); count],
            mean: [0.25; 3],
            std: [0.5; 3],
        }
    }

    /// Two rows of three pixels, moved.
    fn moved(motion: Motion, image: &[u8], channels: usize) -> Vec<u8> {
        let mut to = vec![0; image.len()];
        motion.apply(image, &mut to, 3 * channels, channels);
        to
    }

    #[test]
    fn a_shift_is_a_shift_and_a_flip_is_a_flip() {
        let still = Motion { down: 0, right: 0, flip: false };
        let image = [1, 2, 3, 4, 5, 6];
        assert_eq!(moved(still, &image, 1), image);
        assert_eq!(moved(Motion { down: 1, ..still }, &image, 1), [0, 0, 0, 1, 2, 3]);
        assert_eq!(moved(Motion { down: -1, ..still }, &image, 1), [4, 5, 6, 0, 0, 0]);
        assert_eq!(moved(Motion { right: 1, ..still }, &image, 1), [0, 1, 2, 0, 4, 5]);
        assert_eq!(moved(Motion { right: -2, ..still }, &image, 1), [3, 0, 0, 6, 0, 0]);
        assert_eq!(moved(Motion { flip: true, ..still }, &image, 1), [3, 2, 1, 6, 5, 4]);
        assert_eq!(moved(Motion { down: 1, right: 1, flip: true }, &image, 1), [0, 0, 0, 0, 3, 2]);
        assert_eq!(moved(Motion { down: 5, right: -5, flip: true }, &image, 1), [0; 6]);
        // The channels of a pixel stay together.
        let rgb: Vec<u8> = (1..=18).collect();
        let expected = [4, 5, 6, 1, 2, 3, 0, 0, 0, 13, 14, 15, 10, 11, 12, 0, 0, 0];
        assert_eq!(moved(Motion { right: -1, flip: true, ..still }, &rgb, 3), expected);
    }

    #[test]
    fn shifts_are_even_up_to_an_eighth_and_half_are_flipped() {
        let sides = [1, 8, 9, 28, 32, 64, 224];
        assert_eq!(sides.map(reach), [1, 1, 2, 4, 4, 8, 28]);
        let n = 9000_u32;
        let motions: Vec<Motion> = (0..n).map(|i| Motion::of(i, 0, 28, 32)).collect();
        // A share p of n draws is within four standard deviations of its mean, sqrt(p (1 - p) / n).
        let close = |count: usize, p: f64| {
            let share = count as f64 / f64::from(n);
            assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / f64::from(n)).sqrt(), "{share} for {p}");
        };
        for shift in -4..=4 {
            close(motions.iter().filter(|m| m.down == shift).count(), 1.0 / 9.0);
            close(motions.iter().filter(|m| m.right == shift).count(), 1.0 / 9.0);
            close(motions.iter().filter(|m| m.flip && m.right == shift).count(), 1.0 / 18.0);
        }
        close(motions.iter().filter(|m| m.flip).count(), 0.5);
        assert!(motions.iter().all(|m| m.down.abs() <= 4 && m.right.abs() <= 4));
    }

    #[test]
    fn an_image_moves_by_its_index_and_nothing_else() {
        let all = images(40, [16, 9, 3]);
        let moved = all.moved(7);
        assert_eq!(moved, all.moved(7));
        assert_ne!(moved.images, all.moved(8).images);
        assert_ne!(moved.images, all.images);
        assert_eq!(
            Dataset { images: all.images.clone(), ..moved.clone() },
            all,
            "all but the pixels is kept"
        );

        let mut few = all.clone();
        few.truncate(13);
        let mut first = moved.clone();
        first.truncate(13);
        assert_eq!(few.moved(7), first, "however many images there are");

        // Other pixels move alike: what is black in one is black in the other.
        let other = Dataset { images: all.images.iter().rev().copied().collect(), ..all.clone() };
        let black = |data: &Dataset| data.images.iter().map(|&byte| byte == 0).collect::<Vec<_>>();
        assert_eq!(black(&other.moved(7)), black(&moved));
        let empty = images(0, [16, 9, 3]);
        assert_eq!(empty.moved(7), empty);
    }

    /// Worked out by another implementation of Philox.
    #[test]
    fn motions_are_the_same_everywhere() {
        let known = [(0, 3, 3, false), (1, -1, 2, false), (2, 3, 2, false), (1999, 0, 0, false)];
        for (index, down, right, flip) in known {
            assert_eq!(Motion::of(index, 0, 28, 28), Motion { down, right, flip }, "image {index}");
        }
    }
}
