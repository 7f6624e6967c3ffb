//! Contrast beyond photographs: motifs in DNA found without labels.
//!
//!     cargo run --release --example figure_dna
//!
//! A sequence of bases can be read on either strand: backwards, A for T and C for G, it is the same molecule, and a mutation here and
//! there seldom changes what it does. So a view of a sequence is a stretch of it, some bases mutated, on one strand or the other. Two
//! stretches share no base, only what recurs along the sequence, here a motif such as a protein binds to; a score of the pair can
//! only be
//!
//!     f(view 1, view 2) = ln p(view 2 | motif of view 1) / p(view 2) + c(view 1)
//!
//! the log-ratio of the figures above, so the encoder has to find the motifs. It is another argument: a one-dimensional convolution as
//! long as a motif, and the best match along the sequence, as in Alipanahi et al. 2015, "Predicting the sequence specificities of
//! DNA- and RNA-binding proteins by deep learning"; the loss is SimCLR's (Chen et al. 2020, equation 1).
//!
//! Measured: kNN accuracy (20 neighbours) of eight motifs, each on a random strand of a random background; and the cosine between the
//! embeddings of a sequence and of its reverse complement, trained with both strands and with one.

use std::process::ExitCode;

use wgrad::data::dna::{Bases, MOTIF, motif_sequences, mutate, random_motifs, reverse_complement};
use wgrad::eval::{Knn, knn_accuracy};
use wgrad::nn::{FileLayout, Init, Mlp, MlpConfig, Mode, ParamBuilder, Params};
use wgrad::ops::Conv2dOptions;
use wgrad::optim::{AdamW, AdamWOptions, Group, Optimizer, Schedule};
use wgrad::rng::streams;
use wgrad::ssl::nt_xent;
use wgrad::train::figure::{self, Args, Figure, line, theory};
use wgrad::{Gpu, Result, Tensor};

/// Sequences for training and for testing; the length of one and of a view, in bases; motifs.
const SEQUENCES: [usize; 2] = [2000, 1000];
const LENGTH: usize = 192;
const VIEW: usize = LENGTH / 2;
const MOTIFS: usize = 8;
/// Chance that a view mutates a base, in percent.
const MUTATED: u32 = 10;
/// Filters, sequences of a step, steps, learning rate, temperature.
const FILTERS: usize = 64;
const BATCH: usize = 128;
const STEPS: u64 = 200;
const LR: f64 = 5e-3;
const TAU: f32 = 0.2;

fn main() -> ExitCode {
    figure::main(include_str!("figure_dna.rs"), dna)
}

/// One-hot rows `[n, 1, length, 4]`.
fn one_hot(gpu: &Gpu, rows: &[Bases]) -> Result<Tensor> {
    let identity: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
    let (bases, length) = (rows.concat(), rows[0].len());
    let hot = gpu.tensor(&identity, [4, 4])?.gather_rows(&gpu.tensor_u32(&bases, [bases.len()])?);
    Ok(hot.reshape([rows.len(), 1, length, 4]))
}

