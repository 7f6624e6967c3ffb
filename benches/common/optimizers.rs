//! Whole-model steps and augmentation: what runs once a training step, over everything.

use std::cell::RefCell;
use std::rc::Rc;

use wgrad::data::{Augment, Images, Recipe};
use wgrad::gpu::Work;
use wgrad::nn::{FileLayout, Init, ParamBuilder, Params};
use wgrad::optim::{
    AdamW, AdamWOptions, Ema, Group, Lars, LarsOptions, LossScaler, Momentum, Optimizer, Sgd, SgdOptions,
};
use wgrad::reference as spec;
use wgrad::{Gpu, Result, Rng, Tensor};

use super::check::{Checked, Tol, data, elements, f64s};
use super::{Case, Run, Subject, check, drawn};

/// A step of each optimiser, the teacher's update, and a batch of views.
pub(crate) fn cases(gpu: &Gpu) -> Vec<Case> {
    let parameters = if gpu.is_cpu() { 1 << 22 } else { 1 << 25 };
    let mut cases = vec![
        optimizer("sgd", parameters, 20, sgd, |w, g| {
            spec::optim::sgd(w, g, &mut vec![0.0; w.len()], RATE, 0.9, false, 0.01);
        }),
        optimizer("adamw", parameters, 28, adamw, |w, g| {
            let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
            spec::optim::adamw(w, g, &mut m, &mut v, 1, RATE, (0.9, 0.999), 1e-8, 0.05);
        }),
        // The norms of weights and gradients are a pass of their own, which is not in these bytes.
        optimizer("lars", parameters, 20, lars, |w, g| {
            spec::optim::lars(w, g, &mut vec![0.0; w.len()], RATE, 0.9, 0.01, 0.1, true);
        }),
    ];
    cases.push(ema("ema", parameters, Work::new(12 * parameters, 3 * parameters), Momentum::Constant(0.9)));
    let adaptive = Momentum::Adaptive { shortest: 0.9, longest: 0.999 };
    cases.push(ema("ema, adaptive", parameters, Work::new(24 * parameters, 10 * parameters), adaptive));
    cases.push(augment(if gpu.is_cpu() { 256 } else { 2048 }));
    cases
}

const RATE: f64 = 0.1;

/// `|got - want| <= tolerance * (1 + |want|)` for every element.
fn compare(what: &str, got: &Tensor, want: &[f64], tolerance: f64) -> Checked {
    check::compare(what, &elements(what, got)?, want, Tol::new(tolerance, tolerance))
}

/// One parameter of `len` values.
fn model(gpu: &Gpu, len: usize) -> Result<Params> {
    let build = ParamBuilder::new(Rng::new(5));
    let _ = build.param("weight", [len], FileLayout::Same, Init::Uniform { bound: 1.0 });
    build.finish(gpu)
}

fn sgd(params: &Params) -> Result<Box<dyn Optimizer>> {
    let options = SgdOptions { momentum: 0.9, weight_decay: 0.01, ..SgdOptions::default() };
    Ok(Box::new(Sgd::new(params, options, |_| Group::ALL)?))
}

fn adamw(params: &Params) -> Result<Box<dyn Optimizer>> {
    let options = AdamWOptions { weight_decay: 0.05, ..AdamWOptions::default() };
    Ok(Box::new(AdamW::new(params, options, |_| Group::ALL)?))
}

fn lars(params: &Params) -> Result<Box<dyn Optimizer>> {
    let options = LarsOptions { momentum: 0.9, weight_decay: 0.01, eta: 0.1 };
    Ok(Box::new(Lars::new(params, options, |_| Group::ALL)?))
}

/// `bytes` a parameter: weights, gradients and state read, weights and state written.
fn optimizer(
    name: &'static str,
    parameters: usize,
    bytes: usize,
    make: fn(&Params) -> Result<Box<dyn Optimizer>>,
    step: fn(&mut [f64], &[f64]),
) -> Case {
    Case {
        name: name.into(),
        size: parameters.to_string(),
        work: Work::new(bytes * parameters, 0_u32),
        check: Box::new(move |gpu| {
            let run = || -> Result<(Tensor, Vec<f64>)> {
                let params = model(gpu, 131)?;
                let mut want: Vec<f64> = params.flat().to_vec()?.into_iter().map(f64::from).collect();
                let mut g = data(3, want.len());
                g[131..].fill(0.0); // padding
                make(&params)?.step(&params, &gpu.tensor(&g, params.flat().shape())?, RATE as f32);
                step(&mut want[..131], &f64s(&g[..131]));
                Ok((params.flat().clone(), want))
            };
            let (got, want) = run().map_err(|e| e.to_string())?;
            compare(name, &got, &want, 1e-5)
        }),
        prepare: Box::new(move |gpu| {
            let params = Rc::new(model(gpu, parameters)?);
            let gradient = drawn(gpu, 3, params.flat().shape(), -1.0, 1.0)?;
            let optimizer = Rc::new(RefCell::new(make(&params)?));
            let next = move || -> Run {
                let (params, gradient) = (Rc::clone(&params), gradient.clone());
                let optimizer = Rc::clone(&optimizer);
                Box::new(move || optimizer.borrow_mut().step(&params, &gradient, 1e-4))
            };
            Ok(Subject { bytes: 0, next: Box::new(next) })
        }),
    }
}

