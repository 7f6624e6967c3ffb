//! Launches folded in three dimensions: on devices with room for a few workgroups a dimension, every kernel must give the bits that
//! it gives where its launch is a line.
//!
//! The other files of this folder check those bits against the specification. The profile says how many dimensions a kernel's grid
//! had, so a case that is too small to fold, or a kernel without a case, fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wgrad::gpu::Class;
use wgrad::nn::{FileLayout, Init, ParamBuilder, Params, Precision};
use wgrad::ops::{BatchNormOptions, Contrastive, Conv2dOptions};
use wgrad::optim::{
    AdamW, AdamWOptions, ClipBy, Ema, Group, Lars, LarsOptions, LossScaler, Momentum, Optimizer, Sgd,
    SgdOptions, clip_grad_norm,
};
use wgrad::{DType, Error, Gpu, GpuBuilder, Rng, Tensor};

use crate::common::*;

/// Workgroups a dimension. At n, a launch of n + 1 to n^3 is folded: one of 3 to 4,096 at some of these.
const LIMITS: [u32; 3] = [2, 6, 16];

/// Kernels of one workgroup, whatever the sizes.
const ONE_GROUP: [&str; 2] = ["ema/ema_decide", "loss_scale/update_scale"];

/// Files whose kernels need matrix units or f16, or measure the device and are no op: not every adapter runs them here.
const NEED_MORE: [&str; 12] = [
    "cast",
    "loss_scale",
    "rows",
    "matmul/pack",
    "matmul/split",
    "matmul/11_matrix",
    "matmul/12_split_f32",
    "conv/7_matrix",
    "contrastive/5_matrix",
    "roofline",
    "roofline_matrix",
    "self_test",
];

/// The kernels of a GPU's class, whatever the adapter.
const GPU: Option<(&str, &str)> = Some(("class", "nvidia"));

