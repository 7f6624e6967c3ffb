//! The teacher: its momentum by schedule and by the share of signal in the gradient, its launches, its memory.

use wgrad::nn::{FileLayout, Init, Mode, ParamBuilder, Params, Precision, ResNet, ResNetConfig};
use wgrad::optim::{Ema, Group, LossScaler, Momentum, Schedule, Sgd, SgdOptions};
use wgrad::reference::ema as reference;
use wgrad::{Gpu, Rng, Tensor};

use crate::common::*;

const ADAPTIVE: Momentum = Momentum::Adaptive { shortest: 0.9, longest: 0.999 };
/// `x` is a difference of sums of squares in f32, of which half cancels.
const DECIDED: Tol = Tol::new(1e-6, 2e-5);

fn model_on(gpu: &Gpu, shapes: &[&[usize]]) -> Params {
    let build = ParamBuilder::new(Rng::new(5));
    for (i, shape) in shapes.iter().enumerate() {
        let _ = build.param(&format!("w{i}"), *shape, FileLayout::Same, Init::Uniform { bound: 1.0 });
    }
    build.finish(gpu).unwrap()
}

/// No size but the last is a multiple of 4, and the largest spans chunks.
fn ragged() -> Params {
    model_on(gpu(), &[&[1], &[7, 9], &[5, 13], &[17, 241], &[3, 3, 127, 31], &[131], &[64]])
}

/// Values in [-1, 1) where there are parameters, zero between them.
fn drawn(params: &Params, seed: u32) -> Vec<f32> {
    let mut flat = vec![0.0; params.flat().len()];
    for s in params.segments() {
        flat[s.range()].copy_from_slice(&data(seed + s.offset as u32, s.len()));
    }
    flat
}

fn upload(params: &Params, values: &[f32]) -> Tensor {
    gpu().tensor(values, params.flat().shape()).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    values(x).into_iter().map(f32::to_bits).collect()
}

fn part<'a>(ema: &'a Ema, name: &str) -> &'a Tensor {
    ema.state().into_iter().find(|(part, _)| *part == name).unwrap().1
}

#[test]
fn by_schedule_the_teacher_moves_and_only_the_teacher() {
    let student = ragged();
    let teacher = student.fork();
    let start = f64s(&values(student.flat()));
    let moved = drawn(&student, 70);
    student.flat().write(&moved);
    let ema = Ema::new(&student, Momentum::Cosine { from: 0.9, to: 1.0, steps: 10 }).unwrap();
    let scaler = LossScaler::new(&student).unwrap();
    let update = |step| ema.update(&teacher, &student, student.flat(), &scaler, step);
    update(0);
    let want: Vec<f64> = start.iter().zip(&moved).map(|(t, &s)| 0.9 * t + 0.1 * f64::from(s)).collect();
    let got = values(teacher.flat());
    assert_close("ema", &got, &want, F32);
    assert_eq!(values(student.flat()), moved);
    update(10);
    assert_eq!(values(teacher.flat()), got, "momentum 1 leaves the teacher");
    let schedule = Schedule::cosine(0.9, 1.0, 10);
    for step in [0, 3, 10, 11] {
        assert_eq!(ema.momentum(step).item().unwrap(), schedule.at(step));
    }
    assert!(ema.state().is_empty());
}

#[test]
fn adaptive_equals_its_reference() {
    let student = ragged();
    let teacher = student.fork();
    let ema = Ema::new(&student, ADAPTIVE).unwrap();
    let scaler = LossScaler::new(&student).unwrap();
    let mut want = f64s(&values(teacher.flat()));
    let (mut state, mut average) = (reference::State::new(0.9), vec![0.0; want.len()]);
    let signal = drawn(&student, 1);
    for step in 0..6 {
        let moved = drawn(&student, 10 + step);
        let gradient: Vec<f32> =
            drawn(&student, 20 + step).iter().zip(&signal).map(|(noise, signal)| noise + signal).collect();
        student.flat().write(&moved);
        ema.update(&teacher, &student, &upload(&student, &gradient), &scaler, step.into());
        let sources = [&*f64s(&moved), &*f64s(&gradient)];
        reference::adaptive(&mut state, &mut average, &mut want, sources, false, [0.9, 0.999]);
        let decided = [state.momentum, state.weight, state.signal, state.squares, state.sum, state.sum_2];
        assert_close("decided", &values(part(&ema, "decided")), &decided, DECIDED);
        assert_eq!(ema.momentum(step.into()).item().unwrap(), values(part(&ema, "decided"))[0]);
        assert_eq!(step < 2, state.momentum == 0.9, "two steps with the shortest window");
    }
    assert_close("teacher", &values(teacher.flat()), &want, F32);
    assert_close("average", &values(part(&ema, "gradient")), &average, F32);
}

