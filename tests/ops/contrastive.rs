//! The streaming contrastive loss against its specification, which writes the logits out.
use crate::cases::{Sizes, laddered};
use crate::common::*;
use wgrad::ops::{Contrastive, ContrastiveOutput};
use wgrad::reference::contrastive::{Loss, Spec, contrastive, contrastive_backward};
use wgrad::{Gpu, Tensor};

/// `n` rows of width `d`, each of length 1.
pub(crate) fn unit_rows(seed: u32, n: usize, d: usize) -> Vec<f32> {
    let mut x = data(seed, n * d);
    for row in x.chunks_exact_mut(d) {
        let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
    x
}

/// One call: sizes, temperature, and which of the options are on.
#[derive(Debug, Clone, Copy)]
struct Case {
    n: usize,
    m: usize,
    d: usize,
    tau: f32,
    offset: usize,
    exclude: Option<usize>,
    columns: bool,
    extra: bool,
}

const PLAIN: Case =
    Case { n: 1, m: 1, d: 8, tau: 0.2, offset: 0, exclude: None, columns: false, extra: false };

impl Case {
    fn of(n: usize, m: usize, d: usize) -> Self {
        Self { n, m, d, ..PLAIN }
    }

    fn positive(&self) -> Vec<usize> {
        (0..self.n)
            .map(|i| if self.columns { (i * 7 + 3) % self.m } else { (i + self.offset) % self.m })
            .collect()
    }

    /// With `columns`, every third row leaves out nothing.
    fn excluded(&self) -> Vec<Option<usize>> {
        (0..self.n)
            .map(|i| {
                self.exclude
                    .filter(|_| !self.columns || i % 3 != 0)
                    .map(|e| (self.positive()[i] + e) % self.m)
            })
            .collect()
    }

    fn u32s(gpu: &Gpu, x: impl Iterator<Item = usize>) -> Tensor {
        let x: Vec<u32> = x.map(|v| u32::try_from(v).unwrap_or(u32::MAX)).collect();
        gpu.tensor_u32(&x, [x.len()]).unwrap()
    }

    fn op(&self, gpu: &Gpu, extra: Option<&Tensor>) -> Contrastive {
        let mut op = Contrastive::new(self.tau).positive_offset(self.offset);
        if self.columns {
            op = op.positive_columns(&Self::u32s(gpu, self.positive().into_iter()));
            op =
                op.exclude_columns(&Self::u32s(gpu, self.excluded().iter().map(|e| e.unwrap_or(usize::MAX))));
        } else if let Some(e) = self.exclude {
            op = op.exclude_offset((self.offset + e) % self.m);
        }
        if let Some(extra) = extra { op.extra_positive(extra) } else { op }
    }
}

/// Relative error of a device's `exp` and `ln` at most, and of the sums of their values.
const FUNCTIONS: f64 = 4e-6;

/// How far a logit of unit rows is off: the roundings of a sum of d products add up like a random walk, to sqrt(d) units of 2^-24;
/// 1 / tau, its product and the difference to the maximum are rounded too, the positive's alike.
fn logit_error(d: usize, tau: f32) -> f64 {
    ((d as f64).sqrt() + 4.0) * 2_f64.powi(-24) / f64::from(tau)
}

/// The share of the keys that are not the positive, in a row's softmax.
fn miss(row_loss: f64) -> f64 {
    -(-row_loss).exp_m1()
}

/// The loss changes with its logits by weights whose sizes add up to twice the miss:
/// `|L - L64| <= 2 miss logit_error + FUNCTIONS L` for each row, without an absolute term, and so for the mean.
#[track_caller]
pub(crate) fn assert_losses(what: &str, out: &ContrastiveOutput, want: &Loss, d: usize, tau: f32) {
    let slack = |l: f64| 2.0 * miss(l) * logit_error(d, tau) + FUNCTIONS * l;
    let rows = out.row_losses.to_vec().unwrap();
    assert_eq!(rows.len(), want.row_losses.len(), "{what}");
    for (i, (&got, &want)) in rows.iter().zip(&want.row_losses).enumerate() {
        let close = got >= 0.0 && (f64::from(got) - want).abs() <= slack(want);
        assert!(close, "{what}: row {i}: loss {got:e}, want {want:e} +- {:e}", slack(want));
    }
    let mean = want.row_losses.iter().map(|&l| slack(l)).sum::<f64>() / rows.len() as f64;
    let got = f64::from(out.loss.item().unwrap());
    let close = (got - want.loss).abs() <= mean + FUNCTIONS * want.loss;
    assert!(close, "{what}: loss {got:e}, want {:e} +- {mean:e}", want.loss);
    let lse = Tol::new(logit_error(d, tau) + FUNCTIONS, 2.0 * f64::from(f32::EPSILON));
    assert_close(&format!("{what}: lse"), &out.lse.to_vec().unwrap(), &want.lse, lse);
    assert!(!out.lse.tracks_grad() && !out.row_losses.tracks_grad());
}

/// A gradient's bound in the norm over all its elements, by its [`Side`], of sums of at most so many `terms`: each weight is off by
/// `2 logit_error + FUNCTIONS` of itself, the roundings of the sum add up like a random walk, and a row's weights to twice its miss.
fn gradient_slack(want: &Loss, side: Side, [terms, d]: [usize; 2], tau: f32) -> f64 {
    let n = want.row_losses.len() as f64;
    let misses = || want.row_losses.iter().map(|&l| 2.0 * miss(l));
    let queries = misses().map(|x| x * x).sum::<f64>().sqrt();
    let size = match side {
        Side::Queries => queries,
        // Whatever of them meet in one key.
        Side::Keys => misses().sum(),
        Side::Both => queries + misses().sum::<f64>(),
    };
    let sum = (terms as f64).sqrt() * 2_f64.powi(-24);
    (2.0 * logit_error(d, tau) + FUNCTIONS + sum) * size / (n * f64::from(tau))
}

/// Whose gradient it is.
#[derive(Clone, Copy)]
enum Side {
    Queries,
    Keys,
    Both,
}

/// `||g - g64|| <= slack`, that of [`gradient_slack`].
#[track_caller]
fn assert_gradient(what: &str, got: &Tensor, want: &[f64], slack: f64) {
    let got = got.to_vec().unwrap();
    assert_eq!(got.len(), want.len(), "{what}");
    let off = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum::<f64>().sqrt();
    assert!(off <= slack, "{what}: off by {off:e}, allowed {slack:e}");
}

#[track_caller]
fn check(case: Case) {
    check_on(gpu(), case);
}

/// Loss, by-products and all gradients of one case.
#[track_caller]
fn check_on(gpu: &Gpu, case: Case) {
    let Case { n, m, d, tau, .. } = case;
    let (q, k, e) = (unit_rows(1, n, d), unit_rows(2, m, d), unit_rows(3, n, d));
    let leaf = |x: &[f32], rows: usize| gpu.tensor(x, [rows, d]).unwrap().requires_grad();
    let (tq, tk, te) = (leaf(&q, n), leaf(&k, m), leaf(&e, n));
    let out = case.op(gpu, case.extra.then_some(&te)).forward(&tq, &tk);

    let (q, k, e) = (f64s(&q), f64s(&k), f64s(&e));
    let (positive, excluded) = (case.positive(), case.excluded());
    let spec = Spec {
        d,
        tau: f64::from(tau),
        positive: &positive,
        excluded: &excluded,
        extra: case.extra.then_some(&e[..]),
    };
    let want = contrastive(&q, &k, &spec);
    assert_losses(&format!("{case:?}"), &out, &want, d, tau);

    let slack = |side| gradient_slack(&want, side, [n.max(m), d], tau);
    let [queries, keys] = [Side::Queries, Side::Keys].map(slack);
    let want = contrastive_backward(&q, &k, &spec, 1.0);
    let grads = out.loss.backward();
    assert_gradient(&format!("{case:?}: dq"), grads.get(&tq).unwrap(), &want.queries, queries);
    assert_gradient(&format!("{case:?}: dk"), grads.get(&tk).unwrap(), &want.keys, keys);
    if case.extra {
        assert_gradient(&format!("{case:?}: dextra"), grads.get(&te).unwrap(), &want.extra, queries);
    }
}

/// Tiles are 8 x 16, workgroups 64 rows; chunks start at 128 columns.
#[test]
fn ragged_sizes() {
    for n in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 257] {
        check(Case::of(n, n, 8));
    }
    for (n, m) in [(1, 300), (300, 1), (5, 257), (257, 5), (64, 1031), (67, 128), (130, 509)] {
        check(Case::of(n, m, 12));
    }
}

