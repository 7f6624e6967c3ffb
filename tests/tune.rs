//! Measured choices of kernels: results stay right, choices are kept and found again, and what is named goes before them.

mod common;

use std::path::Path;

use common::{Tol, assert_close, data, f64s};
use wgrad::ops::Conv2dOptions;
use wgrad::reference as spec;
use wgrad::{Gpu, GpuBuilder, Tensor};

/// Sums of a hundred products of values in [-1, 1).
const SUMS: Tol = Tol::new(1e-4, 1e-5);

fn builder(cache: &Path) -> GpuBuilder {
    Gpu::builder().quiet().tune(true).cache_dir(cache)
}

/// A ragged product in each form, and what it should be.
fn products(gpu: &Gpu) -> Vec<Vec<f32>> {
    let [m, n, k] = [37, 29, 101];
    let (a, b) = (data(1, m * k), data(2, k * n));
    let want = spec::matmul::matmul(&f64s(&a), &f64s(&b), [m, n, k]);
    let (a, b) = (gpu.tensor(&a, [m, k]).unwrap(), gpu.tensor(&b, [k, n]).unwrap());
    let (at, bt) = (a.transpose(), b.transpose());
    let got = [a.matmul(&b), a.matmul_nt(&bt), at.matmul_tn(&b)].map(|c| c.to_vec().unwrap());
    for (form, got) in ["NN", "NT", "TN"].into_iter().zip(&got) {
        assert_close(form, got, &want, SUMS);
    }
    got.into()
}

/// Value and gradients of a convolution of stride 2.
fn convolution(gpu: &Gpu) -> Vec<Vec<f32>> {
    let x = gpu.tensor(&data(3, 2 * 9 * 7 * 5), [2, 9, 7, 5]).unwrap().requires_grad();
    let w = gpu.tensor(&data(4, 3 * 3 * 5 * 6), [3, 3, 5, 6]).unwrap().requires_grad();
    let y = x.conv2d(&w, Conv2dOptions::new().stride(2).padding(1));
    let value = y.to_vec().unwrap();
    let grads = y.square().sum_all().backward();
    let gradient = |leaf: &Tensor| grads.get(leaf).unwrap().to_vec().unwrap();
    vec![value, gradient(&x), gradient(&w)]
}

#[test]
fn tuned_kernels_are_right_and_found_again() {
    let cache = tempfile::tempdir().unwrap();
    let gpu = builder(cache.path()).build().unwrap();
    let static_choice = Gpu::builder().quiet().tune(false).cache_dir(cache.path()).build().unwrap();
    let products_of = products(&gpu);
    let convolutions = convolution(&gpu);
    for (got, want) in convolutions.iter().zip(convolution(&static_choice)) {
        assert_close("convolution", got, &f64s(&want), Tol::new(1e-3, 1e-4));
    }
    let chosen = gpu.tuned();
    assert!(static_choice.tuned().is_empty());
    for key in
        ["matmul Nn", "matmul Nt", "matmul Tn", "conv Forward", "conv InputGradient", "conv WeightGradient"]
    {
        assert!(chosen.keys().any(|known| known.starts_with(key)), "{key}: {chosen:?}");
    }
    assert!(gpu.error().is_none());

    // Another program, with the file, or with what a checkpoint kept: the same kernels, so the same bits.
    let again = builder(cache.path()).build().unwrap();
    let kept = Gpu::builder().quiet().tune(false).build().unwrap();
    kept.keep_tuned(chosen.clone());
    for gpu in [again, kept] {
        assert_eq!((products(&gpu), convolution(&gpu)), (products_of.clone(), convolutions.clone()));
        assert_eq!(gpu.tuned(), chosen);
    }
}

#[test]
fn a_kernel_that_is_named_goes_before_and_a_broken_file_is_ignored() {
    let cache = tempfile::tempdir().unwrap();
    let named = builder(cache.path()).kernel("matmul", "2_coalesced").build().unwrap();
    products(&named);
    assert!(named.tuned().is_empty());

    let gpu = builder(cache.path()).build().unwrap();
    products(&gpu);
    let files = std::fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.to_str().unwrap().contains("/kernels-")).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("wgrad ") && text.contains(gpu.tuned().keys().next().unwrap()));
    for broken in [text.replacen("wgrad", "other", 1), text.replace('\t', " "), String::new()] {
        std::fs::write(file, broken).unwrap();
        let gpu = builder(cache.path()).build().unwrap();
        products(&gpu);
        assert_eq!(gpu.tuned().len(), 3);
        assert!(std::fs::read_to_string(file).unwrap().starts_with("wgrad "), "a whole file takes its place");
    }
    // A rung that is none is measured again.
    let text = std::fs::read_to_string(file).unwrap();
    let made_up = text.lines().map(|line| line.split_once('\t').map_or(line, |(key, _)| key));
    let made_up: Vec<_> = made_up
        .enumerate()
        .map(|(i, key)| if i == 0 { key.into() } else { format!("{key}\t0_none") })
        .collect();
    std::fs::write(file, made_up.join("\n") + "\n").unwrap();
    let gpu = builder(cache.path()).build().unwrap();
    products(&gpu);
    assert!(gpu.tuned().values().all(|file| file != "0_none"));
}
