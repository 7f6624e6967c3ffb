//! One augmented view of one image: `shaders/augment.wgsl`.
//!
//! A view is a function of its [`Recipe`] and its [`Name`]. The operations and their order are torchvision's:
//! resized crop, flip, colour jitter in random order, grey, blur, solarise, normalise (SimCLR, arXiv 2002.05709,
//! appendix A; BYOL, arXiv 2006.07733, appendix B, for the last two). Images are HWC with one or three channels,
//! values in [0, 1]. Every discrete choice is made from integers, and the size of a crop from `f32` products alone, which
//! are rounded alike everywhere: CPU and GPU agree on the choices to the bit, and on the pixels to tolerance.

use crate::reference::philox::unit;
use crate::rng::{below, philox};

/// What may happen to an image, and how likely it is. [`Recipe::plain`] does nothing but normalise.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Height and width of the view; those of the image where `None`.
    pub size: Option<[usize; 2]>,
    /// Random resized crop.
    pub crop: Option<Crop>,
    /// Probability of a horizontal flip.
    pub flip: f32,
    /// Colour jitter.
    pub jitter: Option<Jitter>,
    /// Probability of turning the view grey. Single-channel images ignore it.
    pub grayscale: f32,
    /// Gaussian blur.
    pub blur: Option<Blur>,
    /// Solarisation: v becomes 1 - v from a threshold on.
    pub solarize: Option<Solarize>,
    /// Mean of each channel in [0, 1]; single-channel images use the first.
    pub mean: [f32; 3],
    /// Standard deviation of each channel; single-channel images use the first.
    pub std: [f32; 3],
}

/// A box of random area and aspect, resized to the size of the view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Range of the area, as a share of the image's.
    pub scale: [f32; 2],
    /// Range of width / height, drawn evenly on a logarithmic scale.
    pub ratio: [f32; 2],
}

/// Brightness, contrast, saturation and hue in random order. A strength s is a factor from [max(0, 1 - s), 1 + s], for
/// hue a shift from [-s, s] of the circle. Single-channel images have no saturation and no hue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    /// Probability that any of the four happens.
    pub p: f32,
    /// Strength of the brightness factor.
    pub brightness: f32,
    /// Strength of the contrast factor.
    pub contrast: f32,
    /// Strength of the saturation factor.
    pub saturation: f32,
    /// Largest hue shift, at most 0.5.
    pub hue: f32,
}

/// Gaussian blur with reflected edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blur {
    /// Probability.
    pub p: f32,
    /// Range of the standard deviation in pixels.
    pub sigma: [f32; 2],
    /// Taps on each side of the centre, at most [`MAX_BLUR_RADIUS`] and below the view's height and width.
    pub radius: usize,
}

/// Inversion of the bright pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solarize {
    /// Probability.
    pub p: f32,
    /// The first value that is inverted.
    pub threshold: f32,
}

/// The widest blur: 31 taps.
pub const MAX_BLUR_RADIUS: usize = 15;

impl Recipe {
    /// Normalise and nothing else.
    #[must_use]
    pub fn plain(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            size: None,
            crop: None,
            flip: 0.0,
            jitter: None,
            grayscale: 0.0,
            blur: None,
            solarize: None,
            mean,
            std,
        }
    }
}

/// What a view's random numbers are called. The position in a batch is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Seed and stream.
    pub key: [u32; 2],
    /// Epoch or step.
    pub time: u32,
    /// Index of the image in its data set.
    pub index: u32,
    /// Number of the view.
    pub view: u32,
}

impl Name {
    /// The four words of one draw. Draw 0: flip, jitter, its order, grey. Draw 1: the four jitter factors. Draw 2: blur,
    /// its sigma, solarise. Draw 3 + t: area, aspect, top and left of the crop's try t.
    #[must_use]
    pub fn block(&self, draw: u32) -> [u32; 4] {
        philox([self.time, self.index, self.view, draw], self.key)
    }
}

/// A probability as a count of the 2^24 values a word's upper bits can take.
#[must_use]
pub fn chance(p: f32) -> u32 {
    (f64::from(p) * f64::from(1 << 24)).round() as u32
}

fn happens(bits: u32, p: f32) -> bool {
    bits >> 8 < chance(p)
}

