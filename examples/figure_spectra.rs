//! Contrast beyond photographs: crystal lattices told apart in X-ray powder diffraction, without labels.
//!
//!     cargo run --release --example figure_spectra
//!
//! A powder of crystals with the lattice constant a reflects X-rays of wavelength lambda at the angles of Bragg's law for a cubic
//! lattice,
//!
//!     sin theta = lambda / (2 a) sqrt(h^2 + k^2 + l^2)
//!
//! for those integers h, k, l that the arrangement of atoms does not cancel: in the body-centred lattice their sum is even, in the
//! face-centred one they are all even or all odd, and so on. What tells the lattice is the pattern, not the place: a moves all
//! peaks together, the orientation of the grains changes their heights, their size the widths. Over ln(sin theta) a change of a
//! is a shift. So a view of a measured spectrum is: strained (shifted), heights and background multiplied by a smooth random
//! curve, noise added. That is all that the method is told; the encoder is an argument, here a multilayer perceptron, and the
//! loss is SimCLR's (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", equation 1).
//! Reflection rules and multiplicities: Cullity & Stock 2001, "Elements of X-Ray Diffraction", chapters 3 and 4.
//!
//! Measured: kNN accuracy (5 neighbours) of six lattices with a from 3.5 to 6 angstrom, by the number of labelled spectra among
//! which neighbours are looked for. With enough of them any spectrum has a neighbour of nearly its own a, and the raw spectra
//! serve best; labels being what costs, the left end is the one that matters.

use std::process::ExitCode;

use wgrad::data::powder::{CHANNELS, LATTICES, powder_spectra};
use wgrad::eval::{Knn, knn_accuracy};
use wgrad::nn::{Mlp, MlpConfig, Mode, ParamBuilder};
use wgrad::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use wgrad::rng::streams;
use wgrad::ssl::nt_xent;
use wgrad::train::figure::{self, Args, Figure, line};
use wgrad::{Result, Rng, Tensor};

/// Spectra for training, and for testing; channels of a view.
const SPECTRA: [usize; 2] = [4000, 1000];
const PART: usize = 256;
/// Spectra of a step, steps, learning rate, temperature.
const BATCH: usize = 128;
const STEPS: u64 = 200;
const LR: f64 = 2e-3;
const TAU: f32 = 0.2;
/// Largest strain of a view, in channels either way: about 20 %.
const STRAIN: u32 = 32;
/// Labelled spectra that the accuracy of the others is measured with.
const LABELLED: [usize; 5] = [30, 60, 120, 600, 3600];

fn main() -> ExitCode {
    figure::main(include_str!("figure_spectra.rs"), spectra)
}

/// A view of each spectrum, `[n, PART]`: strained by up to `strain` channels either way, textured, noisy.
fn view(spectra: &Tensor, strain: u32, rng: &mut Rng) -> Result<Tensor> {
    let (gpu, n) = (spectra.gpu(), spectra.shape()[0]);
    let mut places = vec![];
    for row in 0..n {
        let middle = (row * CHANNELS + (CHANNELS - PART) / 2) as u32;
        let first = middle - strain + rng.below(2 * strain + 1);
        places.extend(first..first + PART as u32);
    }
    let places = gpu.tensor_u32(&places, [n * PART])?;
    let cut = spectra.reshape([n * CHANNELS, 1]).gather_rows(&places).reshape([n, PART]);
    if strain == 0 {
        return Ok(cut);
    }
    // A smooth curve: 16 random knots and straight lines between them.
    let hat = |i: usize| {
        let (knot, at) = ((i / PART) as f32, (15 * (i % PART)) as f32 / PART as f32);
        (1.0 - (knot - at).abs()).max(0.0)
    };
    let hats: Vec<f32> = (0..16 * PART).map(hat).collect();
    let curve = gpu.normal([n, 16], 0.0, 0.4, rng)?.matmul(&gpu.tensor(&hats, [16, PART])?).exp();
    Ok(cut.mul(&curve).add(&gpu.normal([n, PART], 0.0, 0.1, rng)?))
}