pub(crate) fn dna(args: &Args) -> Result<Figure> {
    let (gpu, mut rng) = (args.gpu()?, args.rng());
    let mut figure = Figure::new("dna", "both_strands,step,knn,cosine");
    let motifs = random_motifs(MOTIFS, &mut rng);
    let [(train, labels), (test, test_labels)] =
        SEQUENCES.map(|n| motif_sequences(n, LENGTH, &motifs, &mut rng));
    let turned: Vec<Bases> = test.iter().map(|bases| reverse_complement(bases)).collect();
    let [bank, queries, turned] = [one_hot(&gpu, &train)?, one_hot(&gpu, &test)?, one_hot(&gpu, &turned)?];
    let knn = |map: &dyn Fn(&Tensor) -> Tensor| {
        let votes = Knn { k: 20, tau: 0.1 };
        Ok::<_, wgrad::Error>(
            100.0 * knn_accuracy(&map(&bank), &labels, &map(&queries), &test_labels, votes)?,
        )
    };
    let raw = knn(&|x| x.reshape([x.shape()[0], 4 * LENGTH]))?;
    let (mut accuracies, mut cosines) = (vec![], vec![]);
    for both in [true, false] {
        let build = ParamBuilder::new(rng.stream(streams::INIT));
        let init = Init::kaiming_fan_out(FILTERS * MOTIF);
        let filters = build.param("filters", [1, MOTIF, 4, FILTERS], FileLayout::Conv, init);
        let projector = Mlp::new(&build.scope("projector"), &MlpConfig::simclr(FILTERS, &[64, 32]));
        let params = build.finish(&gpu)?;
        let encode = |params: &Params, x: &Tensor| {
            let matches = x.conv2d(&params.get(filters), Conv2dOptions::new());
            let [n, length] = [matches.shape()[0], matches.shape()[2]];
            matches.max_pool2d([1, length], [1, 1], [0, 0]).reshape([n, FILTERS])
        };
        let mut adam = AdamW::new(&params, AdamWOptions::default(), Group::default_for)?;
        let schedule = Schedule::warmup_cosine(LR, STEPS / 10, STEPS);
        let (mut accuracy, mut cosine) = (vec![], vec![]);
        for step in 0..=STEPS {
            if step % 20 == 0 {
                let embed =
                    |x: &Tensor| projector.forward(&params, &encode(&params, x), Mode::Eval).l2_normalize();
                let same = embed(&queries).mul(&embed(&turned)).sum(&[1]).mean_all().item()?;
                accuracy.push((step as f64, knn(&|x| encode(&params, x))?));
                cosine.push((step as f64, f64::from(same)));
                figure.row(&[
                    f64::from(u8::from(both)),
                    step as f64,
                    accuracy[accuracy.len() - 1].1,
                    same.into(),
                ]);
            }
            let drawn: Vec<&Bases> =
                (0..BATCH).map(|_| &train[rng.below(SEQUENCES[0] as u32) as usize]).collect();
            let mut view = |from: usize| {
                let view = mutate(&drawn[from % BATCH][from / BATCH * VIEW..][..VIEW], MUTATED, &mut rng);
                if both && rng.below(2) == 0 { reverse_complement(&view) } else { view }
            };
            let views: Vec<Bases> = (0..2 * BATCH).map(&mut view).collect();
            let z = projector.forward(&params, &encode(&params, &one_hot(&gpu, &views)?), Mode::Train);
            let loss = nt_xent(&z.slice_rows(0, BATCH), &z.slice_rows(BATCH, BATCH), TAU);
            adam.step(&params, &params.pack(&loss.backward()), schedule.at(step));
        }
        accuracies.push(accuracy);
        cosines.push(cosine);
    }
    let [random, trained] = [accuracies[0][0].1, accuracies[0][accuracies[0].len() - 1].1];
    for (what, before) in [("random init", random), ("raw one-hot sequences", raw)] {
        figure.claim(
            format!("kNN, trained on both strands, against {what}"),
            format!("> {before:.1} % + 20"),
            format!("{trained:.1} %"),
            trained > before + 20.0,
        );
    }
    let [both, one] = [0, 1].map(|which| cosines[which][cosines[which].len() - 1].1);
    figure.claim(
        "cosine with the reverse complement, both strands against one",
        format!("> {one:.3} + 0.3"),
        format!("{both:.3}"),
        both > one + 0.3,
    );
    let flat = theory("raw", [(0.0, raw), (STEPS as f64, raw)]);
    let lines = |curves: Vec<_>| {
        ["both strands", "one strand"].into_iter().zip(curves).map(|(label, curve)| line(label, curve))
    };
    figure.panel("kNN accuracy (%)", "step", lines(accuracies).chain([flat]).collect());
    figure.panel("cosine with the reverse complement", "step", lines(cosines).collect());
    figure.finish(args, &gpu)
}