type Case = (&'static str, Option<(&'static str, &'static str)>, Run);
type Run = fn(&Gpu) -> Result<Vec<Tensor>, Error>;

/// A name, a kernel to take instead of the adapter's choice, and launches that return what they wrote.
const CASES: &[Case] = &[
    ("unary", None, unary),
    ("binary", None, binary),
    ("layout", None, layout),
    ("transpose", GPU, transpose),
    ("reduce", None, reduce),
    ("max", None, max),
    ("select", None, select),
    ("rows", None, rows),
    ("lerp", None, lerp),
    ("softmax", None, softmax),
    ("norms", None, norms),
    ("layer_norm of long rows", GPU, |gpu| layer_norm(gpu, [1201, 1501])),
    ("layer_norm of long rows on a CPU", None, |gpu| layer_norm(gpu, [8009, 301])),
    ("batch_norm", None, batch_norm),
    ("pool2d", None, pool2d),
    ("covariance", None, covariance),
    ("covariance_penalty", None, |gpu| Ok(vec![leaf(gpu, 1, &[3, 1030])?.covariance_penalty()])),
    ("variance_hinge", None, variance_hinge),
    ("knn", None, knn),
    ("knn of a GPU", GPU, knn),
    ("random", None, random),
    ("optimizers", None, optimizers),
    ("ema", None, ema),
    ("loss_scale", None, loss_scale),
    ("augment", None, augment),
    ("matmul 1", Some(("matmul", "1_naive")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 2", Some(("matmul", "2_coalesced")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 3", Some(("matmul", "3_workgroup")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 4", Some(("matmul", "4_row")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 5", Some(("matmul", "5_block")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 5, whole", Some(("matmul", "5_block")), |gpu| matmul(gpu, [384, 320, 32])),
    ("matmul 6", Some(("matmul", "6_vec4")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 6, whole", Some(("matmul", "6_vec4")), |gpu| matmul(gpu, [384, 320, 32])),
    ("matmul 7", Some(("matmul", "7_double_buffer")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 7, whole", Some(("matmul", "7_double_buffer")), |gpu| matmul(gpu, [384, 320, 32])),
    ("matmul 8", Some(("matmul", "8_subgroup")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 8, whole", Some(("matmul", "8_subgroup")), |gpu| matmul(gpu, [384, 320, 32])),
    ("matmul 9", Some(("matmul", "9_register")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 9, whole", Some(("matmul", "9_register")), |gpu| matmul(gpu, [384, 320, 32])),
    ("matmul 10", Some(("matmul", "10_broadcast")), |gpu| matmul(gpu, [401, 323, 19])),
    ("matmul 10, whole", Some(("matmul", "10_broadcast")), |gpu| matmul(gpu, [384, 320, 32])),
    ("conv 1, [3, 33, 8, 64]", Some(("conv", "1_naive")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 1, [3, 33, 5, 7]", Some(("conv", "1_naive")), |gpu| conv2d(gpu, [3, 33, 5, 7])),
    ("conv 2, [3, 33, 8, 64]", Some(("conv", "2_register")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 2, [3, 33, 5, 7]", Some(("conv", "2_register")), |gpu| conv2d(gpu, [3, 33, 5, 7])),
    ("conv 2, [1, 9, 128, 64]", Some(("conv", "2_register")), |gpu| conv2d(gpu, [1, 9, 128, 64])),
    ("conv 3, [3, 33, 8, 64]", Some(("conv", "3_workgroup")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 3, [3, 33, 5, 7]", Some(("conv", "3_workgroup")), |gpu| conv2d(gpu, [3, 33, 5, 7])),
    ("conv 4, [3, 33, 8, 64]", Some(("conv", "4_block")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 4, [3, 33, 5, 7]", Some(("conv", "4_block")), |gpu| conv2d(gpu, [3, 33, 5, 7])),
    ("conv 5, [3, 33, 8, 64]", Some(("conv", "5_broadcast")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 5, [3, 33, 5, 7]", Some(("conv", "5_broadcast")), |gpu| conv2d(gpu, [3, 33, 5, 7])),
    ("conv 5, [1, 45, 64, 8]", Some(("conv", "5_broadcast")), |gpu| conv2d(gpu, [1, 45, 64, 8])),
    ("conv 5, [1, 9, 128, 64]", Some(("conv", "5_broadcast")), |gpu| conv2d(gpu, [1, 9, 128, 64])),
    ("conv 6, [3, 33, 8, 64]", Some(("conv", "6_winograd")), |gpu| conv2d(gpu, [3, 33, 8, 64])),
    ("conv 6, [1, 9, 128, 64]", Some(("conv", "6_winograd")), |gpu| conv2d(gpu, [1, 9, 128, 64])),
    ("contrastive 1", Some(("contrastive", "1_naive")), contrastive),
    ("contrastive 2", Some(("contrastive", "2_register")), contrastive),
    ("contrastive 3", Some(("contrastive", "3_workgroup")), contrastive),
    ("contrastive 4", Some(("contrastive", "4_blocks")), contrastive),
    ("contrastive in chunks", GPU, |gpu| contrast(gpu, [301, 6001, 16])),
];

fn leaf(gpu: &Gpu, seed: u32, shape: &[usize]) -> Result<Tensor, Error> {
    Ok(gpu.tensor(&data(seed, shape.iter().product()), shape)?.requires_grad())
}

/// `y` and the gradients of `leaves`, from a `dy` that differs from element to element.
fn with_gradients(y: &Tensor, leaves: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
    let dy = y.gpu().tensor(&data(99, y.len()), y.shape())?;
    let loss = y.gpu().zeros([])?;
    let loss = loss.with_backward("weighted_sum", &[y], &[&dy], |b| vec![Some(b.saved::<1>()[0].clone())]);
    let grads = loss.backward();
    let of = |leaf: &&Tensor| grads.get(leaf).unwrap().clone();
    Ok(std::iter::once(y.clone()).chain(leaves.iter().map(of)).collect())
}

fn unary(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let ops: [fn(&Tensor) -> Tensor; 15] = [
        |x| x.affine(2.0, 1.0),
        Tensor::exp,
        |x| x.add_scalar(2.0).ln(),
        |x| x.add_scalar(2.0).sqrt(),
        Tensor::square,
        |x| x.add_scalar(2.0).scalar_div(3.0),
        |x| x.powf(3.0),
        Tensor::abs,
        |x| x.clamp(-0.5, 0.5),
        Tensor::relu,
        Tensor::gelu,
        Tensor::sigmoid,
        Tensor::tanh,
        Tensor::softsign,
        |x| x.mul(x),
    ];
    let mut out = Vec::new();
    for op in ops {
        let x = leaf(gpu, 1, &[5003])?;
        out.extend(with_gradients(&op(&x), &[&x])?);
    }
    Ok(out)
}

fn binary(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let ops: [fn(&Tensor, &Tensor) -> Tensor; 4] = [Tensor::add, Tensor::sub, Tensor::mul, Tensor::div];
    let mut out = vec![leaf(gpu, 3, &[7, 1, 9])?.expand([7, 131, 9])];
    for op in ops {
        for shapes in [[&[71, 67][..], &[71, 67]], [&[601, 67], &[67]]] {
            let (a, b) = (leaf(gpu, 1, shapes[0])?, leaf(gpu, 2, shapes[1])?);
            out.extend(with_gradients(&op(&a, &b), &[&a, &b])?);
        }
    }
    Ok(out)
}

fn layout(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (x, wide) = (leaf(gpu, 1, &[131, 67])?, leaf(gpu, 2, &[2, 131, 67])?);
    let counts = gpu.tensor_u32(&(0..5003).collect::<Vec<_>>(), [5003])?;
    let mut out = with_gradients(&x.transpose(), &[&x])?;
    out.extend(with_gradients(&wide.transpose(), &[&wide])?);
    out.extend(with_gradients(&x.copy(), &[&x])?);
    out.extend([x.cast(DType::U32), counts.cast(DType::F32), gpu.full([5003], 1.5)?]);
    if gpu.info().f16 {
        out.push(x.cast(DType::F16).cast(DType::F32));
    }
    Ok(out)
}

/// By workgroup memory, as on GPUs; where `gpu` takes registers, the other case is the same.
fn transpose(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[301, 267])?;
    with_gradients(&x.transpose(), &[&x])
}

fn reduce(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (x, deep) = (leaf(gpu, 1, &[3001, 7])?, leaf(gpu, 2, &[7, 301, 9])?);
    let mut out = with_gradients(&x.sum(&[1]), &[&x])?;
    out.extend(with_gradients(&deep.mean(&[1]), &[&deep])?);
    out.extend(with_gradients(&deep.sum_all(), &[&deep])?);
    Ok(out)
}

fn max(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[3001, 9])?;
    with_gradients(&x.max(&[1]), &[&x])
}

fn select(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (a, b) = (leaf(gpu, 1, &[601, 7])?, leaf(gpu, 2, &[601, 7])?);
    let mask: Vec<u32> = (0..4207).map(|i| i % 2).collect();
    let mask = gpu.tensor_u32(&mask, [601, 7])?;
    let mut out = with_gradients(&Tensor::where_mask(&mask, &a, &b), &[&a, &b])?;
    let (top, index) = a.topk(3);
    out.extend(with_gradients(&top, &[&a])?);
    out.extend([index, a.argmax()]);
    Ok(out)
}

fn rows(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[301, 9])?;
    let picks: Vec<u32> = (0..701).map(|i| i * 7 % 301).collect();
    let picks = gpu.tensor_u32(&picks, [701])?;
    let mut out = with_gradients(&x.gather_rows(&picks), &[&x])?;
    let (bank, places) = (gpu.zeros([701, 9])?, (0..301).map(|i| i * 3 % 701).collect::<Vec<u32>>());
    bank.write_rows_at(&gpu.tensor_u32(&places, [301])?, &x);
    out.push(bank);
    if gpu.info().f16 {
        out.push(x.cast(DType::F16).slice_rows(1, 300).cast(DType::F32)); // begins amid a word
    }
    Ok(out)
}

fn lerp(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (y, x) = (leaf(gpu, 1, &[501, 9])?.stop_gradient(), leaf(gpu, 2, &[501, 9])?);
    y.lerp_(&x, 0.3);
    let (center, wide) = (gpu.zeros([3001])?, leaf(gpu, 3, &[5, 3001])?);
    center.lerp_mean_(&wide, 0.3);
    let bank = leaf(gpu, 4, &[501, 9])?.stop_gradient();
    let places: Vec<u32> = (0..501).map(|i| i * 7 % 501).collect();
    bank.lerp_unit_rows_(&gpu.tensor_u32(&places, [501])?, &x, 0.3);
    Ok(vec![y, center, bank])
}

fn softmax(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[601, 7])?;
    let labels = gpu.tensor_u32(&(0..601).map(|i| i % 7).collect::<Vec<_>>(), [601])?;
    let mut out = with_gradients(&x.softmax(0.5), &[&x])?;
    out.extend(with_gradients(&x.log_softmax(0.5), &[&x])?);
    out.extend(with_gradients(&x.softmax_cross_entropy(&labels, 0.5), &[&x])?);
    Ok(out)
}

fn layer_norm(gpu: &Gpu, [rows, c]: [usize; 2]) -> Result<Vec<Tensor>, Error> {
    let (x, gamma, beta) = (leaf(gpu, 1, &[rows, c])?, leaf(gpu, 2, &[c])?, leaf(gpu, 3, &[c])?);
    with_gradients(&x.layer_norm(&gamma, &beta), &[&x, &gamma, &beta])
}

fn norms(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let mut out = layer_norm(gpu, [5003, 7])?;
    let x = leaf(gpu, 1, &[5003, 7])?;
    out.extend(with_gradients(&x.l2_normalize(), &[&x])?);
    Ok(out)
}

fn batch_norm(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let mut out = Vec::new();
    for [m, c] in [[65, 601], [8193, 20], [3001, 4]] {
        let (x, r) = (leaf(gpu, 1, &[m, c])?, leaf(gpu, 2, &[m, c])?);
        let (gamma, beta) = (leaf(gpu, 3, &[c])?, leaf(gpu, 4, &[c])?);
        let (mean, var) = (gpu.zeros([c])?, gpu.full([c], 1.0)?);
        let train = BatchNormOptions::train().affine(&gamma, &beta).running(&mean, &var);
        out.extend(with_gradients(&x.batch_norm(train.residual(&r).relu()), &[&x, &r, &gamma, &beta])?);
        let eval = BatchNormOptions::eval(&mean, &var).affine(&gamma, &beta);
        out.extend(with_gradients(&x.batch_norm(eval), &[&x, &gamma, &beta])?);
        out.extend([mean, var]);
    }
    Ok(out)
}

fn pool2d(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[9, 37, 35, 7])?;
    let mut out = with_gradients(&x.max_pool2d(3, 2, 1), &[&x])?;
    out.extend(with_gradients(&x.avg_pool2d(2, 1, 0), &[&x])?);
    out.extend(with_gradients(&x.global_avg_pool(), &[&x])?);
    Ok(out)
}

fn covariance(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[33, 130])?;
    let mut out = with_gradients(&x.covariance(), &[&x])?;
    out.extend(with_gradients(&x.covariance_penalty(), &[&x])?);
    Ok(out)
}

fn variance_hinge(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let x = leaf(gpu, 1, &[3, 400])?;
    with_gradients(&x.variance_hinge(1.0, 1e-4), &[&x])
}

fn knn(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (queries, bank) = (leaf(gpu, 1, &[1301, 9])?, leaf(gpu, 2, &[1100, 9])?);
    let labels = gpu.tensor_u32(&(0..1100).map(|i| i % 7).collect::<Vec<_>>(), [1100])?;
    let (similarity, index) = queries.knn(&bank, 50);
    let scores = similarity.knn_vote(&index, &labels, 7, 0.1);
    Ok(vec![similarity, index, scores])
}

fn random(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let mut rng = Rng::new(3);
    Ok(vec![gpu.uniform([5003], -1.0, 1.0, &mut rng)?, gpu.normal([5003], 0.0, 1.0, &mut rng)?])
}

/// Forty tensors: a chunk or more of each is a workgroup's.
fn model(gpu: &Gpu, seed: u32) -> Result<Params, Error> {
    let build = ParamBuilder::new(Rng::new(seed));
    for i in 0..40 {
        let _ = build.param(&format!("w{i}"), [7 + i, 131], FileLayout::Same, Init::Uniform { bound: 1.0 });
    }
    build.finish(gpu)
}

fn optimizers(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let mut out = Vec::new();
    let mut step = |params: &Params, optimizer: &mut dyn Optimizer| -> Result<(), Error> {
        let grads = gpu.tensor(&data(7, params.flat().len()), params.flat().shape())?;
        for by in [ClipBy::Global, ClipBy::Tensor] {
            out.push(clip_grad_norm(params, &grads, 1.0, by));
        }
        optimizer.step(params, &grads, 0.1);
        out.extend([params.flat().copy(), grads]);
        Ok(())
    };
    let params = model(gpu, 1)?;
    step(&params, &mut Sgd::new(&params, SgdOptions::default(), Group::default_for)?)?;
    step(
        &params,
        &mut Sgd::new(&params, SgdOptions { momentum: 0.9, ..SgdOptions::default() }, Group::default_for)?,
    )?;
    step(&params, &mut AdamW::new(&params, AdamWOptions::default(), Group::default_for)?)?;
    step(&params, &mut Lars::new(&params, LarsOptions::default(), Group::default_for)?)?;
    Ok(out)
}

fn ema(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let (student, teacher) = (model(gpu, 1)?, model(gpu, 2)?);
    let gradient = gpu.tensor(&data(7, student.flat().len()), student.flat().shape())?;
    let ema = Ema::new(&student, Momentum::Adaptive { shortest: 0.9, longest: 0.99 })?;
    let scaler = LossScaler::new(&student)?;
    for step in 0..2 {
        ema.update(&teacher, &student, &gradient, &scaler, step);
    }
    Ok(ema.state().into_iter().map(|(_, state)| state.copy()).chain([teacher.flat().copy()]).collect())
}

fn loss_scale(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    if !gpu.info().f16 {
        return Ok(Vec::new());
    }
    let build = ParamBuilder::new(Rng::new(1));
    let w = build.param("w", [5003], FileLayout::Same, Init::Uniform { bound: 1.0 });
    let params = build.finish(gpu)?.with_precision(Precision::F16);
    let scaler = LossScaler::new(&params)?;
    let slope = gpu.tensor(&data(7, 5003), [5003])?;
    let gradient = scaler.gradient(&params, &params.get(w).mul(&slope).sum_all());
    Ok(vec![gradient, scaler.state().unwrap().copy()])
}

#[cfg(feature = "data")]
fn augment(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    use wgrad::data::{Augment, Blur, Images, Recipe};
    let dims = [9, 7, 3];
    let bytes: Vec<u8> = (0..67 * 189_u32).map(|i| (i * 37 % 251) as u8).collect();
    let images = Images::new(gpu, &bytes, &(0..67).collect::<Vec<_>>(), dims)?;
    let (mean, std) = ([0.1, 0.2, 0.3], [0.5; 3]);
    let blur = Some(Blur { p: 0.5, sigma: [0.1, 2.0], radius: 2 });
    let augment = Augment::new(Recipe { blur, ..Recipe::simclr(mean, std) }, 1);
    Ok(vec![augment.views(&images, 3, 0..2), augment.plain(&images), images.normalize(mean, std)])
}

#[cfg(not(feature = "data"))]
fn augment(_: &Gpu) -> Result<Vec<Tensor>, Error> {
    Ok(Vec::new())
}

fn matmul(gpu: &Gpu, [m, n, k]: [usize; 3]) -> Result<Vec<Tensor>, Error> {
    let ops: [fn(&Tensor, &Tensor) -> Tensor; 3] = [Tensor::matmul, Tensor::matmul_nt, Tensor::matmul_tn];
    let mut out = Vec::new();
    for (op, shapes) in ops.into_iter().zip([[[m, k], [k, n]], [[m, k], [n, k]], [[k, m], [k, n]]]) {
        let (a, b) = (leaf(gpu, 1, &shapes[0])?, leaf(gpu, 2, &shapes[1])?);
        out.extend(with_gradients(&op(&a, &b), &[&a, &b])?);
    }
    let long = [leaf(gpu, 3, &[40, 5000])?, leaf(gpu, 4, &[5000, 40])?];
    out.push(long[0].matmul(&long[1]));
    Ok(out)
}

fn conv2d(gpu: &Gpu, [n, side, cin, cout]: [usize; 4]) -> Result<Vec<Tensor>, Error> {
    let (x, w) = (leaf(gpu, 1, &[n, side, side, cin])?, leaf(gpu, 2, &[3, 3, cin, cout])?);
    let stride = if cin % 4 == 0 { 1 } else { 2 };
    with_gradients(&x.conv2d(&w, Conv2dOptions::new().padding(1).stride(stride)), &[&x, &w])
}

fn contrastive(gpu: &Gpu) -> Result<Vec<Tensor>, Error> {
    let mut out = contrast(gpu, [1601, 1033, 8])?;
    out.extend(contrast(gpu, [701, 1300, 33])?);
    Ok(out)
}

fn contrast(gpu: &Gpu, [n, m, d]: [usize; 3]) -> Result<Vec<Tensor>, Error> {
    let (q, k, extra) = (leaf(gpu, 1, &[n, d])?, leaf(gpu, 2, &[m, d])?, leaf(gpu, 3, &[n, d])?);
    let result = Contrastive::new(0.5).forward(&q, &k);
    let mut out = vec![result.row_losses.clone()];
    out.extend(with_gradients(&result.loss, &[&q, &k])?);
    let result = Contrastive::new(0.5).extra_positive(&extra).forward(&q, &k);
    out.extend(with_gradients(&result.loss, &[&q, &k, &extra])?);
    Ok(out)
}

/// The bytes of all results.
fn bytes(results: Result<Vec<Tensor>, Error>) -> Result<Vec<Vec<u8>>, Error> {
    results?.iter().map(|t| t.read().wait()).collect()
}

/// A device of the class whose sums and blocks the cases' sizes are made for, whatever the adapter is, unless `named` says another.
fn open(named: Option<(&str, &str)>, options: impl Fn(GpuBuilder) -> GpuBuilder) -> Gpu {
    let builder = options(Gpu::builder().quiet().profile(true).class(Class::CpuShuffles));
    let builder = match named {
        Some(("class", "nvidia")) => builder.class(Class::Nvidia),
        Some((family, file)) => builder.kernel(family, file),
        None => builder,
    };
    builder.build().unwrap()
}

/// Runs a case as a line, then at every limit that holds it; returns each kernel's largest number of dimensions.
fn folded(name: &str, named: Option<(&str, &str)>, run: Run) -> BTreeMap<String, u32> {
    let gpu = open(named, |builder| builder);
    let want = match bytes(run(&gpu)) {
        Err(Error::Kernel { .. }) => return BTreeMap::new(), // an adapter without subgroups
        other => other.unwrap(),
    };
    let mut most: BTreeMap<String, u32> = gpu.profile().into_iter().map(|row| (row.kernel, 1)).collect();
    for limit in LIMITS {
        let gpu = open(named, |builder| builder.max_workgroups(limit));
        match bytes(run(&gpu)) {
            Err(Error::TooLarge { unit: "workgroups", .. }) => {}
            other => {
                let got = other.unwrap();
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert!(got == want, "{name}: result {i} differs with {limit} workgroups a dimension");
                }
                for row in gpu.profile() {
                    let dimensions = most.entry(row.kernel).or_default();
                    *dimensions = row.grid_dimensions.max(*dimensions);
                }
            }
        }
    }
    most
}

#[test]
fn folding_changes_no_bit() {
    let mut most = BTreeMap::<String, u32>::new();
    for (name, named, run) in CASES {
        for (kernel, dimensions) in folded(name, *named, *run) {
            let kernel = kernel.split(' ').next().unwrap().to_owned(); // without the types of its elements
            let all = most.entry(kernel).or_default();
            *all = dimensions.max(*all);
        }
    }
    if !gpu().info().timestamps {
        eprintln!(
            "not checked that launches were folded: this adapter has no timestamps, so there is no profile"
        );
        return;
    }
    let wanted = entries().into_iter().filter(|entry| !ONE_GROUP.contains(&entry.as_str()));
    let flat: Vec<String> = wanted
        .filter(|entry| match most.get(entry) {
            Some(dimensions) => *dimensions < 2,
            None => !NEED_MORE.iter().any(|file| entry.starts_with(file)),
        })
        .collect();
    assert!(flat.is_empty(), "kernels that no case folds: {flat:#?}");
}

/// Every kernel of the crate, as `file/entry`.
fn entries() -> Vec<String> {
    fn files(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "wgsl") {
                out.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let (mut paths, mut out) = (Vec::new(), Vec::new());
    files(&root, &mut paths);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(&root).unwrap().with_extension("");
        for after in text.split("@compute").skip(1) {
            let name = after.split_once("fn ").unwrap().1.split('(').next().unwrap();
            out.push(format!("{}/{name}", file.display()).replace('\\', "/"));
        }
    }
    out
}
