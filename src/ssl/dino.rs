use super::views;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::tensor::Tensor;

/// The centre that DINO takes off the teacher's logits: a moving average of their mean `[K]`, 0 at first.
///
/// Without it one output wins everywhere; without the teacher's low temperature all become equal (Caron et al. 2021, section
/// 3.1 and figure 7). Its state is [`values`](Self::values).
#[derive(Debug)]
pub struct Center {
    values: Tensor,
    momentum: f32,
}

impl Center {
    /// Zeros `[outputs]`, to be moved with `momentum` (.9 in the paper).
    ///
    /// # Errors
    /// Out of memory, or an earlier error of the device.
    pub fn new(gpu: &Gpu, outputs: usize, momentum: f32) -> Result<Self> {
        Ok(Self { values: gpu.zeros([outputs])?, momentum })
    }

    /// The centre `[K]`.
    #[must_use]
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// `c <- momentum c + (1 - momentum) mean over rows of teacher`, in one launch. After the loss, from the teacher's logits
    /// `[2 N, K]` as they are: neither centred nor divided by a temperature (eq. 4).
    ///
    /// # Panics
    /// If `teacher` is not `[n, K]` with n > 0.
    #[track_caller]
    pub fn update(&self, teacher: &Tensor) {
        self.values.lerp_mean_(teacher, 1.0 - self.momentum);
    }
}

/// The teacher's temperature: from `start` to `end` in equal parts over `warmup` steps, then `end`.
///
/// A low one at first is stable, a higher one later better: .04 to .07 over 30 epochs in the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TeacherTemperature {
    /// At step 0.
    pub start: f32,
    /// From step `warmup` on.
    pub end: f32,
    /// Steps in between.
    pub warmup: u64,
}

impl TeacherTemperature {
    /// The temperature of a step, counted from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f32 {
        if step >= self.warmup {
            return self.end;
        }
        let done = step as f64 / self.warmup as f64;
        (f64::from(self.start) + done * f64::from(self.end - self.start)) as f32
    }
}

/// What [`dino_loss`] returns.
#[derive(Debug, Clone)]
pub struct DinoLoss {
    /// Mean cross-entropy over pairs of views: a differentiable scalar.
    pub loss: Tensor,
    /// Mean entropy of the teacher's distributions, in nats, without graph: near 0 or near `ln K` is a collapse.
    pub teacher_entropy: Tensor,
    /// Mean over pairs of the divergence KL(teacher, student), the loss less the entropy, without graph. 0 means that the
    /// student has nothing to learn.
    pub kl: Tensor,
}

/// The loss of DINO: all views of the student against the other global views of the teacher.
///
/// With `t = softmax((teacher - center) / tau_t)`, the mean over images and over pairs of a global view i of the teacher and
/// another view j != i of the student of `-sum_k t_ik ln softmax(student_j / tau_s)_k`.
///
/// `student` `[V N, K]` holds the logits of V views of N images, one view after another, the two global ones first and then any
/// number of local crops; `teacher` `[2 N, K]` those of the global ones. No gradient flows to the teacher. Afterwards,
/// [`Center::update`] with the same `teacher`. A loss that stays at `ln K` means collapse.
///
/// Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", eq. 1 to 3 and algorithm 1.
///
/// # Panics
/// If the shapes are not those, V is less than 2, N is 0, or a temperature is not positive.
#[track_caller]
#[must_use]
pub fn dino_loss(student: &Tensor, teacher: &Tensor, center: &Center, tau_s: f32, tau_t: f32) -> DinoLoss {
    views::check("dino_loss", teacher, student);
    let ln_t = teacher.stop_gradient().sub(center.values()).log_softmax(tau_t);
    let t = ln_t.exp();
    let teacher_entropy = t.mul(&ln_t).sum_all().mul_scalar(-1.0 / t.shape()[0] as f32);
    let loss = views::cross_entropy(&t, student, tau_s);
    let kl = loss.stop_gradient().sub(&teacher_entropy);
    DinoLoss { loss, teacher_entropy, kl }
}
