//! Keys in a queue go stale with their age, the less the slower the teacher that makes them.
//!
//!     cargo run --release --example figure_moco_queue
//!
//! A queue of K keys, of which a step replaces N, keeps a key for K / N steps. Meanwhile the teacher moves, a step by
//!
//!     teacher <- teacher + (1 - m) (student - teacher)
//!
//! and this velocity lasts for about 1 / (1 - m) steps: until then the teacher goes straight on. A key turns by an angle that grows
//! with its age, so its staleness, 1 - cosine with what the teacher makes of the same images now, grows as age^2; a random walk
//! would give age^1. That is the case for a large m in He et al. 2020, "Momentum Contrast", section 3.2.
//!
//! A student is to tell its own key, a new one, from those of the queue, and where keys show their age it can do so without a look
//! at the images. The cue is the mean cosine of new keys of different images less that of new keys with the oldest: 0 if age does
//! not show. With m = 0 all keys run from the queue in one crowd, and while they do, the loss is low.
//!
//! In the paper m = 0 fails, and 0.9, 0.99, 0.999 give 55.2, 57.8, 59.0 % on ImageNet (section 4.1). Here are 161 steps: m = 0
//! settles after all, on a worse loss, and 0.999, which looks back over 1,000 steps, hardly leaves its start: the best m lies
//! between. In accuracy, after so few steps, momenta differ less than seeds.

use std::process::ExitCode;

use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder, Params};
use wgrad::ssl::{Queue, mi_bound, moco_loss};
use wgrad::train::figure::{self, Args, Figure, Miniature, line, theory};
use wgrad::{Gpu, Tensor};

/// Width of the embedding, steps of a run, learning rate, temperature.
const WIDTH: usize = 64;
const STEPS: u64 = 161;
const LR: f64 = 0.02;
const TAU: f32 = 0.2;
/// Momenta of the teacher, each with the longest queue; lengths in keys, each with the momentum of index `MIDDLE`.
const MOMENTA: [f64; 4] = [0.0, 0.9, 0.99, 0.999];
const LENGTHS: [usize; 3] = [128, 512, 2048];
const MIDDLE: usize = 2;
/// Steps in the longest queue, and between batches whose keys are made again; the ages, in steps, when they are.
const LIFE: u64 = (LENGTHS[2] / Miniature::BATCH) as u64;
const AGES: [u64; 6] = [1, 2, 4, 8, 16, LIFE];
/// Steps between points of a curve, from when all keys are of later steps than 0.
const EVERY: u64 = 16;

/// What is measured of a run: staleness by age, cue and bound by step, kNN accuracy before and after.
struct Run {
    stale: Vec<(f64, f64)>,
    cue: Vec<(f64, f64)>,
    bound: Vec<(f64, f64)>,
    knn: [f64; 2],
}

fn main() -> ExitCode {
    figure::main(include_str!("figure_moco_queue.rs"), moco_queue)
}

pub(crate) fn moco_queue(args: &Args) -> wgrad::Result<Figure> {
    let gpu = args.gpu()?;
    let demo = Miniature::demo(args, &gpu)?;
    let mut figure = Figure::new("moco_queue", "momentum,queue,curve,x,y");
    let (mut runs, shorter) = (vec![], [0, 1].map(|which: usize| (MOMENTA[MIDDLE], LENGTHS[which])));
    for (m, keys) in MOMENTA.map(|m| (m, LENGTHS[2])).into_iter().chain(shorter) {
        let run = train(args, &gpu, &demo, m, keys)?;
        for (curve, points) in [&run.stale, &run.cue, &run.bound].into_iter().enumerate() {
            points.iter().for_each(|(x, y)| figure.row(&[m, keys as f64, curve as f64, *x, *y]));
        }
        runs.push(run);
    }
    let (runs, shorter) = runs.split_at(MOMENTA.len());
    let by_m = |value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<_>>();
    let short = |v: &f64| if *v < 0.01 { format!("{v:.1e}") } else { format!("{v:.3}") };
    let list = |values: &[f64]| values.iter().map(short).collect::<Vec<_>>().join(" ");
    let falls = |values: &[f64]| values.windows(2).all(|pair| pair[0] > pair[1]);

    // With m = 0 it is the student's velocity, of momentum 0.9, that lasts for 10 steps.
    for (m, exponent) in MOMENTA.iter().zip(by_m(|run| (run.stale[2].1 / run.stale[0].1).log(4.0))) {
        figure.near(format!("m = {m}: staleness to age 4 grows as age to the power"), 2.0, exponent, 0.25);
    }
    let old = by_m(|run| run.stale[4].1);
    figure.claim("staleness at age 16, by m", "falls with m", list(&old), falls(&old));
    let oldest = [runs[MIDDLE].stale[5], shorter[1].stale[3], shorter[0].stale[1]];
    let old = oldest.map(|point| point.1);
    figure.claim("staleness of the oldest of 2048, 512, 128 keys", "falls", list(&old), falls(&old));
    let cues = by_m(|run| run.cue.iter().map(|point| point.1).fold(f64::MIN, f64::max));
    figure.claim("largest cue, by m", "falls with m from > 0.3", list(&cues), falls(&cues) && cues[0] > 0.3);
    let bounds = by_m(|run| run.bound[run.bound.len() - 1].1);
    let inner = bounds[MIDDLE] > bounds[0].max(bounds[3]) + 0.1;
    figure.claim("ln(K + 1) - L at the end, by m", "0.99 above both ends by 0.1", list(&bounds), inner);
    let ([random, learned], knn) = (runs[MIDDLE].knn, by_m(|run| run.knn[1]));
    let (expected, learns) = (format!("0.99 above untrained {random:.3} + 0.03"), learned > random + 0.03);
    figure.claim("kNN accuracy, by m", expected, list(&knn), learns);
    let logs = |points: &[(f64, f64)]| points.iter().map(|p| (p.0.log10(), p.1.log10())).collect::<Vec<_>>();
    let named = |curve: &dyn Fn(&Run) -> Vec<(f64, f64)>| {
        MOMENTA.iter().zip(runs).map(|(m, run)| line(&format!("m = {m}"), curve(run))).collect::<Vec<_>>()
    };
    let mut ages = named(&|run| logs(&run.stale));
    ages.push(line("0.99: oldest of 128, 512, 2048", logs(&[oldest[2], oldest[1], oldest[0]])));
    let [slow, old] = [0, 5].map(|age| (AGES[age] as f64, runs[3].stale[0].1 * (AGES[age] as f64).powi(2)));
    ages.push(theory("age^2", logs(&[slow, old])));
    figure.panel("log10 staleness of a key", "log10 of its age in steps", ages);
    figure.panel("cue: how much keys show their age", "step", named(&|run| run.cue.clone()));
    figure.panel("ln(K + 1) - L, nats", "step", named(&|run| run.bound.clone()));
    figure.finish(args, &gpu)
}

