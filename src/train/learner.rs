//! The parameters of a method and everything that moves them.

use super::checkpoint::State;
use super::config::TeacherMomentum;
use super::setup::Setup;
use crate::error::Result;
use crate::nn::{ParamBuilder, Params, Segment};
use crate::optim::{ClipBy, Ema, Group, LossScaler, Optimizer, Schedule, clip_grad_norm};
use crate::tensor::Tensor;

/// Parameters with their optimiser, loss scaler and schedule of learning rates, all from a run's configuration, and the number
/// of steps taken.
pub struct Learner {
    params: Params,
    optimizer: Box<dyn Optimizer>,
    scaler: LossScaler,
    schedule: Schedule,
    clip: Option<(f32, ClipBy)>,
    /// Steps taken, those of a resumed run included.
    done: u64,
    /// Steps of the whole run.
    steps: u64,
}

/// A step that a [`Learner`] took, for [`Run::end_step`](super::Run::end_step) and [`Teacher::follow`].
#[derive(Debug, Clone)]
pub struct Step {
    /// Number of the step, from 0.
    pub number: u64,
    /// The loss before the step, a scalar without a graph.
    pub loss: Tensor,
    /// The gradient that was followed, in the layout of [`Params::flat`].
    pub gradient: Tensor,
    /// The learning rate.
    pub lr: f32,
}

impl Learner {
    /// For the modules made from `build`, in the run's precision and with its optimiser.
    ///
    /// # Errors
    /// Out of memory, or a model larger than one binding of the adapter.
    pub fn new(setup: &Setup, build: ParamBuilder) -> Result<Self> {
        Self::with_groups(setup, build, |segment| setup.config().optimizer.group(segment))
    }

    /// The same, each parameter treated as `group` says.
    ///
    /// # Errors
    /// As [`Learner::new`].
    pub fn with_groups(
        setup: &Setup,
        build: ParamBuilder,
        group: impl Fn(&Segment) -> Group,
    ) -> Result<Self> {
        let config = setup.config();
        let params = build.finish(setup.gpu())?.with_precision(setup.precision());
        let optimizer = config.optimizer.build(&params, group)?;
        let (scaler, schedule) = (LossScaler::new(&params)?, config.schedule());
        let (done, steps) = (setup.step(), config.steps);
        Ok(Self { params, optimizer, scaler, schedule, clip: None, done, steps })
    }

    /// The same with the norm of every gradient limited to `max`; see [`clip_grad_norm`].
    #[must_use]
    pub fn clip(self, max: f32, by: ClipBy) -> Self {
        Self { clip: Some((max, by)), ..self }
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A teacher that starts as a copy of the parameters and follows them.
    ///
    /// # Errors
    /// Out of memory, or [`Error::Argument`](crate::Error::Argument) about the momentum.
    pub fn teacher(&self, momentum: TeacherMomentum) -> Result<Teacher> {
        let ema = Ema::new(&self.params, momentum.over(self.steps)?)?;
        Ok(Teacher { params: self.params.fork(), ema })
    }

    /// The learner's part of a checkpoint: parameters and running statistics by their names, the optimiser as `optimizer.`, the
    /// scaler as `loss_scaler`. A method with more state, a queue or a teacher, adds it.
    #[must_use]
    pub fn state(&mut self) -> State {
        let state = State::new(self.done).network("", &self.params);
        state.optimizer("optimizer", &mut *self.optimizer).scaler(&self.scaler)
    }

    /// Moves the parameters by one step down the gradient of `loss`, a scalar, whose graph is consumed.
    ///
    /// # Panics
    /// As [`Tensor::backward`].
    #[track_caller]
    pub fn step(&mut self, loss: &Tensor) -> Step {
        let gradient = self.scaler.gradient(&self.params, loss);
        if let Some((max, by)) = self.clip {
            let _norms = clip_grad_norm(&self.params, &gradient, max, by);
        }
        let (number, lr) = (self.done, self.schedule.at(self.done));
        self.scaler.step(&mut *self.optimizer, &self.params, &gradient, lr);
        self.done += 1;
        Step { number, loss: loss.stop_gradient(), gradient, lr }
    }
}

/// A moving average of a [`Learner`]'s parameters, for modules to run with in the learner's place.
#[derive(Debug)]
pub struct Teacher {
    params: Params,
    ema: Ema,
}

impl Teacher {
    /// The averaged parameters; they need no gradients.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Moves the teacher towards the learner's parameters, as they are after `step`. Returns the momentum, `[]`, for the log.
    #[must_use]
    pub fn follow(&self, learner: &Learner, step: &Step) -> Tensor {
        let Learner { params, scaler, .. } = learner;
        self.ema.update(&self.params, params, &step.gradient, scaler, step.number);
        self.ema.momentum(step.number)
    }

    /// Adds the teacher to a checkpoint's `state`: its parameters as `teacher.`, the average as `ema.`.
    #[must_use]
    pub fn keep(&self, state: State) -> State {
        state.network("teacher.", &self.params).tensors("ema", self.ema.state())
    }
}
