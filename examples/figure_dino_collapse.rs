//! DINO needs both: centring keeps one output from winning everywhere, sharpening keeps all from becoming equal.
//!
//!     cargo run --release --example figure_dino_collapse
//!
//! The student is trained to give, for another view, the distribution over K outputs that its own moving average gives,
//!
//!     H(t, s) = -sum_k t_k ln s_k = H(t) + KL(t, s),      t = softmax((teacher - centre) / tau_t)
//!
//! and nothing but the making of t keeps it from being the same for every image, where KL is 0. A low temperature tau_t
//! sharpens: alone, the output that leads wins every image and the entropy H(t) goes to 0. The centre, a moving average of the
//! teacher's outputs, takes from each output what all images have: alone, all outputs become equal and H(t) goes to ln K.
//! Together they leave what differs between images. Caron et al. 2021, "Emerging Properties in Self-Supervised Vision
//! Transformers", sections 3.1 and 5.3, figure 7.
//!
//! Measured: the four combinations on the demo's encoder. Not sharpened means the student's temperature.

use std::process::ExitCode;

use wgrad::Tensor;
use wgrad::nn::{DinoHead, DinoHeadConfig, Mode, ParamBuilder};
use wgrad::optim::{Ema, LossScaler, Momentum};
use wgrad::ssl::{Center, dino_loss};
use wgrad::train::figure::{self, Args, Figure, Miniature, line, theory};

/// Outputs, steps of a run, learning rate, temperatures of the student and of a sharpened teacher.
const OUTPUTS: usize = 64;
const STEPS: u64 = 160;
const LR: f64 = 0.2;
const TAU: [f32; 2] = [0.1, 0.04];

/// Label, centring, sharpening.
const RUNS: [(&str, bool, bool); 4] = [
    ("both", true, true),
    ("centring only", true, false),
    ("sharpening only", false, true),
    ("neither", false, false),
];

fn main() -> ExitCode {
    figure::main(include_str!("figure_dino_collapse.rs"), dino_collapse)
}

pub(crate) fn dino_collapse(args: &Args) -> wgrad::Result<Figure> {
    let gpu = args.gpu()?;
    let demo = Miniature::demo(args, &gpu)?;
    let mut figure = Figure::new("dino_collapse", "run,step,entropy,kl");
    let (mut entropies, mut divergences) = (vec![], vec![]);
    for (which, (label, centred, sharp)) in RUNS.into_iter().enumerate() {
        let build = ParamBuilder::new(args.rng());
        let encoder = demo.encoder(&build);
        let (inputs, hidden, bottleneck) = (encoder.features(), 64, 32);
        let config = DinoHeadConfig { inputs, hidden, bottleneck, outputs: OUTPUTS, batch_norm: true };
        let head = DinoHead::new(&build.scope("head"), &config);
        let params = build.finish(&gpu)?;
        let (teacher, scaler) = (params.fork(), LossScaler::new(&params)?);
        let ema = Ema::new(&params, Momentum::Constant(0.9))?;
        let center = Center::new(&gpu, OUTPUTS, 0.9)?;
        let (mut entropy_curve, mut kl_curve) = (vec![], vec![]);
        let loss = |views: &Tensor, step: u64| {
            let logits = |params: &_| {
                head.forward(params, &encoder.forward(params, views, Mode::Train), Mode::Train, false)
            };
            let (student, target) = (logits(&params), logits(&teacher));
            let dino = dino_loss(&student, &target, &center, TAU[0], TAU[usize::from(sharp)]);
            if step.is_multiple_of(10) || step + 1 == STEPS {
                let [entropy, kl] = [f64::from(dino.teacher_entropy.item()?), f64::from(dino.kl.item()?)];
                figure.row(&[which as f64, step as f64, entropy, kl]);
                entropy_curve.push((step as f64, entropy));
                kl_curve.push((step as f64, kl));
            }
            if centred {
                center.update(&target);
            }
            Ok(dino.loss)
        };
        let after = |gradient: &Tensor, step: u64| {
            ema.update(&teacher, &params, gradient, &scaler, step);
            Ok(())
        };
        demo.train(&params, STEPS, LR, loss, after)?;
        entropies.push((label, entropy_curve));
        divergences.push((label, kl_curve));
    }
    let last =
        |curves: &[(&str, Vec<(f64, f64)>)], which: usize| curves[which].1.last().map_or(f64::NAN, |p| p.1);
    let most = (OUTPUTS as f64).ln();
    let [both, centring, sharpening] = [0, 1, 2].map(|which| last(&entropies, which));
    let ends = [10.0 * sharpening, 0.95 * most];
    figure.claim(
        "both: entropy at the end",
        format!("{:.3} to {:.3}, 10 x sharpening's to .95 ln K", ends[0], ends[1]),
        format!("{both:.3}"),
        (ends[0]..ends[1]).contains(&both),
    );
    figure.claim(
        "centring only: entropy",
        format!("> {:.3}, .98 ln K", 0.98 * most),
        format!("{centring:.3}"),
        centring > 0.98 * most,
    );
    figure.claim(
        "sharpening only: entropy",
        format!("< {:.3}, .01 ln K", 0.01 * most),
        format!("{sharpening:.1e}"),
        sharpening < 0.01 * most,
    );
    let learning = last(&divergences, 0);
    for (which, (label, ..)) in RUNS.iter().enumerate().skip(1) {
        let kl = last(&divergences, which);
        figure.claim(
            format!("{label}: divergence"),
            format!("< {:.3}, a tenth of both's", learning / 10.0),
            format!("{kl:.4}"),
            kl < learning / 10.0,
        );
    }
    let lines = |curves: Vec<(&'static str, _)>| curves.into_iter().map(|(label, curve)| line(label, curve));
    let limits = [("ln K", most), ("", 0.0)].map(|(label, y)| theory(label, [(0.0, y), (STEPS as f64, y)]));
    figure.panel("entropy of the teacher (nats)", "step", lines(entropies).chain(limits).collect());
    figure.panel("KL(teacher, student) (nats)", "step", lines(divergences).collect());
    figure.finish(args, &gpu)
}
