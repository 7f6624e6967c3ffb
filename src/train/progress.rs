//! How far the run is and what it is doing: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// Progress of a run. The bar goes to stderr, lines go to stdout.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    started: Instant,
    first: u64,
    last_line: Option<Instant>,
}

/// Time between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Time between turns of the spinner, which shows that a long measurement is under way.
const TICK_EVERY: Duration = Duration::from_millis(120);
/// The bar takes what the rest leaves of the terminal's width: a third of 80 columns in training.
const STYLE: &str = "{spinner} {wide_bar} {pos}/{len} steps  {msg}";

impl Progress {
    /// Progress of a run of `steps` steps of which `done` are done.
    #[must_use]
    pub fn new(steps: u64, done: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps).with_position(done);
            bar.set_style(
                ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.enable_steady_tick(TICK_EVERY);
            bar
        });
        Self { bar, steps, started: Instant::now(), first: done, last_line: None }
    }

    /// Training starts now: the time left is counted from here.
    pub fn training(&mut self) {
        self.started = Instant::now();
        self.show("training".to_owned());
    }

    /// `done` steps are done; `loss` is that of the newest step whose loss has come back.
    pub fn step(&mut self, done: u64, loss: Option<f32>, images_per_s: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        let Some(loss) = loss else { return }; // none is back yet
        let due = self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) || done == self.steps;
        if self.bar.is_none() && !due {
            return;
        }
        let each = self.started.elapsed() / done.saturating_sub(self.first).clamp(1, u32::MAX.into()) as u32;
        let left = each.saturating_mul(self.steps.saturating_sub(done).min(u32::MAX.into()) as u32);
        let now = format!("{images_per_s:.0} images/s  loss {loss:.4}  {:#} left", HumanDuration(left));
        if self.bar.is_none() {
            self.last_line = Some(Instant::now());
            println!("step {done}/{}  {now}", self.steps);
        }
        self.show(now);
    }

    /// Says that `what` is being measured.
    pub fn evaluating(&self, what: &str) {
        let now = format!("evaluating: {what}");
        if self.bar.is_none() {
            println!("{now}");
        }
        self.show(now);
    }

    /// Puts `now` at the end of the bar, where there is one.
    fn show(&self, now: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(now);
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Ends the bar at the step where it is, which in a run ended early is not the last.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
            bar.abandon();
        }
    }
}
