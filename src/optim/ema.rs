//! The teacher as a moving average of the student.

use super::schedule::Schedule;
use crate::nn::Params;

/// `teacher = m teacher + (1 - m) student`, over the parameters only; running statistics are the teacher's own.
///
/// One launch for the whole model. The window of the average is about `1 / (1 - m)` steps.
#[derive(Debug, Clone, Copy)]
pub struct Ema {
    momentum: Schedule,
}

impl Ema {
    /// The same momentum at every step.
    #[must_use]
    pub fn constant(momentum: f64) -> Self {
        Self { momentum: Schedule::constant(momentum) }
    }

    /// Momentum by a schedule, such as `Schedule::cosine(0.996, 1.0, steps)`.
    #[must_use]
    pub fn scheduled(momentum: Schedule) -> Self {
        Self { momentum }
    }

    /// The momentum of a step.
    #[must_use]
    pub fn momentum(&self, step: u64) -> f32 {
        self.momentum.at(step)
    }

    /// Moves `teacher`, a [`Params::fork`], towards `student`.
    ///
    /// # Panics
    /// If the two have different layouts.
    #[track_caller]
    pub fn update(&self, teacher: &Params, student: &Params, step: u64) {
        assert_eq!(teacher.segments(), student.segments(), "Ema: teacher and student are different networks");
        teacher.flat().lerp_(student.flat(), (1.0 - self.momentum.exact(step)) as f32);
    }
}