/// A gradient of known signal and noise: 20,480 normal values around a mean.
#[test]
fn the_window_follows_the_share_of_signal() {
    let student = model_on(gpu(), &[&[20_480]]);
    let teacher = student.fork();
    let ema = Ema::new(&student, Momentum::Adaptive { shortest: 0.9, longest: 0.99 }).unwrap();
    let scaler = LossScaler::new(&student).unwrap();
    let mut rng = Rng::new(3);
    let mut after = |steps: u64, mean: f32, deviation: f32| {
        for step in 0..steps {
            let gradient = gpu().normal([20_480], mean, deviation, &mut rng).unwrap();
            ema.update(&teacher, &student, &gradient, &scaler, step);
        }
        let decided = values(part(&ema, "decided"));
        (f64::from(decided[2]), f64::from(decided[1]))
    };
    // Three gradients tell already; the estimate then errs by 2 % at most.
    for (steps, mean, deviation, tolerance) in
        [(3, 0.5, 1.0, 0.1), (200, 0.5, 1.0, 0.02), (400, 1.0, 0.5, 0.02)]
    {
        let (x, weight) = after(steps, mean, deviation);
        let want = f64::from(mean * mean / (mean * mean + deviation * deviation));
        assert!((x / want - 1.0).abs() <= tolerance, "x is {x}, not {want}");
        assert!((weight / (0.1 * want.cbrt()) - 1.0).abs() <= tolerance, "1 - m is {weight} for x {want}");
    }
    let (x, weight) = after(400, 0.0, 1.0);
    assert!(x < 1e-3 && (weight - 0.01).abs() < 1e-8, "noise alone: x {x}, 1 - m {weight}");
    let (x, weight) = after(400, 1.0, 0.0);
    assert!(x > 0.999 && (weight - 0.1).abs() < 1e-4, "signal alone: x {x}, 1 - m {weight}");
}

#[test]
fn gradients_of_zero_keep_the_shortest_window() {
    let student = ragged();
    let ema = Ema::new(&student, ADAPTIVE).unwrap();
    let scaler = LossScaler::new(&student).unwrap();
    for step in 0..3 {
        ema.update(&student.fork(), &student, &student.flat().full_like(0.0), &scaler, step);
    }
    assert_eq!(values(part(&ema, "decided"))[..3], [0.9, 0.1, 1.0]);
}

/// Steps that mixed precision skips move the teacher with the momentum that was decided, and nothing else.
#[test]
fn skipped_steps_change_nothing_but_the_teacher() {
    if !Precision::F16.runs_on(gpu()) {
        return;
    }
    let build = ParamBuilder::new(Rng::new(5));
    let used = build.param("used", [7, 31], FileLayout::Same, Init::Uniform { bound: 1.0 });
    let _ = build.param("idle", [5, 13], FileLayout::Same, Init::Uniform { bound: 1.0 });
    let student = build.finish(gpu()).unwrap().with_precision(Precision::F16);
    let teacher = student.fork();
    let (ema, scaler) = (Ema::new(&student, ADAPTIVE).unwrap(), LossScaler::new(&student).unwrap());
    let mut sgd = Sgd::new(&student, SgdOptions::default(), Group::default_for).unwrap();
    for (step, scale) in [1.0, 1.0, 1.0, f32::INFINITY, f32::NAN, 1.0].into_iter().enumerate() {
        let slope = gpu().tensor(&data(step as u32, 217), [7, 31]).unwrap().mul_scalar(scale);
        let gradient = scaler.gradient(&student, &student.get(used).mul(&slope).sum_all());
        scaler.step(&mut sgd, &student, &gradient, 0.1);
        let before = [part(&ema, "decided"), part(&ema, "gradient")].map(bits);
        let [t, w] = [&teacher, &student].map(|p| f64s(&values(p.flat())));
        let weight = f64::from(values(part(&ema, "decided"))[1]);
        ema.update(&teacher, &student, &gradient, &scaler, step as u64);
        let want: Vec<f64> = t.iter().zip(&w).map(|(t, w)| t + weight * (w - t)).collect();
        assert_close("teacher", &values(teacher.flat()), &want, F32);
        let after = [part(&ema, "decided"), part(&ema, "gradient")].map(bits);
        let kept = before[0][1..] == after[0][1..] && before[1] == after[1];
        assert_eq!(kept, !scale.is_finite(), "step {step}");
    }
}