#[test]
fn widths() {
    for d in [1, 2, 3, 4, 5, 27, 64, 128, 131] {
        check(Case::of(19, 37, d));
    }
}

/// 2,126 tiles of 257 iterations in 8 chunks: past the 65,535 after which lavapipe ends an invocation's loops, were the
/// dispatches not cut. And a slice of the largest call: few queries against as many keys as it has.
#[test]
fn many_keys() {
    check(Case::of(3, 34_003, 512));
    check(Case::of(16, 262_144, 8));
}

/// Up to the smallest temperature, where exp(1 / tau) has 87 digits.
#[test]
fn temperatures() {
    for tau in [0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0] {
        check(Case { tau, ..Case::of(97, 97, 20) });
        check(Case { tau, extra: true, ..Case::of(33, 150, 20) });
        check(Case { tau, offset: 48, exclude: Some(48), ..Case::of(96, 96, 20) });
    }
}

/// Every kernel that this adapter can run: around the sizes of their tiles (8 x 16, 64 x 64, 64 x 128), d beyond one slice of
/// 128, all options, dispatches that stop at every tile.
#[test]
fn every_rung() {
    for file in wgrad::ops::rungs("contrastive", gpu(), wgrad::DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("contrastive", file).build().unwrap();
        for op in laddered("contrastive", file, &Sizes::of(&gpu)) {
            op.check_rung(&gpu, wgrad::DType::F32).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
        }
        for (n, m, d) in [(1, 1, 4), (2, 3, 1), (63, 65, 27), (64, 129, 20), (65, 127, 128), (17, 131, 140)] {
            check_on(&gpu, Case::of(n, m, d));
        }
        check_on(&gpu, Case::of(5, 67, 512));
        for tau in [0.005, 0.05, 0.5] {
            check_on(&gpu, Case { tau, extra: true, ..Case::of(33, 150, 20) });
            check_on(&gpu, Case { tau, offset: 48, exclude: Some(48), ..Case::of(96, 96, 20) });
        }
        check_on(&gpu, Case { columns: true, exclude: Some(1), ..Case::of(70, 200, 7) });
        for (n, d) in [(2, 4), (66, 16), (130, 131)] {
            check_self(&gpu, n, d);
        }
        for (n, m, d) in [(9, 1031, 8), (150, 200, 132)] {
            assert_eq!(run_bounded(&gpu, (n, m, d), 1), run_bounded(&gpu, (n, m, d), 1 << 40), "{file}");
        }
    }
}

