//! Products and convolutions that are cut into many launches give the bits of one, on every rung.

use wgrad::gpu::Facts;
use wgrad::ops::{BatchNormOptions, Conv2dOptions, rungs};
use wgrad::{DType, Gpu, Tensor};

use crate::common::*;

/// A device whose launches may take `seconds`.
fn open(family: &str, rung: &str, seconds: f64) -> Gpu {
    let facts = Facts { launch_seconds: seconds, ..*gpu().facts() };
    Gpu::builder().quiet().profile(true).facts(facts).kernel(family, rung).build().unwrap()
}

/// The bits of `results`, and the launches of the kernels of `family`.
fn bits(gpu: &Gpu, family: &str, results: &[Tensor]) -> (Vec<Vec<u32>>, u64) {
    let bits = results.iter().map(|t| t.to_vec().unwrap().iter().map(|v| v.to_bits()).collect()).collect();
    let rows = gpu.profile();
    let launches = rows.iter().filter(|row| row.kernel.starts_with(&format!("{family}/")));
    (bits, launches.map(|row| row.calls).sum())
}

#[track_caller]
fn check(family: &str, dtype: DType, run: impl Fn(&Gpu, DType) -> Vec<Tensor>) {
    for rung in rungs(family, gpu(), dtype) {
        let [whole, parts] = [0.5, 1e-12].map(|seconds| open(family, rung, seconds));
        let (want, one) = bits(&whole, family, &run(&whole, dtype));
        let (got, many) = bits(&parts, family, &run(&parts, dtype));
        assert!(got == want, "{family}:{rung} {dtype:?}: parts differ from the whole");
        let told = gpu().info().timestamps;
        assert!(!told || many > one, "{family}:{rung} {dtype:?}: {one} launches, and {many} in parts");
    }
}

fn leaf(gpu: &Gpu, seed: u32, shape: &[usize], dtype: DType) -> Tensor {
    let x = gpu.tensor(&data(seed, shape.iter().product()), shape).unwrap();
    x.cast(dtype).requires_grad()
}

fn types() -> impl Iterator<Item = DType> {
    [DType::F32, DType::F16].into_iter().filter(|&dtype| dtype == DType::F32 || gpu().info().f16)
}

#[test]
fn products() {
    let run = |gpu: &Gpu, dtype: DType| {
        let mut out = vec![];
        // Ragged, whole vec4s, and a sum over k that is cut as well.
        for [m, n, k] in [[70, 67, 33], [136, 132, 64], [5, 40, 2000]] {
            let (a, b) = (leaf(gpu, 1, &[m, k], dtype), leaf(gpu, 2, &[k, n], dtype));
            let c = a.matmul(&b);
            let grads = c.sum_all().backward();
            out.extend([c, grads.get(&a).unwrap().clone(), grads.get(&b).unwrap().clone()]);
        }
        let (a, b) = (leaf(gpu, 3, &[3, 40, 20], dtype), leaf(gpu, 4, &[3, 36, 20], dtype));
        out.push(a.matmul_nt(&b));
        out
    };
    types().for_each(|dtype| check("matmul", dtype, run));
}

#[test]
fn convolutions() {
    let run = |gpu: &Gpu, dtype: DType| {
        let mut out = vec![];
        for (c, options) in
            [(3, Conv2dOptions::new().stride(2).padding(1)), (8, Conv2dOptions::new().padding(1))]
        {
            let (x, w) = (leaf(gpu, 5, &[3, 9, 11, c], dtype), leaf(gpu, 6, &[3, 3, c, 12], dtype));
            let (gamma, beta) = (gpu.full([12], 1.0).unwrap(), gpu.zeros([12]).unwrap());
            let norm = BatchNormOptions::train().affine(&gamma, &beta);
            let y = x.conv2d_batch_norm(&w, options, norm);
            let grads = y.mul(&y).mul(&y).sum_all().backward();
            out.extend([y, grads.get(&x).unwrap().clone(), grads.get(&w).unwrap().clone()]);
        }
        out
    };
    types().for_each(|dtype| check("conv", dtype, run));
}
