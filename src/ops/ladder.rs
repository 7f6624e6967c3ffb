//! Ladders of kernels, and which rung computes a job: that choice is made here and nowhere else.
//!
//! A family of computations (products, convolutions, contrastive losses) has a ladder: one rung for each kernel file that computes
//! any of its jobs. The rung that [`GpuBuilder::kernel`](crate::GpuBuilder::kernel) names goes first, then the one that the tuner
//! measured, then the highest rung of the means that the adapter's class prefers. The last depends on the adapter and on the job
//! alone, so the same program always runs the same kernels.

use super::tune;
use crate::error::Error;
use crate::gpu::{AdapterInfo, Gpu, Means};
use crate::tensor::DType;

/// A kind of computation that has a ladder.
pub(super) trait Family: Sized + 'static {
    /// Something to compute.
    type Job<'a>;
    /// How a rung computes a job.
    type Launch: Copy + Send + Sync;
    /// The rungs.
    const LADDER: &'static Ladder<Self>;

    /// The device that computes `job`.
    fn gpu<'a>(job: &'a Self::Job<'_>) -> &'a Gpu;

    /// `F16` if all operands are; `F32` otherwise.
    fn operands(job: &Self::Job<'_>) -> DType;

    /// The text that a measured choice is kept by: everything that the time of a launch depends on. `None`: never measured.
    fn key(_job: &Self::Job<'_>) -> Option<String> {
        None
    }

    /// Measures on operands of its own which of `candidates` computes `job` the fastest; `None` where that failed.
    fn measure(_job: &Self::Job<'_>, _key: &str, _candidates: &Candidates<Self>) -> Option<&'static str> {
        None
    }
}

/// How a rung rounds its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    /// Multiplies them as they are, f32 or f16, and sums in f32.
    None,
    /// Rounds them to f16: chosen unasked for operands that are f16 already.
    ToF16,
    /// Takes f32 operands alone, each as two f16: how exact that is depends on the operands, so it is never chosen unasked.
    InTwo,
}