/// A NaN in a query, a key or an extra positive is in the results wherever the specification has one, and in the losses nowhere else,
/// wherever in the tiles it lies; the parts of a dispatch hand it on.
#[test]
fn nan_on_every_rung() {
    for file in wgrad::ops::rungs("contrastive", gpu(), wgrad::DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("contrastive", file).build().unwrap();
        for (n, m, d) in [(3, 5, 4), (66, 130, 27), (17, 131, 140)] {
            for (exclude, extra) in [(None, false), (Some(1), false), (None, true)] {
                let case = Case { exclude, extra, ..Case::of(n, m, d) };
                for (which, at) in [(0, 1), (0, n - 1), (1, 0), (1, m - 1), (2, 1)] {
                    if which < 2 || extra {
                        check_nan_on(&gpu, case, which, at, file);
                    }
                }
            }
        }
    }
}

/// With a NaN in a column of row `at` of the queries (0), the keys (1) or the extra positives (2).
fn check_nan_on(gpu: &Gpu, case: Case, which: usize, at: usize, file: &str) {
    let Case { n, m, d, tau, .. } = case;
    let mut x = [unit_rows(1, n, d), unit_rows(2, m, d), unit_rows(3, n, d)];
    x[which][at * d + d / 2] = f32::NAN;
    let [q, k, e] = &x;
    let leaf = |x: &[f32]| gpu.tensor(x, [x.len() / d, d]).unwrap().requires_grad();
    let (tq, tk, te) = (leaf(q), leaf(k), leaf(e));
    let out = case.op(gpu, case.extra.then_some(&te)).dispatch_flops(1).forward(&tq, &tk);

    let [q, k, e] = [f64s(q), f64s(k), f64s(e)];
    let (positive, excluded) = (case.positive(), case.excluded());
    let extra = case.extra.then_some(&e[..]);
    let spec = Spec { d, tau: f64::from(tau), positive: &positive, excluded: &excluded, extra };
    let values = contrastive(&q, &k, &spec);
    let gradients = contrastive_backward(&q, &k, &spec, 1.0);
    let grads = out.loss.backward();
    let mut parts = vec![
        ("row_losses", &out.row_losses, &values.row_losses),
        ("lse", &out.lse, &values.lse),
        ("dq", grads.get(&tq).unwrap(), &gradients.queries),
        ("dk", grads.get(&tk).unwrap(), &gradients.keys),
    ];
    if case.extra {
        parts.push(("dextra", grads.get(&te).unwrap(), &gradients.extra));
    }
    for (part, got, want) in parts {
        for (i, (got, want)) in got.to_vec().unwrap().iter().zip(want).enumerate() {
            // What is left out has a weight of 0, and 0 times NaN is in the gradients.
            let left_out = case.exclude.is_some() && ["dq", "dk"].contains(&part);
            let same = got.is_nan() == want.is_nan() || (got.is_nan() && left_out);
            assert!(same, "{file}, {case:?}, NaN in row {at} of {which}: {part}[{i}] is {got}, not {want}");
        }
    }
}

