//! The kernels of every rung of every ladder, as the ops launch them.

use std::sync::Arc;

use wgrad::gpu::{AdapterInfo, Class, Described, FinalKernel};
use wgrad::ops::{Conv2dOptions, ladders, rungs};
use wgrad::ssl::nt_xent;
use wgrad::{DType, Gpu, Result, Tensor};

use super::adapters::typical;
use super::common::{optimizers, timed};

/// A rung and its kernels, in the order in which they are launched first.
pub(crate) struct Rung {
    pub(crate) family: &'static str,
    pub(crate) file: &'static str,
    pub(crate) kernels: Vec<Arc<FinalKernel>>,
}

/// Every rung, lowest first: of operands that are f32 where the rung takes them as they are, else f16. Rungs of shuffles, which only a
/// CPU of 8 lanes takes, as that would get them.
pub(crate) fn every(info: &AdapterInfo) -> Result<Vec<Rung>> {
    let shuffles = typical(Class::CpuShuffles);
    let mut all: Vec<Rung> = vec![];
    for (info, operands) in [(info, DType::F32), (info, DType::F16), (&shuffles, DType::F32)] {
        let gpu = open(&Described::new(info.clone()), None)?;
        for (family, _) in ladders(info) {
            for file in rungs(family, &gpu, operands) {
                if all.iter().any(|rung| (rung.family, rung.file) == (family, file)) {
                    continue;
                }
                let adapter = Described::new(info.clone());
                let gpu = open(&adapter, Some((family, file)))?;
                run(&gpu, family, operands)?;
                gpu.sync()?;
                let mut kernels: Vec<Arc<FinalKernel>> = vec![];
                for launch in adapter.take_launches() {
                    if is_of(&launch.kernel.name, family, file) && !kernels.contains(&launch.kernel) {
                        kernels.push(launch.kernel);
                    }
                }
                all.push(Rung { family, file, kernels });
            }
        }
    }
    let family = |rung: &Rung| ladders(info).iter().position(|(family, _)| *family == rung.family);
    let number = |rung: &Rung| rung.file.split('_').next().and_then(|n| n.parse::<u32>().ok());
    all.sort_by_key(|rung| (family(rung), number(rung)));
    Ok(all)
}

/// Whether a kernel's file is one of a rung's: `conv/4_block_forward/conv` is of `conv`, `4_block`.
pub(crate) fn is_of(kernel: &str, family: &str, file: &str) -> bool {
    let rest = kernel.strip_prefix(family).and_then(|rest| rest.strip_prefix('/')?.strip_prefix(file));
    rest.is_some_and(|rest| rest.starts_with(['/', '_']))
}

/// The kernels of every op and optimiser of the benches, forward and backward, as an adapter gets them.
pub(crate) fn ops(info: &AdapterInfo) -> Result<Vec<Arc<FinalKernel>>> {
    let adapter = Described::new(info.clone());
    let gpu = open(&adapter, None)?;
    let cases = timed::ops(&gpu).into_iter().chain(optimizers::cases(&gpu));
    for case in cases {
        let mut subject = (case.prepare)(&gpu)?;
        (subject.next)()();
    }
    gpu.sync()?;
    let mut kernels: Vec<Arc<FinalKernel>> = vec![];
    for launch in adapter.take_launches() {
        if !kernels.contains(&launch.kernel) {
            kernels.push(launch.kernel);
        }
    }
    Ok(kernels)
}

fn open(adapter: &Described, kernel: Option<(&str, &str)>) -> Result<Gpu> {
    let mut builder = Gpu::builder().described(adapter).checks(false).quiet();
    if let Some((family, file)) = kernel {
        builder = builder.kernel(family, file);
    }
    builder.build()
}

/// Jobs of a family: products in three forms and in sizes for which blocks of each size are chosen, convolutions of
/// ResNet-18 with both gradients, a contrastive loss with its gradient.
fn run(gpu: &Gpu, family: &str, operands: DType) -> Result<()> {
    let leaf = |shape: &[usize]| -> Result<Tensor> { Ok(gpu.zeros(shape)?.cast(operands).requires_grad()) };
    match family {
        "matmul" => {
            for n in [4096, 1024, 512] {
                let (a, b) = (leaf(&[n, n])?, leaf(&[n, n])?);
                for product in [Tensor::matmul, Tensor::matmul_nt, Tensor::matmul_tn] {
                    let _ = product(&a, &b);
                }
            }
        }
        "conv" => {
            for channels in [256, 64] {
                let (x, w) = (leaf(&[128, 16, 16, channels])?, leaf(&[3, 3, channels, channels])?);
                let y = x.conv2d(&w, Conv2dOptions { padding: [1, 1], ..Conv2dOptions::default() });
                let _ = y.cast(DType::F32).sum_all().backward();
            }
        }
        _ => {
            let (a, b) = (leaf(&[2048, 128])?, leaf(&[2048, 128])?);
            let _ = nt_xent(&a, &b, 0.2).cast(DType::F32).backward();
        }
    }
    Ok(())
}