/// A teacher's first update, of momentum 0.9. Teacher and student read, teacher written; an adaptive one also reads the gradient
/// and its average, writes the average, and squares both.
fn ema(name: &'static str, parameters: usize, work: Work, momentum: Momentum) -> Case {
    Case {
        name: name.into(),
        size: parameters.to_string(),
        work,
        check: Box::new(move |gpu| {
            let run = || -> Result<(Tensor, Vec<f64>)> {
                let student = model(gpu, 131)?;
                let teacher = student.fork();
                teacher.flat().write(&vec![0.5; teacher.flat().len()]);
                let values: Vec<f64> = student.flat().to_vec()?.into_iter().map(f64::from).collect();
                let (ema, scaler) = (Ema::new(&student, momentum)?, LossScaler::new(&student)?);
                ema.update(&teacher, &student, &student.flat().full_like(1.0), &scaler, 0);
                Ok((teacher.flat().clone(), spec::lerp::lerp(&vec![0.5; values.len()], &values, 0.1)))
            };
            let (got, want) = run().map_err(|e| e.to_string())?;
            compare(name, &got, &want, 1e-6)
        }),
        prepare: Box::new(move |gpu| {
            let student = model(gpu, parameters)?;
            let (ema, scaler) = (Ema::new(&student, momentum)?, LossScaler::new(&student)?);
            let gradient = drawn(gpu, 3, student.flat().shape(), -1.0, 1.0)?;
            let parts = Rc::new((student.fork(), student, gradient, scaler, ema));
            let next = move || -> Run {
                let parts = Rc::clone(&parts);
                Box::new(move || {
                    let (teacher, student, gradient, scaler, ema) = &*parts;
                    ema.update(teacher, student, gradient, scaler, 0);
                })
            };
            Ok(Subject { bytes: 0, next: Box::new(next) })
        }),
    }
}

/// Two SimCLR views of each of `count` images of 32 x 32 x 3.
fn augment(count: usize) -> Case {
    const DIMS: [usize; 3] = [32, 32, 3];
    let recipe = || Recipe::simclr([0.5; 3], [0.25; 3]);
    let bytes = |count: usize| -> Vec<u8> {
        (0..count * 3072).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    };
    let indices = |count: usize| -> Vec<u32> { (0..count as u32).collect() };
    Case {
        name: "augment, two views".into(),
        size: format!("{count}x32x32x3"),
        work: Work::new(count * 3072 * (1 + 2 * 4), 0_u32),
        check: Box::new(move |gpu| {
            let bytes = bytes(3);
            let images = Images::new(gpu, &bytes, &indices(3), DIMS).map_err(|e| e.to_string())?;
            let got = Augment::new(recipe(), 5).views(&images, 1, 0..2);
            let mut want = vec![];
            for view in 0..2 {
                for index in 0..3_u32 {
                    let key = [5, wgrad::rng::streams::AUGMENT];
                    let name = spec::augment::Name { key, time: 1, index, view };
                    let image = &bytes[index as usize * 3072..][..3072];
                    want.extend(spec::augment::view(&recipe(), image, DIMS, &name));
                }
            }
            compare("augment", &got, &want, 1e-3)
        }),
        prepare: Box::new(move |gpu| {
            let images = Rc::new(Images::new(gpu, &bytes(count), &indices(count), DIMS)?);
            let augment = Rc::new(Augment::new(recipe(), 5));
            let next = move || -> Run {
                let (images, augment) = (Rc::clone(&images), Rc::clone(&augment));
                Box::new(move || drop(augment.views(&images, 1, 0..2)))
            };
            Ok(Subject { bytes: 0, next: Box::new(next) })
        }),
    }
}
