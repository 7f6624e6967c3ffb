//! How far the run is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

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

impl Progress {
    /// Progress of a run of `steps` steps of which `done` are done.
    #[must_use]
    pub fn new(steps: u64, done: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:32} {pos}/{len} steps  {msg}  {elapsed} elapsed, {eta} left";
            let bar = ProgressBar::new(steps).with_position(done);
            bar.set_style(
                ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.reset_eta();
            bar
        });
        Self { bar, steps, started: Instant::now(), first: done, last_line: None }
    }

    /// `done` steps are done; `loss` is that of the newest step whose loss has come back.
    pub fn step(&mut self, done: u64, loss: Option<f32>, images_per_s: f64) {
        let Some(loss) = loss else { return }; // none is back yet
        let loss = format!("loss {loss:.4}");
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{images_per_s:.0} images/s  {loss}"));
            return;
        }
        let due = self.last_line.is_none_or(|at| at.elapsed() >= LINE_EVERY) || done == self.steps;
        if due {
            self.last_line = Some(Instant::now());
            let each = self.started.elapsed().as_secs_f64() / done.saturating_sub(self.first).max(1) as f64;
            let left = each * self.steps.saturating_sub(done) as f64;
            println!("step {done}/{}  {images_per_s:.0} images/s  {loss}  {left:.0} s left", self.steps);
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Ends the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