/// A box of an image, in whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// The numbers a crop's draws are made with, for one image size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropPlan {
    /// Height and width of the image.
    pub size: [u32; 2],
    /// Tries before the centre box is taken.
    pub tries: u32,
    /// The smallest share of the area, in units of 2^-24.
    pub scale_low: u32,
    /// Number of shares, one unit apart, that can be drawn.
    pub scale_count: u32,
    /// Pixels of the image a unit of the share.
    pub area: f32,
    /// The smallest aspect.
    pub ratio_low: f32,
    /// One over the largest aspect.
    pub inverse_high: f32,
    /// The aspect is `ratio_low` times this to the power j, j one of [`CropPlan::RATIOS`] integers.
    pub ratio_step: f32,
    /// The box where no try fits: the largest central one within the range of aspects.
    pub center: Rect,
}

impl CropPlan {
    /// Number of aspects that can be drawn.
    pub const RATIOS: u32 = 1024;

    /// The plan for images of `size` (height, width). Without a crop it is the whole image.
    #[must_use]
    pub fn new(crop: Option<Crop>, [height, width]: [usize; 2]) -> Self {
        let Crop { scale, ratio } = crop.unwrap_or(Crop { scale: [1.0; 2], ratio: [1.0; 2] });
        let [low, high] = ratio.map(f64::from);
        let [scale_low, scale_high] = scale.map(chance);
        let (h, w) = (height as f64, width as f64);
        let (box_h, box_w) = match w / h {
            _ if crop.is_none() => (h, w),
            aspect if aspect < low => ((w / low).round(), w),
            aspect if aspect > high => (h, (h * high).round()),
            _ => (h, w),
        };
        let center = Rect {
            top: (h - box_h) as u32 / 2,
            left: (w - box_w) as u32 / 2,
            height: box_h as u32,
            width: box_w as u32,
        };
        Self {
            size: [height as u32, width as u32],
            tries: if crop.is_some() { 10 } else { 0 },
            scale_low,
            scale_count: scale_high - scale_low + 1,
            area: (height * width) as f32 / (1 << 24) as f32,
            ratio_low: ratio[0],
            inverse_high: (1.0 / high) as f32,
            ratio_step: ((high / low).ln() / f64::from(Self::RATIOS - 1)).exp() as f32,
            center,
        }
    }

    /// The box that a view's draws choose.
    #[must_use]
    pub fn draw(&self, name: &Name) -> Rect {
        let [image_height, image_width] = self.size;
        for attempt in 0..self.tries {
            let bits = name.block(3 + attempt);
            let area = (self.scale_low + below(bits[0], self.scale_count)) as f32 * self.area;
            let j = below(bits[1], Self::RATIOS);
            let width = rounded_root(area * (self.ratio_low * power(self.ratio_step, j)));
            let height =
                rounded_root(area * (self.inverse_high * power(self.ratio_step, Self::RATIOS - 1 - j)));
            if width > 0 && width <= image_width && height > 0 && height <= image_height {
                let top = below(bits[2], image_height - height + 1);
                let left = below(bits[3], image_width - width + 1);
                return Rect { top, left, height, width };
            }
        }
        self.center
    }
}

/// `base` to an integer power below 1024 by squaring: products only, in a fixed order.
fn power(base: f32, exponent: u32) -> f32 {
    let (mut result, mut square) = (1.0f32, base);
    for bit in 0..10 {
        if exponent >> bit & 1 == 1 {
            result *= square;
        }
        square *= square;
    }
    result
}

/// The integer nearest to sqrt(x): the root only proposes, (k + 1/2)^2 = k^2 + k + 1/4 decides.
fn rounded_root(x: f32) -> u32 {
    let k = x.sqrt() as u32;
    if x >= (k * k + k) as f32 + 0.25 { k + 1 } else { k }
}

/// The four jitter operations in the order a word chooses: digits of `below(bits, 24)` in base 4, 3, 2, 1 take
/// from what is left of 0 brightness, 1 contrast, 2 saturation, 3 hue.
#[must_use]
pub fn jitter_order(bits: u32) -> [usize; 4] {
    let mut number = below(bits, 24) as usize;
    let mut left = vec![0, 1, 2, 3];
    [4, 3, 2, 1].map(|base| {
        let digit = number % base;
        number /= base;
        left.remove(digit)
    })
}

/// Even in [low, high).
fn between(bits: u32, low: f64, high: f64) -> f64 {
    low + (high - low) * unit(bits)
}

/// Even in [max(0, 1 - s), 1 + s).
fn factor(bits: u32, strength: f32) -> f64 {
    let s = f64::from(strength);
    between(bits, (1.0 - s).max(0.0), 1.0 + s)
}

