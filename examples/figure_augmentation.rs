//! Augmentation decides what a representation forgets: what the views of an image do not share.
//!
//!     cargo run --release --example figure_augmentation
//!
//! Each image is one of four shapes in the middle of one of four striped grounds, drawn independently, with noise. A view is the
//! image with other brightness, contrast and noise; in the second view the ground, or the shape, is replaced by that of another
//! image of the batch. Of what is replaced a view tells nothing about the other one, so a representation that keeps it gains
//! nothing: augmentation alone decides which of two tasks the network solves,
//!
//!     ln N - L <= I(view 1; view 2) <= H(what they share)
//!
//! Tian et al. 2020, "What Makes for Good Views for Contrastive Learning?", section 3: good views share what a task needs, no more.
//!
//! Linear probes read both labels off images as they are. The loss is on the projector's output, where the replaced factor fades,
//! if not to chance, 1/4: a probe scales up the little that is left. The encoder's output keeps more, which is why the projector is
//! thrown away (Chen et al. 2020, section 4.2).

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::data::{Dataset, Recipe, Splits};
use wgrad::eval::{LinearProbe, linear_probe};
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::rng::{Rng, streams};
use wgrad::ssl::nt_xent;
use wgrad::train::figure::{self, Args, Figure, Miniature, line, theory};

/// Side of an image and of the patch in its middle, pixels; images of a split; labels of each factor.
const SIDE: usize = 28;
const PATCH: usize = 16;
const IMAGES: usize = 1024;
const LABELS: u32 = 4;
/// In grey levels: half the contrast of a shape and of stripes, largest noise. Noise of a view, in deviations of the images.
const CONTRAST: [i32; 2] = [45, 25];
const GRAIN: u32 = 60;
const NOISE: f32 = 0.7;
/// Width of the embedding, steps of a run, steps between probes, learning rate, temperature.
const WIDTH: usize = 64;
const STEPS: u64 = 120;
const EVERY: u64 = 30;
const LR: f64 = 0.1;
const TAU: f32 = 0.2;
/// What the second view replaces.
const REPLACED: [&str; 3] = ["nothing", "the ground", "the shape"];

fn main() -> ExitCode {
    figure::main(include_str!("figure_augmentation.rs"), augmentation)
}

/// Whether a pixel is of the patch.
fn in_patch(y: usize, x: usize) -> bool {
    [y, x].iter().all(|at| (SIDE - PATCH..SIDE + PATCH).contains(&(2 * at)))
}

/// Images, and the labels of their shapes and of their grounds.
fn draw(rng: &mut Rng) -> (Dataset, [Vec<u32>; 2]) {
    let labels: [Vec<u32>; 2] = [0, 1].map(|_| (0..IMAGES).map(|_| rng.below(LABELS)).collect());
    let mut images = vec![];
    for (image, y, x) in (0..IMAGES * SIDE * SIDE).map(|at| (at / SIDE / SIDE, at / SIDE % SIDE, at % SIDE)) {
        let [v, u] = [y, x].map(|at| (2 * at as i32 + 1 - SIDE as i32).abs());
        // Disc, frame, plus, cross, from half pixels to the centre; stripes in four directions.
        let shapes = [u * u + v * v < 110, (9..14).contains(&u.max(v)), u.min(v) < 4, (u - v).abs() < 6];
        let grounds = [2 * x, 2 * y, x + y, SIDE + x - y].map(|along| along % 16 < 8);
        let [shape, ground] = [0, 1].map(|factor: usize| labels[factor][image] as usize);
        let (bright, contrast) =
            if in_patch(y, x) { (shapes[shape], CONTRAST[0]) } else { (grounds[ground], CONTRAST[1]) };
        let grain = rng.below(2 * GRAIN + 1) as i32 - GRAIN as i32;
        images.push((128 + grain + if bright { contrast } else { -contrast }) as u8);
    }
    let (name, shapes, class_names) = ("scenes".into(), labels[0].clone(), vec![]);
    let (height, width, channels, mean, std) = (SIDE, SIDE, 1, [0.5; 3], [0.2; 3]);
    (Dataset { name, images, labels: shapes, height, width, channels, class_names, mean, std }, labels)
}

