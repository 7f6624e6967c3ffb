//! Views against `reference::augment`: each operation alone, whole recipes, and what a view may depend on.

use crate::common::*;
use wgrad::Tensor;
use wgrad::data::{Augment, Blur, Crop, Images, Jitter, Recipe, Solarize};
use wgrad::reference::augment::{self, Name};
use wgrad::rng::{below, philox, streams};

const SEED: u32 = 5;

// Positions are f32: at 32 pixels a neighbour's weight is off by up to 4e-6, times a step of at most 1; the mean and the
// operations after it add a few units in the last place of values up to 1. A wrong box or choice is off by far more.
const PIXEL: Tol = Tol::new(2e-5, 0.0);

// Sizes of images: single, row, column, prime, and those of the real data sets. A workgroup has 8 or 64 invocations.
const SIZES: [[usize; 2]; 7] = [[1, 1], [1, 13], [13, 1], [5, 7], [8, 8], [28, 28], [32, 32]];

fn plain() -> Recipe {
    Recipe::plain([0.0; 3], [1.0; 3])
}

fn everything() -> Recipe {
    Recipe {
        crop: Some(Crop { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }),
        flip: 0.5,
        jitter: Some(Jitter { p: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }),
        grayscale: 0.2,
        ..plain()
    }
}

fn jitter(brightness: f32, contrast: f32, saturation: f32, hue: f32) -> Recipe {
    Recipe { jitter: Some(Jitter { p: 1.0, brightness, contrast, saturation, hue }), ..plain() }
}

/// Random bytes; every fourth image is two grey levels, where hue and saturation have nothing to hold on to.
fn bytes(count: usize, dims: [usize; 3]) -> Vec<u8> {
    let size = dims.iter().product::<usize>();
    let byte = |image: usize, i: usize| {
        let random = philox([i as u32, image as u32, 0, 0], [77, 0]);
        if image % 4 == 3 { 40 + 150 * u8::from(i * 2 < size) } else { below(random[0], 256) as u8 }
    };
    (0..count).flat_map(|image| (0..size).map(move |i| byte(image, i))).collect()
}

fn indices(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| 3 + 7 * i).collect()
}

fn upload(count: usize, dims: [usize; 3]) -> Images {
    Images::new(gpu(), &bytes(count, dims), &indices(count), dims).unwrap()
}

/// Compares views 0 and 1 of `count` images.
#[track_caller]
fn check(what: &str, recipe: &Recipe, count: usize, dims: [usize; 3], tol: Tol) {
    const TIME: u32 = 11;
    let got = Augment::new(recipe.clone(), SEED).views(&upload(count, dims), TIME, 0..2).to_vec().unwrap();
    let (bytes, indices) = (bytes(count, dims), indices(count));
    let size = dims.iter().product::<usize>();
    let reference = |view: u32, image: usize| {
        let name = Name { key: [SEED, streams::AUGMENT], time: TIME, index: indices[image], view };
        augment::view(recipe, &bytes[image * size..][..size], dims, &name)
    };
    let want: Vec<f64> = (0..2).flat_map(|v| (0..count).flat_map(move |i| reference(v, i))).collect();
    assert_close(&format!("{what}, {count} images of {dims:?}"), &got, &want, tol);
}

fn check_sizes(what: &str, recipe: &Recipe, tol: Tol) {
    for [height, width] in SIZES {
        for channels in [1, 3] {
            check(what, recipe, 9, [height, width, channels], tol);
        }
    }
}

#[test]
fn nothing_but_conversion() {
    check_sizes("plain", &plain(), PIXEL);
}

#[test]
fn crop() {
    check_sizes("crop", &Recipe { crop: everything().crop, ..plain() }, PIXEL);
    // Enough draws for retries, for the centre box, and for every size of a box.
    check("crop", &Recipe { crop: everything().crop, ..plain() }, 2000, [9, 12, 1], PIXEL);
    let wide = Crop { scale: [0.9, 1.0], ratio: [2.0, 2.5] };
    check("crop to the centre", &Recipe { crop: Some(wide), ..plain() }, 500, [20, 22, 1], PIXEL);
}

#[test]
fn crop_to_another_size() {
    let recipe = Recipe { size: Some([13, 9]), flip: 0.5, crop: everything().crop, ..plain() };
    check("small crop", &recipe, 40, [32, 32, 3], PIXEL);
    check("large crop", &recipe, 40, [4, 5, 1], PIXEL);
}

#[test]
fn flip() {
    check_sizes("flip", &Recipe { flip: 1.0, ..plain() }, PIXEL);
    check_sizes("flip", &Recipe { flip: 0.5, ..plain() }, PIXEL);
}

#[test]
fn brightness() {
    check_sizes("brightness", &jitter(0.8, 0.0, 0.0, 0.0), PIXEL);
}

#[test]
fn contrast() {
    check_sizes("contrast", &jitter(0.0, 0.8, 0.0, 0.0), PIXEL);
}

#[test]
fn saturation() {
    check_sizes("saturation", &jitter(0.0, 0.0, 1.5, 0.0), PIXEL);
}

#[test]
fn hue() {
    check_sizes("hue", &jitter(0.0, 0.0, 0.0, 0.5), PIXEL);
}

#[test]
fn jitter_in_every_order() {
    // 200 images in two views: each of the 24 orders about 16 times.
    check("jitter", &jitter(0.4, 0.4, 0.4, 0.1), 200, [5, 7, 3], PIXEL);
    check("jitter", &jitter(0.4, 0.4, 0.4, 0.1), 200, [5, 7, 1], PIXEL);
}

#[test]
fn grayscale() {
    check_sizes("grayscale", &Recipe { grayscale: 1.0, ..plain() }, PIXEL);
}