/// The whole pipeline: bytes HWC of size `[height, width, channels]` to the normalised view.
#[must_use]
pub fn view(recipe: &Recipe, bytes: &[u8], dims: [usize; 3], name: &Name) -> Vec<f64> {
    let [height, width, channels] = dims;
    let [out_height, out_width] = recipe.size.unwrap_or([height, width]);
    let [choice, factors, late] = [0, 1, 2].map(|draw| name.block(draw));

    let rect = CropPlan::new(recipe.crop, [height, width]).draw(name);
    let mut image = resized_crop(bytes, dims, rect, [out_height, out_width]);
    if happens(choice[0], recipe.flip) {
        flip(&mut image, out_width, channels);
    }
    if let Some(jitter) = recipe.jitter.filter(|jitter| happens(choice[1], jitter.p)) {
        for op in jitter_order(choice[2]) {
            match op {
                0 => brightness(&mut image, factor(factors[0], jitter.brightness)),
                1 => contrast(&mut image, channels, factor(factors[1], jitter.contrast)),
                2 if channels == 3 => saturation(&mut image, factor(factors[2], jitter.saturation)),
                3 if channels == 3 => hue(&mut image, between(factors[3], -1.0, 1.0) * f64::from(jitter.hue)),
                _ => {}
            }
        }
    }
    if channels == 3 && happens(choice[3], recipe.grayscale) {
        grayscale(&mut image);
    }
    if let Some(b) = recipe.blur.filter(|blur| happens(late[0], blur.p)) {
        let sigma = between(late[1], f64::from(b.sigma[0]), f64::from(b.sigma[1]));
        image = blur(&image, [out_height, out_width, channels], b.radius, sigma);
    }
    if let Some(s) = recipe.solarize.filter(|solarize| happens(late[2], solarize.p)) {
        solarize(&mut image, f64::from(s.threshold));
    }
    normalize(&mut image, channels, recipe.mean, recipe.std);
    image
}

/// The box, bilinearly resized to `out` (height, width), in [0, 1]. Pixel centres are at half integers
/// (`align_corners=False`), neighbours are clamped to the box, and there is no antialiasing.
#[must_use]
pub fn resized_crop(bytes: &[u8], dims: [usize; 3], rect: Rect, out: [usize; 2]) -> Vec<f64> {
    let [_, width, channels] = dims;
    // Position of output `i` on an axis of `n` pixels: lower neighbour, upper neighbour, weight of the upper.
    let neighbours = |i: usize, n: u32, out: usize| {
        let at = ((i as f64 + 0.5) * f64::from(n) / out as f64 - 0.5).max(0.0);
        let lower = at as usize;
        (lower, (lower + 1).min(n as usize - 1), at - lower as f64)
    };
    let mut image = Vec::with_capacity(out[0] * out[1] * channels);
    for y in 0..out[0] {
        let (y0, y1, wy) = neighbours(y, rect.height, out[0]);
        for x in 0..out[1] {
            let (x0, x1, wx) = neighbours(x, rect.width, out[1]);
            for c in 0..channels {
                let texel = |y: usize, x: usize| {
                    let at = ((rect.top as usize + y) * width + rect.left as usize + x) * channels + c;
                    f64::from(bytes[at]) / 255.0
                };
                let upper = texel(y0, x0) * (1.0 - wx) + texel(y0, x1) * wx;
                let lower = texel(y1, x0) * (1.0 - wx) + texel(y1, x1) * wx;
                image.push(upper * (1.0 - wy) + lower * wy);
            }
        }
    }
    image
}

/// Mirrors each row.
pub fn flip(image: &mut [f64], width: usize, channels: usize) {
    for row in image.chunks_exact_mut(width * channels) {
        for x in 0..width / 2 {
            for c in 0..channels {
                row.swap(x * channels + c, (width - 1 - x) * channels + c);
            }
        }
    }
}

/// .2989 R + .587 G + .114 B (ITU-R 601, with torchvision's digits); the value itself where there is one channel.
fn grey(pixel: &[f64]) -> f64 {
    match pixel {
        [r, g, b] => 0.2989 * r + 0.587 * g + 0.114 * b,
        _ => pixel[0],
    }
}

/// v <- clamp(f v, 0, 1).
pub fn brightness(image: &mut [f64], f: f64) {
    for v in image {
        *v = (f * *v).clamp(0.0, 1.0);
    }
}

