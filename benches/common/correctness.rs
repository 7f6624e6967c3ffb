//! Whether an adapter computes rightly: every rung of the ladders and every op, at all shapes of the table.

use wgrad::{DType, Gpu, ops};

use super::cases::{self, Sizes};
use super::check::Checked;
use super::optimizers;

type Check = Box<dyn Fn(&Gpu) -> Checked>;

/// What has one line in the outcome: a rung, or an op, in a type.
pub(crate) struct Suite {
    /// The family and the rung, if it is one.
    pub(crate) rung: Option<(&'static str, &'static str)>,
    /// `matmul/1_naive`; `softmax`.
    pub(crate) name: String,
    pub(crate) dtype: DType,
    checks: Vec<Check>,
}

/// How a suite ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Passed,
    /// The first value that differs, or the device's error.
    Failed(String),
    /// It was to stop before the end.
    Stopped,
}

impl Suite {
    pub(crate) fn new(name: impl Into<String>, dtype: DType, checks: Vec<Check>) -> Self {
        Self { rung: None, name: name.into(), dtype, checks }
    }

    /// Checks one after another, up to the first that fails.
    pub(crate) fn run(&self, gpu: &Gpu, stop: &dyn Fn() -> bool) -> Outcome {
        for check in &self.checks {
            if stop() {
                return Outcome::Stopped;
            }
            if let Err(wrong) = check(gpu) {
                return Outcome::Failed(wrong);
            }
        }
        Outcome::Passed
    }

    /// `f32` or `f16`.
    pub(crate) fn precision(&self) -> &'static str {
        if self.dtype == DType::F16 { "f16" } else { "f32" }
    }
}

/// The types of operands that `gpu` takes.
fn types(gpu: &Gpu) -> impl Iterator<Item = DType> + use<> {
    let half = gpu.info().f16;
    [DType::F32, DType::F16].into_iter().filter(move |dtype| half || *dtype == DType::F32)
}

/// Every rung, for each type that it multiplies as it is: value and gradients.
fn rungs(gpu: &Gpu) -> Vec<Suite> {
    let sizes = &Sizes::of(gpu);
    let mut suites = vec![];
    for (family, _) in ops::ladders(gpu.info()) {
        for dtype in types(gpu) {
            for rung in ops::rungs(family, gpu, dtype) {
                let ops = cases::laddered(family, rung, sizes).into_iter();
                let ops = ops.filter(|op| dtype == DType::F32 || op.takes_half());
                let checks = ops.map(|op| -> Check { Box::new(move |gpu| op.check_rung(gpu, dtype)) });
                let suite = Suite::new(format!("{family}/{rung}"), dtype, checks.collect());
                suites.push(Suite { rung: Some((family, rung)), ..suite });
            }
        }
    }
    suites
}

/// Every op, cases of one name together: value, gradients and what becomes of a NaN. Optimisers and augmentation at their end.
fn ops_of_the_table(gpu: &Gpu) -> Vec<Suite> {
    let mut suites: Vec<Suite> = vec![];
    for dtype in types(gpu) {
        let first = suites.len();
        for op in cases::all(&Sizes::of(gpu)) {
            if dtype == DType::F16 && !op.takes_half() {
                continue;
            }
            let name = op.name.clone();
            let check: Check = Box::new(move |gpu| op.check_device(gpu, dtype));
            match suites[first..].iter_mut().find(|suite| suite.name == name) {
                Some(suite) => suite.checks.push(check),
                None => suites.push(Suite::new(name, dtype, vec![check])),
            }
        }
    }
    let steps = optimizers::cases(gpu).into_iter();
    suites.extend(steps.map(|case| Suite::new(case.name, DType::F32, vec![case.check])));
    suites
}

/// All suites of an adapter, rungs first.
pub(crate) fn suites(gpu: &Gpu) -> Vec<Suite> {
    rungs(gpu).into_iter().chain(ops_of_the_table(gpu)).collect()
}