/// A way to compute the jobs of a family.
pub(super) struct Rung<F: Family> {
    /// `shaders/<family>/<file>.wgsl`, or several files that begin so.
    pub(super) file: &'static str,
    means: Means,
    rounding: Rounding,
    fits: fn(&F::Job<'_>) -> bool,
    pays: Option<fn(&F::Job<'_>) -> bool>,
    pub(super) launch: F::Launch,
}

impl<F: Family> Rung<F> {
    /// A rung that computes every job of its family.
    pub(super) const fn new(file: &'static str, means: Means, launch: F::Launch) -> Self {
        Self { file, means, rounding: Rounding::None, fits: |_| true, pays: None, launch }
    }

    /// One that computes the jobs for which `fits` is true.
    pub(super) const fn fits(self, fits: fn(&F::Job<'_>) -> bool) -> Self {
        Self { fits, ..self }
    }

    /// One that is chosen, unless it is named, where `pays` is true.
    pub(super) const fn pays(self, pays: fn(&F::Job<'_>) -> bool) -> Self {
        Self { pays: Some(pays), ..self }
    }

    /// One that rounds its operands to f16.
    pub(super) const fn rounds_to_f16(self) -> Self {
        Self { rounding: Rounding::ToF16, ..self }
    }

    /// One that takes f32 operands as two f16 each.
    pub(super) const fn splits_in_two(self) -> Self {
        Self { rounding: Rounding::InTwo, ..self }
    }

    /// Whether the adapter has its means.
    fn runs_on(&self, info: &AdapterInfo) -> bool {
        info.lacks(self.means).is_none()
    }

    /// Whether the adapter has its means and prefers them.
    fn suits(&self, info: &AdapterInfo) -> bool {
        self.runs_on(info) && info.facts.prefers(self.means)
    }

    /// Whether it computes `job` on an adapter that has its means.
    fn takes(&self, job: &F::Job<'_>) -> bool {
        (self.rounding != Rounding::InTwo || F::operands(job) == DType::F32) && (self.fits)(job)
    }

    /// Whether it multiplies operands of this type as they are.
    fn is_exact(&self, operands: DType) -> bool {
        match self.rounding {
            Rounding::None => true,
            Rounding::ToF16 => operands == DType::F16,
            Rounding::InTwo => false,
        }
    }
}

/// The rungs of a family.
pub(super) struct Ladder<F: Family> {
    /// The folder under `shaders/`.
    pub(super) family: &'static str,
    /// Lowest first. The first computes every job on every adapter.
    pub(super) rungs: &'static [Rung<F>],
}

/// The rung that computes `job`.
pub(super) fn rung<F: Family>(job: &F::Job<'_>) -> &'static Rung<F> {
    let gpu = F::gpu(job);
    match gpu.kernel_choice(F::LADDER.family) {
        Some(file) => F::LADDER.named(file, job),
        None => F::LADDER.measured(job).unwrap_or_else(|| F::LADDER.preferred(job)),
    }
}

impl<F: Family> Ladder<F> {
    /// The highest rung of the preferred means that computes `job` as it is, and pays.
    fn preferred(&self, job: &F::Job<'_>) -> &'static Rung<F> {
        let (info, operands) = (F::gpu(job).info(), F::operands(job));
        let fits = |rung: &&Rung<F>| {
            rung.suits(info)
                && rung.is_exact(operands)
                && rung.takes(job)
                && rung.pays.is_none_or(|pays| pays(job))
        };
        self.rungs.iter().rfind(fits).expect("the lowest rung computes every job")
    }

    /// The rung that was named. Where the adapter lacks its means that is the device's error; where it does not compute `job`, the
    /// preferred rung takes its place, and a line says so once.
    fn named(&self, file: &str, job: &F::Job<'_>) -> &'static Rung<F> {
        let (gpu, family) = (F::gpu(job), self.family);
        let rung = self.rungs.iter().find(|rung| rung.file == file);
        let rung = rung.expect("a name was checked when the device opened");
        if let Some(lacking) = gpu.info().lacks(rung.means) {
            let message = format!("needs {lacking}, which {} does not have", gpu.info().name);
            gpu.latch(Error::Kernel { kernel: format!("{family}/{file}"), message });
        } else if rung.takes(job) {
            return rung;
        } else {
            let instead = self.preferred(job).file;
            gpu.tell_once(&format!(
                "{family}:{file} does not fit all that this program computes; {instead} takes the rest"
            ));
        }
        self.preferred(job)
    }

    /// The rung that was measured to be the fastest, on a device that has such choices.
    fn measured(&self, job: &F::Job<'_>) -> Option<&'static Rung<F>> {
        let gpu = F::gpu(job);
        if !gpu.has_tuned() {
            return None;
        }
        let own = self.preferred(job);
        let fits = |rung: &&Rung<F>| {
            rung.runs_on(gpu.info())
                && rung.is_exact(F::operands(job))
                && rung.takes(job)
                && rung.file != own.file
        };
        let others = self.rungs.iter().rev().filter(fits);
        let candidates = Candidates(std::iter::once(own).chain(others).collect());
        let measure = |key: &str| F::measure(job, key, &candidates);
        tune::choice(gpu, F::key(job)?, &candidates.files(), measure).map(|file| candidates.rung(file))
    }

    /// Every file, lowest rung first.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<&'static str> {
        self.rungs.iter().map(|rung| rung.file).collect()
    }

    /// The file of the rung that jobs usually get on an adapter.
    pub(super) fn usual(&self, info: &AdapterInfo) -> &'static str {
        let fits =
            |rung: &&Rung<F>| rung.suits(info) && rung.rounding == Rounding::None && rung.pays.is_none();
        self.rungs.iter().rfind(fits).expect("the lowest rung runs everywhere").file
    }

    /// The files of the rungs that an adapter runs for operands of a type without rounding them further, lowest first.
    pub(super) fn files(&self, info: &AdapterInfo, operands: DType) -> Vec<&'static str> {
        let fits = |rung: &&Rung<F>| {
            let splits = rung.rounding == Rounding::InTwo && operands == DType::F32;
            rung.runs_on(info) && (splits || rung.is_exact(operands))
        };
        self.rungs.iter().filter(fits).map(|rung| rung.file).collect()
    }
}

/// The rungs among which one is measured; the first is the static choice.
pub(super) struct Candidates<F: Family>(Vec<&'static Rung<F>>);

impl<F: Family> Candidates<F> {
    /// Their files.
    pub(super) fn files(&self) -> Vec<&'static str> {
        self.0.iter().map(|rung| rung.file).collect()
    }

    /// The one of this file.
    ///
    /// # Panics
    /// If it is none of them.
    pub(super) fn rung(&self, file: &str) -> &'static Rung<F> {
        self.0.iter().find(|rung| rung.file == file).expect("a candidate")
    }
}