/// v <- clamp(f v + (1 - f) m, 0, 1), m the mean grey value of the image.
pub fn contrast(image: &mut [f64], channels: usize, f: f64) {
    let pixels = image.len() / channels;
    let mean = image.chunks_exact(channels).map(grey).sum::<f64>() / pixels as f64;
    for v in image {
        *v = (f * *v + (1.0 - f) * mean).clamp(0.0, 1.0);
    }
}

/// v <- clamp(f v + (1 - f) grey, 0, 1) in each pixel.
pub fn saturation(image: &mut [f64], f: f64) {
    for pixel in image.chunks_exact_mut(3) {
        let grey = grey(pixel);
        for v in pixel {
            *v = (f * *v + (1.0 - f) * grey).clamp(0.0, 1.0);
        }
    }
}

/// Turns the hue of each pixel in HSV by `shift` of the circle.
pub fn hue(image: &mut [f64], shift: f64) {
    for pixel in image.chunks_exact_mut(3) {
        let [h, s, v] = rgb_to_hsv([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&hsv_to_rgb([(h + shift).rem_euclid(1.0), s, v]));
    }
}

/// Hue in [0, 1), saturation and value in [0, 1] (Smith 1978).
#[must_use]
pub fn rgb_to_hsv([r, g, b]: [f64; 3]) -> [f64; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = max - min;
    if chroma == 0.0 {
        return [0.0, 0.0, max];
    }
    let sextant = if max == r {
        (g - b) / chroma
    } else if max == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    [(sextant / 6.0).rem_euclid(1.0), chroma / max, max]
}

/// The inverse of [`rgb_to_hsv`].
#[must_use]
pub fn hsv_to_rgb([h, s, v]: [f64; 3]) -> [f64; 3] {
    let sextant = (6.0 * h).floor();
    let f = 6.0 * h - sextant;
    let (p, q, t) = (v * (1.0 - s), v * (1.0 - s * f), v * (1.0 - s * (1.0 - f)));
    match sextant as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Each pixel becomes its grey value in all three channels.
pub fn grayscale(image: &mut [f64]) {
    for pixel in image.chunks_exact_mut(3) {
        let grey = grey(pixel);
        pixel.fill(grey);
    }
}

/// Convolution with a normalised Gaussian of 2 `radius` + 1 taps on each axis; the edge is reflected without repeating
/// its pixel.
#[must_use]
pub fn blur(image: &[f64], [height, width, channels]: [usize; 3], radius: usize, sigma: f64) -> Vec<f64> {
    let r = radius as isize;
    let weight = |d: isize| (-0.5 * (d as f64 / sigma).powi(2)).exp();
    let total: f64 = (-r..=r).map(weight).sum();
    let reflect = |i: isize, n: usize| {
        let last = n as isize - 1;
        (last - (last - i.abs()).abs()) as usize
    };
    let mut out = Vec::with_capacity(image.len());
    for y in 0..height as isize {
        for x in 0..width as isize {
            for c in 0..channels {
                let mut sum = 0.0;
                for dy in -r..=r {
                    for dx in -r..=r {
                        let at = (reflect(y + dy, height) * width + reflect(x + dx, width)) * channels + c;
                        sum += weight(dy) * weight(dx) * image[at];
                    }
                }
                out.push(sum / (total * total));
            }
        }
    }
    out
}

/// v <- 1 - v where v is at least the threshold.
pub fn solarize(image: &mut [f64], threshold: f64) {
    for v in image {
        if *v >= threshold {
            *v = 1.0 - *v;
        }
    }
}

/// v <- (v - mean) / std, channel by channel.
pub fn normalize(image: &mut [f64], channels: usize, mean: [f32; 3], std: [f32; 3]) {
    for pixel in image.chunks_exact_mut(channels) {
        for (c, v) in pixel.iter_mut().enumerate() {
            *v = (*v - f64::from(mean[c])) / f64::from(std[c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROP: Crop = Crop { scale: [0.2, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] };

    fn name(index: u32) -> Name {
        Name { key: [1, 2], time: 3, index, view: 0 }
    }

    // torchvision's RandomResizedCrop.get_params in f64, on the same words. It may differ only where the root lies on
    // the edge between two integers.
    #[test]
    fn crop_boxes_are_torchvisions() {
        let (plan, size) = (CropPlan::new(Some(CROP), [28, 36]), [28.0, 36.0]);
        let (mut ties, mut retries) = (0, 0);
        for index in 0..5000 {
            let name = name(index);
            let mut attempt = 0;
            let expected = loop {
                let bits = name.block(3 + attempt);
                let area = size[0] * size[1] * between(bits[0], 0.2, 1.0);
                let log = f64::from(4.0f32 / 3.0).ln();
                let aspect = (-log + 2.0 * log * f64::from(below(bits[1], 1024)) / 1023.0).exp();
                let (w, h) = ((area * aspect).sqrt(), (area / aspect).sqrt());
                if w.round() <= size[1] && h.round() <= size[0] {
                    break (w, h);
                }
                attempt += 1;
            };
            retries += u32::from(attempt > 0);
            let rect = plan.draw(&name);
            let tie = |x: f64| (x.fract() - 0.5).abs() < 1e-4;
            if tie(expected.0) || tie(expected.1) {
                ties += 1;
                continue;
            }
            assert_eq!(
                (f64::from(rect.width), f64::from(rect.height)),
                (expected.0.round(), expected.1.round())
            );
            assert!(rect.top + rect.height <= 28 && rect.left + rect.width <= 36);
        }
        assert!(ties < 10 && retries > 100, "{ties} ties, {retries} retries");
    }

    #[test]
    fn a_crop_that_never_fits_is_the_centre() {
        let tall = CropPlan::new(Some(Crop { scale: [4.0, 4.0], ratio: [0.75, 1.5] }), [90, 30]);
        assert_eq!(tall.draw(&name(0)), Rect { top: 25, left: 0, height: 40, width: 30 });
        let wide = CropPlan::new(Some(Crop { scale: [4.0, 4.0], ratio: [0.75, 1.5] }), [20, 91]);
        assert_eq!(wide.draw(&name(0)), Rect { top: 0, left: 30, height: 20, width: 30 });
        assert_eq!(
            CropPlan::new(None, [5, 90]).draw(&name(0)),
            Rect { top: 0, left: 0, height: 5, width: 90 }
        );
    }

    #[test]
    fn roots_round_to_the_nearest_integer() {
        for k in 1..2000u32 {
            let edge = (k * k + k) as f32 + 0.25;
            assert_eq!(
                (rounded_root(edge), rounded_root(edge - 0.25), rounded_root((k * k) as f32)),
                (k + 1, k, k)
            );
        }
        assert_eq!(rounded_root(0.0), 0);
    }

    #[test]
    fn every_order_is_drawn_equally_often() {
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..24u32 {
            let bits = (u64::from(number) << 32).div_ceil(24) as u32;
            let mut order = jitter_order(bits);
            *counts.entry(order).or_insert(0) += 1;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
        assert!(counts.len() == 24 && counts.values().all(|&n| n == 1));
    }

    // Values from Python's colorsys.
    #[test]
    fn hsv_is_colorsys() {
        assert_eq!(rgb_to_hsv([0.2, 0.4, 0.4]), [0.5, 0.5, 0.4]);
        let [h, s, v] = rgb_to_hsv([0.9, 0.1, 0.3]);
        assert!((h - 0.958_333_333_333).abs() < 1e-9 && (s - 0.888_888_888_889).abs() < 1e-9 && v == 0.9);
        for i in 0..1000u32 {
            let rgb = philox([i, 0, 0, 0], [0, 0]).map(unit);
            let back = hsv_to_rgb(rgb_to_hsv([rgb[0], rgb[1], rgb[2]]));
            assert!((0..3).all(|c| (back[c] - rgb[c]).abs() < 1e-12), "{rgb:?} {back:?}");
        }
    }

    #[test]
    fn a_plain_recipe_keeps_the_image() {
        let bytes: Vec<u8> = (0..3 * 5 * 7).map(|i| (i * 37 % 256) as u8).collect();
        let got = view(&Recipe::plain([0.0; 3], [1.0; 3]), &bytes, [5, 7, 3], &name(0));
        assert!(got.iter().zip(&bytes).all(|(v, &b)| (v - f64::from(b) / 255.0).abs() < 1e-15));
    }

    #[test]
    fn blur_keeps_constants_and_reflects() {
        let flat = blur(&[0.25; 12], [4, 3, 1], 2, 1.3);
        assert!(flat.iter().all(|v| (v - 0.25).abs() < 1e-15));
        // One row of three, radius 1: the tap left of pixel 0 is pixel 1.
        let (w, total) = ((-0.5f64).exp(), 1.0 + 2.0 * (-0.5f64).exp());
        let row = blur(&[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [2, 3, 1], 1, 1.0);
        assert!((row[0] - 1.0 / total).abs() < 1e-15 && (row[1] - w / total).abs() < 1e-15 && row[2] == 0.0);
    }
}
