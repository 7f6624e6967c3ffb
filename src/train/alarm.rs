//! Alarms: what goes wrong in self-supervised training without an error, said while it happens.

use std::collections::{HashMap, VecDeque};

use super::metrics::{Quality, Row};

/// A scalar that a method logs beside its loss: a column of `metrics.csv`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Name of the column.
    pub name: &'static str,
    /// What it should stay between, bounds excluded; infinite where anything goes.
    pub healthy: (f64, f64),
    /// What leaving the range means, and which knobs to turn.
    pub outside: &'static str,
}

impl Part {
    /// A value that is logged and has no bounds.
    #[must_use]
    pub fn logged(name: &'static str) -> Self {
        Self { name, healthy: (f64::NEG_INFINITY, f64::INFINITY), outside: "" }
    }
}

/// How a method collapses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Collapse {
    /// The loss of an encoder that maps all images to one point, or that has learnt nothing.
    pub loss: f64,
    /// Which knobs to turn.
    pub knobs: &'static str,
}

/// An embedding whose std is below this share of `1 / sqrt(d)` has collapsed.
const STD_SHARE: f64 = 0.1;
/// RankMe below this share of the number of dimensions, or below 2, is a collapse of dimensions.
const RANK_SHARE: f64 = 1.0 / 32.0;
/// A mean loss within this share of the collapsed one (of 1 if that is smaller) has not left it.
const LOSS_SHARE: f64 = 0.005;
/// Losses in that mean.
const LOSSES: usize = 20;
/// Steps before anything is said, beside the warm-up: an encoder as initialised is close to some of the above.
const GRACE: u64 = 40;
/// Steps without an alarm after which it is raised again.
const PAUSE: u64 = 50;

/// Watches the rows of a run. Each kind of alarm is raised when it begins, and again only after a pause of [`PAUSE`] steps.
pub(super) struct Alarms {
    collapse: Collapse,
    parts: Vec<Part>,
    /// Dimensions of the embedding, once known.
    width: Option<usize>,
    /// Steps of warm-up and grace.
    quiet: u64,
    losses: VecDeque<f64>,
    /// The newest step at which each kind held.
    standing: HashMap<&'static str, u64>,
}

impl Alarms {
    pub(super) fn new(collapse: Collapse, parts: Vec<Part>, warmup: u64) -> Self {
        let quiet = warmup + GRACE;
        Self { collapse, parts, width: None, quiet, losses: VecDeque::new(), standing: HashMap::new() }
    }

    /// Tells how wide the embedding is.
    pub(super) fn width(&mut self, width: usize) {
        self.width = Some(width);
    }

    /// How wide it is, if a step has told.
    pub(super) fn dims(&self) -> Option<usize> {
        self.width
    }

    /// Looks at a row; what it raises, each a line.
    pub(super) fn see(&mut self, row: &Row) -> Vec<String> {
        self.losses.push_back(f64::from(row.loss));
        if self.losses.len() > LOSSES {
            self.losses.pop_front();
        }
        if row.step <= self.quiet {
            return vec![];
        }
        let mut raised = vec![];
        let knobs = self.collapse.knobs;
        if self.losses.len() == LOSSES {
            let mean = self.losses.iter().sum::<f64>() / LOSSES as f64;
            let at = self.collapse.loss;
            let stuck = (mean - at).abs() <= LOSS_SHARE * at.abs().max(1.0);
            let line = || {
                format!("mean loss {mean:.4} is that of a collapsed or untrained encoder ({at:.4}); {knobs}")
            };
            self.judge("loss", stuck, row.step, line, &mut raised);
        }
        if let (Some(std), Some(width)) = (row.batch_std, self.width) {
            let spread = 1.0 / (width as f64).sqrt();
            let share = f64::from(std) / spread;
            let line = || {
                format!("embedding std {std:.4} is {share:.2} of 1/sqrt(d): rows become one point; {knobs}")
            };
            self.judge("std", share < STD_SHARE, row.step, line, &mut raised);
        }
        if let (Some(Quality { rankme, .. }), Some(width)) = (row.quality, self.width) {
            let low = rankme < (RANK_SHARE * width as f64).max(2.0);
            let line = || format!("RankMe {rankme:.1} of {width} dimensions: dimensions collapse; {knobs}");
            self.judge("rankme", low, row.step, line, &mut raised);
        }
        for (part, value) in self.parts.clone().iter().zip(&row.parts) {
            let Some(value) = value.map(f64::from) else { continue };
            let outside = value <= part.healthy.0 || value >= part.healthy.1;
            let line = || format!("{} {value:.4}: {}", part.name, part.outside);
            self.judge(part.name, outside, row.step, line, &mut raised);
        }
        raised
    }

    fn judge(
        &mut self,
        kind: &'static str,
        wrong: bool,
        step: u64,
        line: impl FnOnce() -> String,
        raised: &mut Vec<String>,
    ) {
        if !wrong {
            return;
        }
        let last = self.standing.insert(kind, step);
        if last.is_none_or(|last| step > last + PAUSE) {
            raised.push(format!("alarm at step {step}: {}", line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarms() -> Alarms {
        let entropy = Part { name: "entropy", healthy: (0.1, 5.0), outside: "sharpen" };
        let collapse = Collapse { loss: -1.0, knobs: "turn the knob" };
        let mut alarms = Alarms::new(collapse, vec![entropy, Part::logged("momentum")], 10);
        alarms.width(100);
        alarms
    }

    fn row(step: u64) -> Row {
        let parts = vec![Some(1.0), Some(0.99)];
        Row { step, loss: -0.5, batch_std: Some(0.09), parts, ..Row::default() }
    }

    #[test]
    fn a_healthy_run_is_silent_and_so_is_the_beginning_of_any() {
        let mut alarms = alarms();
        for step in 1..=200 {
            let quiet = step <= 10 + GRACE;
            let row = if quiet { Row { batch_std: Some(0.0), ..row(step) } } else { row(step) };
            assert!(alarms.see(&row).is_empty(), "step {step}");
        }
    }

    #[test]
    fn each_alarm_names_its_step_and_knobs_once() {
        let mut alarms = alarms();
        let mut lines = vec![];
        for step in 1..=300 {
            let mut row = row(step);
            match step {
                100 => row.batch_std = Some(0.009),
                101..120 => row.batch_std = Some(0.001),
                130 => row.batch_std = Some(0.001), // too soon to be said again
                250 => row.batch_std = Some(0.001), // after a pause
                150 => row.parts[0] = Some(0.05),
                160 => row.parts[0] = Some(5.0), // as above
                180..=200 => row.loss = -0.9999,
                220 => row.quality = Some(Quality { rankme: 1.2, ..Quality::default() }),
                _ => {}
            }
            lines.extend(alarms.see(&row));
        }
        let begins = [
            "alarm at step 100: embedding std 0.0090",
            "alarm at step 150: entropy 0.0500: sharpen",
            "alarm at step 199: mean loss -0.99",
            "alarm at step 220: RankMe 1.2 of 100",
            "alarm at step 250: embedding std",
        ];
        assert_eq!(lines.len(), begins.len(), "{lines:#?}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
            assert!(line.ends_with("turn the knob") || line.ends_with("sharpen"), "{line}");
        }
    }
}
