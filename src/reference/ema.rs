//! A teacher whose window follows the share of signal in the gradient; see [`Momentum`](crate::optim::Momentum).

/// Part of the newest gradient in the average.
const NEWEST: f64 = 0.02;

/// What [`adaptive`] carries from step to step, but for the averaged gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// That of the newest update.
    pub momentum: f64,
    /// `1 - m` of the next.
    pub weight: f64,
    /// Share of signal in a gradient, `G^2 / (G^2 + S)`.
    pub signal: f64,
    /// Sum of the squared weights times `|g|^2`.
    pub squares: f64,
    /// Sum of the weights that the average gives to the gradients so far.
    pub sum: f64,
    /// Sum of the squares of these weights.
    pub sum_2: f64,
}

impl State {
    /// Before the first step.
    #[must_use]
    pub fn new(shortest: f64) -> Self {
        Self { momentum: shortest, weight: 1.0 - shortest, signal: 1.0, squares: 0.0, sum: 0.0, sum_2: 0.0 }
    }
}

/// `t += (1 - m) (w - t)` for `teacher` and `student`; then, unless the step was `skipped`, the momentum of the next, within
/// `[shortest, longest]`. `average` is of `gradient`, from 0.
///
/// The average is `b = sum u_i g_i`, with weights `u_i`. For gradients of mean `G` and independent noise `S_i`,
/// `E |b|^2 = (sum u_i)^2 G^2 + sum u_i^2 S_i` and `E sum u_i^2 |g_i|^2 = sum u_i^2 (G^2 + S_i)`; their difference has no noise.
/// It is the estimate of McCandlish et al. 2018, eq. A.2, for weights and noise that are not all the same.
pub fn adaptive(
    state: &mut State,
    average: &mut [f64],
    teacher: &mut [f64],
    [student, gradient]: [&[f64]; 2],
    skipped: bool,
    [shortest, longest]: [f64; 2],
) {
    for (t, w) in teacher.iter_mut().zip(student) {
        *t += state.weight * (w - *t);
    }
    state.momentum = 1.0 - state.weight;
    if skipped {
        return;
    }
    let squares = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    for (b, g) in average.iter_mut().zip(gradient) {
        *b += NEWEST * (g - *b);
    }
    let (keep, add) = ((1.0 - NEWEST).powi(2), NEWEST.powi(2));
    state.squares = keep * state.squares + add * squares(gradient);
    state.sum_2 = keep * state.sum_2 + add;
    state.sum += NEWEST * (1.0 - state.sum);
    let pairs = state.sum.powi(2) - state.sum_2;
    let (signal, whole) = ((squares(average) - state.squares) / pairs, state.squares / state.sum_2);
    let one_alone = pairs < 1e-3 * state.sum.powi(2);
    state.signal = if one_alone || whole == 0.0 { 1.0 } else { (signal / whole).clamp(1e-12, 1.0) };
    state.weight = (1.0 - longest).max((1.0 - shortest) * state.signal.cbrt());
}