#[test]
fn blur() {
    for (radius, size) in [(0, [1, 1]), (1, [2, 3]), (1, [32, 32]), (4, [5, 7]), (15, [17, 16])] {
        for channels in [1, 3] {
            let blur = Blur { p: 0.7, sigma: [0.1, 2.0], radius };
            check("blur", &Recipe { blur: Some(blur), ..plain() }, 9, [size[0], size[1], channels], PIXEL);
        }
    }
}

#[test]
fn solarize() {
    // No byte lies on a threshold of 0.3, so nothing depends on rounding.
    let solarize = Some(Solarize { p: 0.5, threshold: 0.3 });
    check_sizes("solarize", &Recipe { solarize, ..plain() }, PIXEL);
}

#[test]
fn normalize() {
    let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);
    // Pixels are divided by the deviation, at least .24.
    check_sizes("normalize", &Recipe::plain(mean, std), Tol::new(PIXEL.abs / 0.24, 0.0));
}

#[test]
fn whole_recipes() {
    let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);
    let tol = Tol::new(PIXEL.abs / 0.24, 0.0);
    check_sizes("simclr", &Recipe::simclr(mean, std), tol);
    check_sizes("simclr_grey", &Recipe::simclr_grey([0.2860; 3], [0.3530; 3]), tol);
    // At a threshold of .5 solarisation is continuous.
    let late = Recipe {
        blur: Some(Blur { p: 0.5, sigma: [0.1, 2.0], radius: 2 }),
        solarize: Some(Solarize { p: 0.5, threshold: 0.5 }),
        ..everything()
    };
    check("everything", &late, 60, [32, 32, 3], PIXEL);
    check("everything", &late, 60, [28, 28, 1], PIXEL);
    check(
        "a blur of probability 0",
        &Recipe { blur: Some(Blur { p: 0.0, ..late.blur.unwrap() }), ..late },
        9,
        [5, 7, 3],
        PIXEL,
    );
}

#[test]
fn more_groups_than_one_dimension_has() {
    check("many", &everything(), 40_001, [2, 1, 1], PIXEL);
}

#[test]
fn plain_is_the_view_without_augmentation() {
    for (count, dims) in [(1, [1, 1, 1]), (3, [5, 7, 3]), (2, [28, 28, 1]), (5, [32, 32, 3])] {
        let recipe = Recipe::plain([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]);
        let images = upload(count, dims);
        let y = Augment::new(everything(), 0).plain(&images);
        assert_eq!(y.shape()[..], [count, dims[0], dims[1], dims[2]]);
        let mut want: Vec<f64> = bytes(count, dims).iter().map(|&b| f64::from(b) / 255.0).collect();
        assert_close("plain", &y.to_vec().unwrap(), &want, F32);
        augment::normalize(&mut want, dims[2], recipe.mean, recipe.std);
        let y = Augment::new(recipe, 0).plain(&images);
        assert_close("plain, normalised", &y.to_vec().unwrap(), &want, F32);
    }
    // 65,537 workgroups of 64 words.
    let large = upload(65_537, [16, 16, 1]);
    assert_eq!(Augment::new(plain(), 0).plain(&large).len(), 65_537 * 256);
}

fn rows(y: &Tensor) -> Vec<Vec<f32>> {
    let row = y.len() / y.shape()[0];
    y.to_vec().unwrap().chunks(row).map(<[f32]>::to_vec).collect()
}

#[test]
fn a_view_does_not_depend_on_its_batch() {
    let (count, dims) = (12, [28, 28, 3]);
    let size = dims.iter().product::<usize>();
    let (bytes, indices) = (bytes(count, dims), indices(count));
    let augment = Augment::new(everything(), SEED);
    let whole = rows(&augment.views(&upload(count, dims), 4, 0..2));
    // The same images backwards, in batches of five.
    let order: Vec<usize> = (0..count).rev().collect();
    for share in order.chunks(5) {
        let pixels: Vec<u8> = share.iter().flat_map(|&i| bytes[i * size..][..size].to_vec()).collect();
        let names: Vec<u32> = share.iter().map(|&i| indices[i]).collect();
        let part = rows(&augment.views(&Images::new(gpu(), &pixels, &names, dims).unwrap(), 4, 0..2));
        for (place, &i) in share.iter().enumerate() {
            assert!(part[place] == whole[i], "view 0 of image {i}");
            assert!(part[share.len() + place] == whole[count + i], "view 1 of image {i}");
        }
    }
}

#[test]
fn a_view_depends_on_its_name() {
    let (count, dims) = (16, [28, 28, 3]);
    let images = upload(count, dims);
    let augment = Augment::new(everything(), SEED);
    let base = rows(&augment.views(&images, 4, 0..2));
    assert!(base == rows(&augment.views(&images, 4, 0..2)), "two launches, the same bits");
    assert!(base[count..] == rows(&augment.views(&images, 4, 1..2)), "view 1 alone is view 1 of a pair");
    let others = [
        ("view", augment.views(&images, 4, 1..3)),
        ("time", augment.views(&images, 5, 0..2)),
        ("seed", Augment::new(everything(), SEED + 1).views(&images, 4, 0..2)),
    ];
    for (what, other) in others {
        let same = rows(&other).iter().zip(&base).filter(|(a, b)| a == b).count();
        assert!(same == 0, "{same} views do not depend on the {what}");
    }
}

#[test]
#[should_panic(expected = "views: blur radius 2 for views of [2, 9]")]
fn a_blur_wider_than_the_view_panics() {
    let blur = Some(Blur { p: 1.0, sigma: [1.0, 1.0], radius: 2 });
    let _ = Augment::new(Recipe { blur, ..plain() }, 0).views(&upload(1, [2, 9, 1]), 0, 0..1);
}
