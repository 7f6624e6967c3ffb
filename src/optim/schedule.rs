//! Learning rates and other values that depend on the step alone.

use std::f64::consts::PI;

/// A value for every step: linear warm-up, then a half cosine from `base` to `end`.
///
/// A schedule holds no position. The step is an argument, so a resumed run needs nothing from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    base: f64,
    end: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// The same value at every step.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self { base: value, end: value, warmup: 0, total: 0 }
    }

    /// A half cosine from `base` at step 0 to `end` at step `total`, without warm-up.
    ///
    /// With `base = 0.996` and `end = 1.0` it is BYOL's and DINO's teacher momentum.
    #[must_use]
    pub fn cosine(base: f64, end: f64, total: u64) -> Self {
        Self { base, end, warmup: 0, total }
    }

    /// `base (step + 1) / warmup` for the first `warmup` steps, then a half cosine that reaches 0 at step `total`.
    #[must_use]
    pub fn warmup_cosine(base: f64, warmup: u64, total: u64) -> Self {
        Self { base, end: 0.0, warmup, total }
    }

    /// The same schedule with another last value.
    #[must_use]
    pub fn ending_at(self, end: f64) -> Self {
        Self { end, ..self }
    }

    /// The value of `step`, counted from 0. Past the end it stays at the last value.
    #[must_use]
    pub fn at(&self, step: u64) -> f32 {
        self.exact(step) as f32
    }

    /// The value before it is rounded: `1 - momentum` is formed from it.
    pub(super) fn exact(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.base * (step + 1) as f64 / self.warmup as f64;
        }
        let length = self.total.saturating_sub(self.warmup).max(1);
        let done = (step - self.warmup).min(length) as f64 / length as f64;
        self.end + (self.base - self.end) * 0.5 * (1.0 + (PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmup_rises_to_the_base_and_the_cosine_ends_at_zero() {
        let s = Schedule::warmup_cosine(0.2, 4, 104);
        assert_eq!([s.at(0), s.at(1), s.at(3), s.at(4)], [0.05, 0.1, 0.2, 0.2]);
        assert!((s.at(54) - 0.1).abs() < 1e-7);
        assert_eq!([s.at(104), s.at(1000)], [0.0, 0.0]);
        assert!((4..104).all(|i| s.at(i + 1) < s.at(i)));
    }

    #[test]
    fn schedules_without_warmup() {
        assert_eq!(Schedule::constant(0.5).at(7), 0.5);
        let m = Schedule::cosine(0.99, 1.0, 10);
        assert_eq!([m.at(0), m.at(10), m.at(11)], [0.99, 1.0, 1.0]);
        assert_eq!(Schedule::warmup_cosine(1.0, 0, 10).ending_at(0.5).at(10), 0.5);
        assert_eq!(Schedule::warmup_cosine(1.0, 5, 3).at(9), 0.0);
    }
}