pub(crate) fn spectra(args: &Args) -> Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("spectra", "raw_init_trained,labelled,knn");
    let [(train, labels), (test, test_labels)] = SPECTRA.map(|n| powder_spectra(n, &mut rng));
    let train = gpu.tensor(&train, [SPECTRA[0], CHANNELS])?;
    let test = gpu.tensor(&test, [SPECTRA[1], CHANNELS])?;
    let plain = [view(&train, 0, &mut rng)?, view(&test, 0, &mut rng)?];
    let build = ParamBuilder::new(rng.stream(streams::INIT));
    let encoder = Mlp::new(&build.scope("encoder"), &MlpConfig::simclr(PART, &[256, 256, 128]));
    let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(128, &[128, 64]));
    let params = build.finish(&gpu)?;

    // With n labelled spectra, the mean over banks that share none; at most eight.
    let knn = |map: &dyn Fn(&Tensor) -> Tensor, n: usize| {
        let ([rows, queries], banks) = (plain.each_ref().map(map), (SPECTRA[0] / n).min(8));
        let accuracies = (0..banks).map(|i| {
            let (bank, labels) = (rows.slice_rows(i * n, n), &labels[i * n..][..n]);
            knn_accuracy(&bank, labels, &queries, &test_labels, Knn { k: 5, tau: TAU })
        });
        Ok::<_, wgrad::Error>(100.0 * accuracies.sum::<Result<f64>>()? / banks as f64)
    };
    let encode = |x: &Tensor| encoder.forward(&params, x, Mode::Eval);
    let by_labels = |map: &dyn Fn(&Tensor) -> Tensor| -> Result<Vec<(f64, f64)>> {
        LABELLED.iter().map(|&n| Ok((((n / LATTICES.len()) as f64).log10(), knn(map, n)?))).collect()
    };
    let [raw, random] = [by_labels(&Tensor::clone)?, by_labels(&encode)?];

    let mut adam = AdamW::new(&params, AdamWOptions::default(), Group::default_for)?;
    let schedule = Schedule::warmup_cosine(LR, STEPS / 10, STEPS);
    let mut curve = vec![];
    for step in 0..=STEPS {
        if step % 20 == 0 {
            curve.push((step as f64, knn(&encode, LABELLED[1])?));
        }
        if step == STEPS {
            break;
        }
        let drawn: Vec<u32> = (0..BATCH).map(|_| rng.below(SPECTRA[0] as u32)).collect();
        let batch = train.gather_rows(&gpu.tensor_u32(&drawn, [BATCH])?);
        let views =
            Tensor::concat_rows(&[&view(&batch, STRAIN, &mut rng)?, &view(&batch, STRAIN, &mut rng)?]);
        let z = projector.forward(&params, &encoder.forward(&params, &views, Mode::Train), Mode::Train);
        let loss = nt_xent(&z.slice_rows(0, BATCH), &z.slice_rows(BATCH, BATCH), TAU);
        adam.step(&params, &params.pack(&loss.backward()), schedule.at(step));
    }
    let trained = by_labels(&encode)?;
    for (which, rows) in [&raw, &random, &trained].into_iter().enumerate() {
        rows.iter().zip(LABELLED).for_each(|(row, n)| figure.row(&[which as f64, n as f64, row.1]));
    }
    for (what, before) in [("random init", &random), ("raw spectra", &raw)] {
        figure.claim(
            format!("kNN with 10 labels a lattice, trained against {what}"),
            format!("> {:.1} % + 10", before[1].1),
            format!("{:.1} %", trained[1].1),
            trained[1].1 > before[1].1 + 10.0,
        );
    }
    let pair = train.slice_rows(2, 1);
    let views = (0..2).map(|i| {
        let counts = view(&pair, STRAIN, &mut rng)?.to_vec()?;
        Ok(line(
            &format!("view {}", i + 1),
            counts.iter().enumerate().map(|(x, y)| (x as f64, f64::from(*y))),
        ))
    });
    figure.panel("a spectrum of the face-centred lattice", "channel", views.collect::<Result<_>>()?);
    figure.panel("kNN accuracy with 10 labels a lattice (%)", "step", vec![line("", curve)]);
    let lines =
        [("raw", raw), ("random init", random), ("trained", trained)].map(|(l, points)| line(l, points));
    figure.panel("kNN accuracy (%)", "log10 of the labels a lattice", lines.into());
    figure.finish(args, &gpu)
}
