//! A teacher whose window follows the share of signal in the gradient; see [`Momentum`](crate::optim::Momentum).

/// Part of the newest gradient in the averages.
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
    /// Average of `|g|^2`, from 0.
    pub squares: f64,
    /// Sum of the weights that the averages give to the gradients so far.
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
/// With `b` and `q` the averages over the sum of their weights, `E |b|^2 = G^2 + f S` and `E q = G^2 + S`, where `f` is the sum
/// of the squared weights over the square of their sum. So `G^2 = (|b|^2 - f q) / (1 - f)` (McCandlish et al. 2018, eq. A.2).
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
    state.squares += NEWEST * (squares(gradient) - state.squares);
    state.sum += NEWEST * (1.0 - state.sum);
    state.sum_2 = (1.0 - NEWEST).powi(2) * state.sum_2 + NEWEST.powi(2);
    let f = state.sum_2 / state.sum.powi(2);
    let (b, q) = (squares(average) / state.sum.powi(2), state.squares / state.sum);
    let one_alone = 1.0 - f < 1e-3;
    state.signal = if one_alone || q == 0.0 { 1.0 } else { ((b / q - f) / (1.0 - f)).clamp(1e-12, 1.0) };
    state.weight = (1.0 - longest).max((1.0 - shortest) * state.signal.cbrt());
}