pub(crate) fn augmentation(args: &Args) -> wgrad::Result<Figure> {
    let (gpu, rng, n) = (args.gpu()?, args.rng(), Miniature::BATCH);
    let mut figure = Figure::new("augmentation", "replaced,step,output,shape,ground");
    let mut source = rng.stream(streams::SYNTHETIC);
    let ((train, known), (test, asked)) = (draw(&mut source), draw(&mut source));
    let recipe = Recipe { crop: None, flip: 0.0, ..Recipe::for_dataset(&train) };
    let demo = Miniature::new(args, &gpu, Splits { train, test }, recipe);
    let pixels = (0..SIDE * SIDE).map(|at| if in_patch(at / SIDE, at % SIDE) { 1.0 } else { 0.0 });
    let settings = LinearProbe { steps: 200, ..LinearProbe::default() };
    let (patch, mut runs) = (gpu.tensor(&pixels.collect::<Vec<f32>>(), [1, SIDE, SIDE, 1])?, vec![]);
    for which in 0..REPLACED.len() {
        let build = ParamBuilder::new(rng.clone());
        let encoder = demo.encoder(&build);
        let head = MlpConfig::simclr(encoder.features(), &[WIDTH, WIDTH]);
        let projector = Mlp::new(&build.scope("projector"), &head);
        let params = build.finish(&gpu)?;
        let mut draws = rng.stream(streams::USER);
        let loss = |views: &Tensor, _| {
            let [first, second] = [0, n].map(|at| views.slice_rows(at, n));
            // Row i gets what is around the patch, or the patch, of row i + 1.
            let next = Tensor::concat_rows(&[&second.slice_rows(1, n - 1), &second.slice_rows(0, 1)]);
            let second = match which {
                0 => second,
                1 => next.add(&second.sub(&next).mul(&patch)),
                _ => second.add(&next.sub(&second).mul(&patch)),
            };
            let noise = gpu.normal(views.shape(), 0.0, NOISE, &mut draws)?;
            let views = noise.add(&Tensor::concat_rows(&[&first, &second]));
            let z = projector.forward(&params, &encoder.forward(&params, &views, Mode::Train), Mode::Train);
            Ok(nt_xent(&z.slice_rows(0, n), &z.slice_rows(n, n), TAU))
        };
        // By output, the encoder's and the projector's: accuracies of shape and ground.
        let mut run: Vec<(f64, [[f64; 2]; 2])> = vec![];
        let mut probe = |step: u64| {
            let frozen = params.frozen();
            let encoded = demo.features(&encoder, &frozen)?;
            let projected = encoded.each_ref().map(|rows| projector.forward(&frozen, rows, Mode::Eval));
            let mut found = [[0.0; 2]; 2];
            for (output, [bank, queries]) in [encoded, projected].iter().enumerate() {
                for (known, (asked, found)) in known.iter().zip(asked.iter().zip(&mut found[output])) {
                    *found = linear_probe(bank, known, queries, asked, settings)?;
                }
                figure.row(&[which as f64, step as f64, output as f64, found[output][0], found[output][1]]);
            }
            run.push((step as f64, found));
            Ok(())
        };
        probe(0)?;
        let last = |step: u64| (step + 1).is_multiple_of(EVERY);
        demo.train(&params, STEPS, LR, loss, |_, step| if last(step) { probe(step + 1) } else { Ok(()) })?;
        runs.push(run);
    }
    let end: Vec<_> = runs.iter().map(|run| run[run.len() - 1].1).collect();
    for (factor, name, kept, replaced) in [(0, "shape", 1, 2), (1, "ground", 2, 1)] {
        let least = end[0][0][factor].min(end[kept][0][factor]);
        figure.claim(format!("{name} kept: encoder"), "> 0.95", format!("{least:.3}"), least > 0.95);
        let [before, encoder, after] =
            [runs[0][0].1[1], end[replaced][0], end[replaced][1]].map(|found| found[factor]);
        let (below, holds) = (format!("< {before:.3} untrained - 0.02"), after < before - 0.02);
        figure.claim(format!("{name} replaced: projector"), below, format!("{after:.3}"), holds);
        let (above, holds) = ("> projector's + 0.1", encoder > after + 0.1);
        figure.claim(format!("{name} replaced: encoder"), above, format!("{encoder:.3}"), holds);
    }
    for (replaced, run) in REPLACED.iter().zip(&runs) {
        let curves =
            [("shape", 0, 0), ("ground", 0, 1), ("shape, projector", 1, 0), ("ground, projector", 1, 1)];
        let curve = |(label, output, factor): (&str, usize, usize)| {
            line(label, run.iter().map(|(step, found)| (*step, found[output][factor])))
        };
        let chance = theory("chance", [0.0, STEPS as f64].map(|step| (step, 1.0 / f64::from(LABELS))));
        let lines = curves.into_iter().map(curve).chain([chance]).collect();
        figure.panel(&format!("accuracy, {replaced} replaced"), "step", lines);
    }
    figure.finish(args, &gpu)
}