/// Trains with a teacher of momentum `m` and a queue of `keys`.
fn train(args: &Args, gpu: &Gpu, demo: &Miniature, m: f64, keys: usize) -> wgrad::Result<Run> {
    let build = ParamBuilder::new(args.rng());
    let encoder = demo.encoder(&build);
    let head = MlpConfig::simclr(encoder.features(), &[WIDTH, WIDTH]);
    let projector = Mlp::new(&build.scope("projector"), &head);
    let params = build.finish(gpu)?;
    let embed = |params: &Params, images: &Tensor| {
        projector.forward(params, &encoder.forward(params, images, Mode::Train), Mode::Train).l2_normalize()
    };
    let before = demo.knn(&encoder, &params)?;
    let (teacher, n) = (params.fork(), Miniature::BATCH);
    let mut queue = Queue::new(gpu, keys, WIDTH, &mut args.rng())?;
    let (mut newest, mut kept): (Option<Tensor>, Option<[Tensor; 2]>) = (None, None);
    let mut stale = AGES.map(|age| (age as f64, 0.0)).to_vec();
    let (mut losses, mut cue, mut bound) = (vec![], vec![], vec![]);
    let loss = |views: &Tensor, step: u64| {
        // The student has moved: the teacher follows, and the keys of that step join the queue.
        teacher.flat().lerp_(params.flat(), (1.0 - m) as f32);
        newest.take().iter().for_each(|keys| queue.enqueue(keys));
        let (first, second) = (views.slice_rows(0, n), views.slice_rows(n, n));
        let k = embed(&teacher, &second);
        let loss = moco_loss(&embed(&params, &first), &k, &queue, TAU);
        let age = AGES.iter().position(|age| step > LIFE && (step - 1) % LIFE + 1 == *age);
        if let (Some([images, then]), Some(age)) = (&kept, age) {
            let cosine = embed(&teacher, images).mul(then).sum(&[1]).mean_all().item()?;
            stale[age].1 += f64::from(1.0 - cosine) / (STEPS / LIFE - 1) as f64;
        }
        kept = if step > 0 && step.is_multiple_of(LIFE) { Some([second, k.clone()]) } else { kept.take() };
        losses.push(loss.item()?);
        if step > LIFE && step.is_multiple_of(EVERY) {
            let (new, rows) = (k.mean(&[0]), n as f32);
            let oldest = queue.rows().slice_rows(queue.pointer(), n).mean(&[0]);
            // The square of the mean has the cosine of each key with itself, 1, among its n^2 terms.
            let alike = (new.square().sum_all().item()? * rows - 1.0) / (rows - 1.0);
            cue.push((step as f64, f64::from(alike - new.mul(&oldest).sum_all().item()?)));
            let recent = losses.iter().rev().take(EVERY as usize).sum::<f32>() / EVERY as f32;
            bound.push((step as f64, f64::from(mi_bound(recent, keys + 1))));
        }
        newest = Some(k);
        Ok(loss)
    };
    demo.train(&params, STEPS, LR, loss, |_, _| Ok(()))?;
    Ok(Run { stale, cue, bound, knn: [before, demo.knn(&encoder, &params)?] })
}
