//! Figures of the theory: flags, what is expected beside what is measured, CSV and SVG. `examples/figure_*.rs` use it.

mod args;
mod miniature;

use std::fmt::Write as _;
use std::process::ExitCode;

pub use args::Args;
pub use miniature::Miniature;

use super::{parse, plot, write_atomic};
use crate::error::Result;
use crate::gpu::Gpu;

/// Kernels that a figure names.
const KERNELS: usize = 4;

/// One line of what a figure claims.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was measured.
    pub what: String,
    /// What theory says.
    pub expected: String,
    /// What came out.
    pub measured: String,
    /// Whether they agree.
    pub holds: bool,
}

/// A figure: its claims, the numbers behind its picture, and the picture.
#[derive(Debug)]
pub struct Figure {
    /// Name of its files.
    pub name: &'static str,
    /// Its claims so far.
    pub findings: Vec<Finding>,
    /// The kernels that took the most time, where the adapter has timestamps.
    pub kernels: Vec<String>,
    /// The driver's name for the adapter.
    pub adapter: String,
    csv: String,
    panels: Vec<plot::Panel>,
}

impl Figure {
    /// Without claims yet. `columns` are those of the CSV.
    #[must_use]
    pub fn new(name: &'static str, columns: &str) -> Self {
        Self {
            name,
            findings: vec![],
            kernels: vec![],
            adapter: String::new(),
            csv: format!("{columns}\n"),
            panels: vec![],
        }
    }

    /// Claims that `measured` is `expected` up to `within`.
    pub fn near(&mut self, what: impl Into<String>, expected: f64, measured: f64, within: f64) {
        let holds = (measured - expected).abs() <= within;
        self.claim(what, format!("{expected:.4} ± {within:.1e}"), format!("{measured:.4}"), holds);
    }

    /// Claims anything.
    pub fn claim(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
        holds: bool,
    ) {
        let finding =
            Finding { what: what.into(), expected: expected.into(), measured: measured.into(), holds };
        let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
        let Finding { what, expected, measured, .. } = &finding;
        println!("{what:<52} expected {expected:<22} measured {measured:<18} {verdict}");
        self.findings.push(finding);
    }

    /// A row of the CSV.
    pub fn row(&mut self, cells: &[f64]) {
        let cells: Vec<String> = cells.iter().map(f64::to_string).collect();
        let _ = writeln!(self.csv, "{}", cells.join(","));
    }

    /// A panel of the picture.
    pub fn panel(&mut self, title: &str, x: &str, series: Vec<plot::Series>) {
        self.panels.push(plot::Panel { title: title.into(), x: x.into(), series, ..plot::Panel::default() });
    }

    /// Writes CSV and SVG.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn finish(mut self, args: &Args, gpu: &Gpu) -> Result<Self> {
        gpu.sync()?;
        let mut times = gpu.profile();
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        self.kernels = times.into_iter().take(KERNELS).map(|row| row.kernel).collect();
        self.adapter.clone_from(&gpu.info().name);
        let file = |end: &str| args.out.join(format!("{}.{end}", self.name));
        write_atomic(&file("csv"), self.csv.as_bytes())?;
        let columns = if self.panels.len() == 4 { 2 } else { self.panels.len().clamp(1, 3) };
        plot::figure(&file("svg"), columns, &self.panels)?;
        println!("written to {} and .svg", file("csv").display());
        Ok(self)
    }

    /// Whether every claim holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }
}

/// A measured line of a panel.
#[must_use]
pub fn line(label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> plot::Series {
    plot::Series { label: label.into(), points: points.into_iter().collect(), stroke: plot::Stroke::Solid }
}

/// What theory says, drawn dashed.
#[must_use]
pub fn theory(label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> plot::Series {
    plot::Series { stroke: plot::Stroke::Dashed, ..line(label, points) }
}

/// Runs a figure, the program of this text ([`parse`]); status 1 if a claim does not hold, or on an error.
pub fn main(source: &str, figure: impl FnOnce(&Args) -> Result<Figure>) -> ExitCode {
    match figure(&parse(source)) {
        Ok(figure) if figure.holds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