/// Without a scaler the student is lost with such a step; the momentum stays finite all the same.
#[test]
fn a_gradient_that_is_not_finite_decides_nothing() {
    let student = ragged();
    let teacher = student.fork();
    let (ema, scaler) = (Ema::new(&student, ADAPTIVE).unwrap(), LossScaler::new(&student).unwrap());
    ema.update(&teacher, &student, &upload(&student, &drawn(&student, 1)), &scaler, 0);
    let before = bits(part(&ema, "decided"));
    let mut gradient = drawn(&student, 2);
    gradient[0] = f32::NAN;
    ema.update(&teacher, &student, &upload(&student, &gradient), &scaler, 1);
    assert_eq!(bits(part(&ema, "decided")), before);
    assert!(values(teacher.flat()).iter().all(|t| t.is_finite()));
}

#[test]
fn a_resumed_teacher_is_the_same_bits() {
    let run = |resume_at: Option<u32>| {
        let student = ragged();
        let teacher = student.fork();
        let scaler = LossScaler::new(&student).unwrap();
        let mut ema = Ema::new(&student, ADAPTIVE).unwrap();
        for step in 0..6 {
            if resume_at == Some(step) {
                let saved: Vec<Vec<f32>> = ema.state().iter().map(|(_, t)| values(t)).collect();
                ema = Ema::new(&student, ADAPTIVE).unwrap();
                for ((_, tensor), saved) in ema.state().into_iter().zip(&saved) {
                    tensor.write(saved);
                }
            }
            student.flat().write(&drawn(&student, 40 + step));
            let gradient = upload(&student, &drawn(&student, 60 + step));
            ema.update(&teacher, &student, &gradient, &scaler, step.into());
        }
        [teacher.flat(), part(&ema, "decided"), part(&ema, "gradient")].map(bits)
    };
    let first = run(None);
    assert!(first == run(None) && first == run(Some(3)));
}

#[test]
fn a_schedule_is_one_launch_and_adaptive_two() {
    let gpu = Gpu::builder().quiet().profile(true).build().unwrap();
    if !gpu.info().timestamps {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let student = model_on(&gpu, &[&[5, 13], &[9001], &[3]]);
    let (teacher, scaler) = (student.fork(), LossScaler::new(&student).unwrap());
    let cosine = Momentum::Cosine { from: 0.99, to: 1.0, steps: 10 };
    for (momentum, launches) in [(Momentum::Constant(0.9), 1), (cosine, 1), (ADAPTIVE, 2)] {
        let ema = Ema::new(&student, momentum).unwrap();
        let count = || gpu.profile().iter().map(|row| row.calls).sum::<u64>();
        let before = count();
        ema.update(&teacher, &student, student.flat(), &scaler, 0);
        assert_eq!(count() - before, launches, "{momentum:?}");
    }
}

/// A teacher's forward pass leaves its output, where the student's keeps what backward needs.
#[test]
fn a_teachers_forward_pass_records_no_graph() {
    let gpu = own_gpu();
    let build = ParamBuilder::new(Rng::new(1));
    let config = ResNetConfig { stages: vec![(8, 1), (16, 1)], ..ResNetConfig::resnet8() };
    let net = ResNet::new(&build, &config);
    let student = build.finish(&gpu).unwrap();
    let teacher = student.fork();
    let images = gpu.full([4, 16, 16, 3], 0.5).unwrap();
    let live = || gpu.memory().live;
    let start = live();
    let like_output = gpu.zeros([4, net.features()]).unwrap();
    let one = live() - start;
    drop(like_output);
    assert!(one > 0 && live() == start);
    for mode in [Mode::Train, Mode::Eval] {
        let features = net.forward(&teacher, &images, mode);
        assert!(!features.tracks_grad());
        assert_eq!(live() - start, one, "the output alone, {mode:?}");
        drop(features);
        assert_eq!(live(), start, "{mode:?}");
    }
    let features = net.forward(&student, &images, Mode::Train);
    assert!(features.tracks_grad() && live() - start > 20 * one);
}

#[test]
#[should_panic(expected = "Ema: no momentum Adaptive { shortest: 0.9, longest: 0.5 }")]
fn a_shortest_window_above_the_longest_panics() {
    let _ = Ema::new(&ragged(), Momentum::Adaptive { shortest: 0.9, longest: 0.5 });
}

#[test]
#[should_panic(expected = "Ema: flat parameters are")]
fn a_gradient_of_another_shape_panics() {
    let student = ragged();
    let ema = Ema::new(&student, ADAPTIVE).unwrap();
    let scaler = LossScaler::new(&student).unwrap();
    ema.update(&student.fork(), &student, &gpu().zeros([3]).unwrap(), &scaler, 0);
}