#[test]
fn an_unknown_rung_is_refused_when_the_device_opens() {
    for (family, file, reason) in [
        (
            "contrastive",
            "9_best",
            "there is no shaders/contrastive/9_best.wgsl; there are 1_naive, 2_register",
        ),
        ("contrast", "1_naive", "there are contrastive, conv, matmul"),
    ] {
        let error = Gpu::builder().quiet().kernel(family, file).build().unwrap_err().to_string();
        assert!(error.contains(reason) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn columns_left_out_and_aimed_at() {
    for (n, m) in [(2, 2), (3, 3), (16, 16), (17, 17), (64, 200), (200, 64), (129, 129)] {
        check(Case { offset: 1, ..Case::of(n, m, 8) });
        check(Case { exclude: Some(1), ..Case::of(n, m, 8) });
        check(Case { columns: true, exclude: Some(1), ..Case::of(n, m, 8) });
        check(Case { columns: true, ..Case::of(n, m, 8) });
        check(Case { extra: true, ..Case::of(n, m, 8) });
        check(Case { extra: true, columns: true, exclude: Some(1), d: 7, ..Case::of(n, m, 8) });
    }
}

/// Rows as queries and keys: the one-pass gradient is the sum of both gradients.
#[test]
fn rows_against_themselves() {
    for (n, d) in [(2, 4), (3, 8), (16, 5), (66, 16), (130, 128)] {
        check_self(gpu(), n, d);
    }
}

#[track_caller]
fn check_self(gpu: &Gpu, n: usize, d: usize) {
    let (x, tau) = (unit_rows(5, n, d), 0.1);
    let z = gpu.tensor(&x, [n, d]).unwrap().requires_grad();
    let positive: Vec<usize> = (0..n).map(|i| (i + n / 2) % n).collect();
    let excluded: Vec<Option<usize>> = (0..n).map(Some).collect();
    let x = f64s(&x);
    let spec = Spec { d, tau: f64::from(tau), positive: &positive, excluded: &excluded, extra: None };
    let op = Contrastive::new(tau).positive_offset(n / 2).exclude_offset(0);
    let out = op.forward_self(&z);
    let want = contrastive(&x, &x, &spec);
    assert_losses("self", &out, &want, d, tau);
    let slack = gradient_slack(&want, Side::Both, [2 * n, d], tau);
    let want = contrastive_backward(&x, &x, &spec, 1.0);
    let sum: Vec<f64> = want.queries.iter().zip(&want.keys).map(|(a, b)| a + b).collect();
    assert_gradient("self: dz", out.loss.backward().get(&z).unwrap(), &sum, slack);
    let two = op.forward(&z, &z).loss.backward();
    assert_gradient("self: dq + dk", two.get(&z).unwrap(), &sum, slack);
}

#[test]
fn upstream_gradient_scales() {
    let (n, d) = (21, 8);
    let q = gpu().tensor(&unit_rows(1, n, d), [n, d]).unwrap().requires_grad();
    let k = gpu().tensor(&unit_rows(2, n, d), [n, d]).unwrap();
    let once = Contrastive::new(0.2).forward(&q, &k).loss.backward().get(&q).unwrap().to_vec().unwrap();
    let loss = Contrastive::new(0.2).forward(&q, &k).loss;
    let twice = loss.add(&loss).backward();
    let want: Vec<f64> = once.iter().map(|&g| 2.0 * f64::from(g)).collect();
    assert_close("loss + loss", &twice.get(&q).unwrap().to_vec().unwrap(), &want, F32);
}

/// Keys without gradient: that of the queries is the same bits, and no gradient of the keys is made.
#[test]
fn queries_only() {
    let (n, m, d) = (40, 100, 16);
    let q = gpu().tensor(&unit_rows(1, n, d), [n, d]).unwrap().requires_grad();
    let k = gpu().tensor(&unit_rows(2, m, d), [m, d]).unwrap();
    let both = Contrastive::new(0.1).forward(&q, &k.requires_grad()).loss.backward();
    let one = Contrastive::new(0.1).forward(&q, &k).loss.backward();
    assert_eq!(bits(one.get(&q).unwrap()), bits(both.get(&q).unwrap()));
    assert_eq!(one.len(), 1);
}

fn bits(t: &Tensor) -> Vec<u32> {
    t.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn the_same_bits_twice() {
    let (n, d) = (333, 32);
    let run = || {
        let q = gpu().tensor(&unit_rows(1, n, d), [n, d]).unwrap().requires_grad();
        let k = gpu().tensor(&unit_rows(2, n, d), [n, d]).unwrap().requires_grad();
        let ContrastiveOutput { loss, .. } = Contrastive::new(0.07).forward(&q, &k);
        let value = bits(&loss);
        let g = loss.backward();
        (value, bits(g.get(&q).unwrap()), bits(g.get(&k).unwrap()))
    };
    assert_eq!(run(), run());
}

/// Dispatches of one tile a chunk, each going on where the last one stopped.
#[test]
fn bounded_dispatches_give_the_same_bits() {
    for (n, m, d) in [(9, 1031, 8), (300, 200, 20)] {
        assert_eq!(run_bounded(gpu(), (n, m, d), 1), run_bounded(gpu(), (n, m, d), 1 << 40));
    }
}

/// The bits of loss and gradients with dispatches of at most so many operations.
fn run_bounded(gpu: &Gpu, (n, m, d): (usize, usize, usize), flops: u64) -> [Vec<u32>; 3] {
    let q = gpu.tensor(&unit_rows(1, n, d), [n, d]).unwrap().requires_grad();
    let k = gpu.tensor(&unit_rows(2, m, d), [m, d]).unwrap().requires_grad();
    let loss = Contrastive::new(0.07).dispatch_flops(flops).forward(&q, &k).loss;
    let value = bits(&loss);
    let g = loss.backward();
    [value, bits(g.get(&q).unwrap()), bits(g.get(&k).unwrap())]
}

/// More than 65,535 workgroups of 64 rows. The queries repeat after 10,007 rows, an odd number, so that with two keys rows
/// repeat after 20,014: the specification computes those. On a kernel whose grid is that large: `4_broadcast` takes the
/// gradient block by block, in launches of a bounded size.
#[test]
fn a_launch_folded_in_two_dimensions() {
    let (n, m, d) = (65_536 * 64 + 1, 2, 4);
    let (x, y) = (data(1, 10_007 * d).repeat(2), data(2, m * d));
    let period = x.len() / d;
    let repeated: Vec<f32> = x.iter().copied().cycle().take(n * d).collect();
    let gpu = Gpu::builder().quiet().kernel("contrastive", "2_register").build().unwrap();
    let q = gpu.tensor(&repeated, [n, d]).unwrap().requires_grad();
    let k = gpu.tensor(&y, [m, d]).unwrap();
    let out = Contrastive::new(1.0).forward(&q, &k);
    let (x, y) = (f64s(&x), f64s(&y));
    let positive: Vec<usize> = (0..period).map(|i| i % m).collect();
    let excluded = vec![None; period];
    let spec = Spec { d, tau: 1.0, positive: &positive, excluded: &excluded, extra: None };
    let want = contrastive(&x, &y, &spec).row_losses;
    let losses = out.row_losses.to_vec().unwrap();
    assert_eq!(losses.len(), n);
    for (i, losses) in losses.chunks(period).enumerate() {
        assert_close(&format!("folded: rows from {}", i * period), losses, &want[..losses.len()], F32);
    }
    let want = contrastive_backward(&x, &y, &spec, period as f64 / n as f64).queries;
    let dq = out.loss.backward().get(&q).unwrap().to_vec().unwrap();
    assert_eq!(dq.len(), n * d);
    for (i, dq) in dq.chunks(period * d).enumerate() {
        let what = format!("folded: dq from {}", i * period);
        assert_close(&what, dq, &want[..dq.len()], Tol::new(1e-12, 1e-5));
    }
}

/// Rows of f16 against the specification of those rows: the loss is as accurate as in f32, and a gradient is off by one
/// rounding, 2^-10 of an element where a driver truncates (and 6e-8 near 0).
#[test]
fn half_rows_at_several_temperatures() {
    if !gpu().info().f16 {
        return;
    }
    let half = |x: &[f32]| -> Vec<f32> { x.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect() };
    let (n, m, d) = (33, 65, 20);
    let (q, k, e) = (half(&unit_rows(1, n, d)), half(&unit_rows(2, m, d)), half(&unit_rows(3, n, d)));
    let positive: Vec<usize> = (0..n).collect();
    for file in wgrad::ops::rungs("contrastive", gpu(), wgrad::DType::F32) {
        let gpu = Gpu::builder().quiet().kernel("contrastive", file).build().unwrap();
        let rows = |x: &[f32], n: usize| {
            gpu.tensor(x, [n, d]).unwrap().stop_gradient().cast(wgrad::DType::F16).requires_grad()
        };
        for (tau, with_extra) in [(0.005, false), (0.07, true), (0.5, false), (0.5, true)] {
            let what = format!("f16 {file} at {tau}, extra {with_extra}");
            let (tq, tk, te) = (rows(&q, n), rows(&k, m), rows(&e, n));
            let op = Contrastive::new(tau);
            let op = if with_extra { op.extra_positive(&te) } else { op };
            let out = op.forward(&tq, &tk);
            let (q, k, e) = (f64s(&q), f64s(&k), f64s(&e));
            let extra = with_extra.then_some(&e[..]);
            let excluded = vec![None; n];
            let spec = Spec { d, tau: f64::from(tau), positive: &positive, excluded: &excluded, extra };
            assert_eq!(out.loss.dtype(), wgrad::DType::F32);
            let want = contrastive(&q, &k, &spec);
            assert_losses(&what, &out, &want, d, tau);
            let slack = gradient_slack(&want, Side::Keys, [m, d], tau);
            let want = contrastive_backward(&q, &k, &spec, 1.0);
            let grads = out.loss.backward();
            // f32 within its bound, then one rounding.
            let check = |leaf: &Tensor, want: &[f64], name: &str| {
                let got = grads.get(leaf).unwrap();
                assert_eq!(got.dtype(), wgrad::DType::F16, "{what}: {name}");
                let tol = Tol::new(1e-7 + slack, 1e-3);
                assert_close(&format!("{what}: {name}"), &got.to_vec().unwrap(), want, tol);
            };
            check(&tq, &want.queries, "dq");
            check(&tk, &want.keys, "dk");
            if with_extra {
                check(&te, &want.extra, "dextra");
            }
        }
        // Both roles of the same rows.
        let z = rows(&q, n);
        let op = Contrastive::new(0.07).positive_offset(1).exclude_offset(0);
        let [one, two] = [op.forward_self(&z), op.forward(&z, &z)].map(|out| {
            let value = out.loss.item().unwrap();
            (value, out.loss.backward().get(&z).unwrap().to_vec().unwrap())
        });
        assert_eq!(one.0.to_bits(), two.0.to_bits(), "f16 {file}");
        let largest = two.1.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        assert_close(
            &format!("f16 {file}: dz"),
            &one.1,
            &f64s(&two.1),
            Tol::new(2e-3 * f64::from(largest), 2e-3),
        );
    }
}

/// The specification itself, against central differences.
#[test]
fn reference_gradients() {
    let (n, m, d) = (5, 7, 3);
    let x = [f64s(&unit_rows(1, n, d)), f64s(&unit_rows(2, m, d)), f64s(&unit_rows(3, n, d))];
    let positive: Vec<usize> = (0..n).map(|i| (i + 2) % m).collect();
    let excluded: Vec<Option<usize>> = (0..n).map(|i| (i % 2 == 0).then_some(i)).collect();
    let plain = Spec { d, tau: 0.3, positive: &positive, excluded: &excluded, extra: None };
    for inputs in [2, 3] {
        let g = contrastive_backward(&x[0], &x[1], &with_extra(&plain, &x[..inputs]), 1.5);
        let gradients = [g.queries, g.keys, g.extra];
        let loss = |x: &[Vec<f64>]| vec![contrastive(&x[0], &x[1], &with_extra(&plain, x)).loss];
        check_reference("contrastive", &x[..inputs], &loss, &[1.5], &gradients[..inputs]);
    }
}

fn with_extra<'a>(plain: &Spec<'a>, x: &'a [Vec<f64>]) -> Spec<'a> {
    Spec { extra: x.get(2).map(Vec::as_slice), ..plain.clone() }
}

/// Peak memory grows with N, not with N x N: doubling N doubles it at most, and it stays far below the logits. From 2,048 rows on,
/// where a gradient has all of its eight partial sums (chunks of four tiles of 64 rows) on every class of adapters.
#[test]
fn memory_is_linear() {
    let d = 16;
    let peak = |n: usize| {
        let gpu = own_gpu();
        let q = gpu.tensor(&unit_rows(1, n, d), [n, d]).unwrap().requires_grad();
        let k = gpu.tensor(&unit_rows(2, n, d), [n, d]).unwrap().requires_grad();
        let grads = Contrastive::new(0.1).forward(&q, &k).loss.backward();
        grads.get(&q).unwrap().to_vec().unwrap();
        gpu.memory().peak
    };
    let [one, two, four] = [2048, 4096, 8192].map(peak);
    assert!(two as f64 <= 2.1 * one as f64 && four as f64 <= 2.1 * two as f64, "{one} {two} {four}");
    let logits = 4 * 8192 * 8192;
    assert!(four * 32 <= logits, "{four} bytes against {logits} of logits");
}

#[test]
#[should_panic(expected = "contrastive: queries [2, 3] and keys [2, 4]")]
fn widths_must_agree() {
    let q = gpu().zeros([2, 3]).unwrap();
    let k = gpu().zeros([2, 4]).unwrap();
    let _ = Contrastive::new(0.1).forward(&q, &k);
}
