//! What a device must be able to do before it is trusted, and how fast it is about.
//!
//! Drivers have miscompiled barriers, and shown abilities that did not work. So a device adds up numbers behind barriers, lends a
//! register within a subgroup, takes values to f16 and back, and multiplies two tiles on its matrix units; one that gets it
//! wrong is refused. Then a copy and multiply-adds of some milliseconds are timed, which bounds the launches of other kernels. The
//! outcome is kept on disk by adapter, driver and version.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::pool::Storage;
use super::rates::{self, Half};
use super::tested::{ASSUMED_RATES, Tested};
use super::{AdapterInfo, Gpu, Grid, Kernel, Source, Work, disk, source};
use crate::error::{Error, Result};

static BARRIERS_SOURCE: Source = source!("self_test/barriers.wgsl");
static BARRIERS: Kernel = BARRIERS_SOURCE.kernel("barriers");
static SUBGROUPS_SOURCE: Source = source!("self_test/subgroups.wgsl");
static SUBGROUPS: Kernel = SUBGROUPS_SOURCE.kernel("subgroups");
static F16_SOURCE: Source = source!("self_test/f16.wgsl");
static F16: Kernel = F16_SOURCE.kernel("f16_round_trip");
static MATRIX_SOURCE: Source = source!("self_test/matrix.wgsl");
static MATRIX: Kernel = MATRIX_SOURCE.kernel("matrix");

/// Seconds that a launch of the timed kernels takes at least: long beside its overhead.
const LONG: f64 = 0.003;

/// What the outcome holds for.
fn head(info: &AdapterInfo) -> String {
    let AdapterInfo { name, driver, vendor, device, subgroup_size, f16, matrix_tiles, .. } = info;
    let emulated = if info.emulates_matrix_units { " emulated" } else { "" };
    let texts = [&BARRIERS_SOURCE, &SUBGROUPS_SOURCE, &F16_SOURCE, &MATRIX_SOURCE].map(Source::wgsl);
    let version = (env!("CARGO_PKG_VERSION"), disk::hash(texts));
    format!(
        "wgrad {version:?} {name} {driver} {vendor:x}:{device:x} {subgroup_size:?} {f16} {matrix_tiles:?}{emulated}"
    )
}

impl Gpu {
    /// Takes what the test found for sizes of workgroups and bounds of work.
    pub(super) fn rely_on(&self, tested: Tested) {
        if self.0.tested.set(tested).is_ok() {
            self.recorder().expect_rates(&tested);
        }
    }

    /// Tests the device, or reads what an earlier test found.
    ///
    /// # Errors
    /// [`Error::Device`] with the wrong result, the adapter and its driver; the device's first error.
    pub(super) async fn self_test(&self, folder: Option<PathBuf>) -> Result<Tested> {
        let head = head(self.info());
        let file = folder.map(|folder| folder.join(format!("self-test-{:016x}.txt", disk::hash(&head))));
        let known = |file: &Path| Tested::parse(&std::fs::read_to_string(file).ok()?, &head);
        if let Some(tested) = file.as_deref().and_then(known) {
            return Ok(tested);
        }
        // Afterwards the device is as new: nothing in its profile, no memory in use.
        let paused = self.recorder().profile_with(None);
        let tested = self.run_self_test().await;
        if paused.is_some() {
            self.recorder().profile_with(paused);
        }
        let tested = tested?;
        self.trim();
        self.reset_peak();
        if let Some(file) = &file
            && let Err(error) = disk::replace(file, tested.text(&head).as_bytes())
        {
            log::debug!("{}: {error}", file.display());
        }
        Ok(tested)
    }

    async fn run_self_test(&self) -> Result<Tested> {
        let info = self.info();
        let sum = self.words("self-test", 1)?;
        self.run(&BARRIERS, &[&sum], &(), Grid::groups(1), Work::default());
        self.expect("64 invocations that add up 1 to 64 behind barriers give", &sum, &[2080]).await?;

        let mut subgroup = 0;
        if info.subgroups {
            let seen = self.words("self-test", 65)?;
            self.run(&SUBGROUPS, &[&seen], &(), Grid::groups(1), Work::default());
            let seen = self.u32s(&seen).await?;
            subgroup = seen[0];
            let (least, most) = info.subgroup_size;
            if subgroup < least || subgroup > most || !subgroup.is_power_of_two() {
                return Err(
                    self.refuse(&format!("a subgroup of {subgroup} invocations, not {least} to {most}"))
                );
            }
            // In a subgroup of one invocation nobody has a neighbour.
            if subgroup > 1 && seen[1..].iter().any(|&other| other != 1) {
                return Err(self.refuse("a shuffle within a subgroup brings another lane than its neighbour"));
            }
        }
        if info.f16 {
            let values: Vec<f32> = (0..64).map(|i| (i as f32 - 31.5) * 2f32.powi(i % 20 - 9)).collect();
            let (x, y) = (self.words("self-test", 64)?, self.words("self-test", 32)?);
            self.upload(&x, bytemuck::cast_slice(&values));
            self.run(&F16, &[&Half(&y), &x], &(), Grid::groups(1), Work::default());
            let want: Vec<u32> = values
                .chunks(2)
                .map(|pair| [0, 1].map(|i| u32::from(half::f16::from_f32(pair[i]).to_bits()) << (16 * i)))
                .map(|[low, high]| low | high)
                .collect();
            self.expect("numbers that f16 holds come back from it as", &y, &want).await?;
        }
        let mut matrix_subgroup = 0;
        if let Some(&tile) = info.matrix_tiles.first() {
            let tile = tile as usize;
            let a: Vec<f32> = (0..tile * tile).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..tile * tile).map(|i| (i * 5 % 13) as f32 - 6.0).collect();
            let halves: Vec<half::f16> = a.iter().chain(&b).copied().map(half::f16::from_f32).collect();
            let x = self.words("self-test", halves.len() as u32 / 2)?;
            self.upload(&x, &halves.iter().flat_map(|h| h.to_le_bytes()).collect::<Vec<_>>());
            let (y, count) = (self.words("self-test", (tile * tile) as u32)?, self.words("self-test", 1)?);
            self.run(&MATRIX, &[&y, &count, &Half(&x)], &(), Grid::groups(1), Work::default());
            let product =
                |e: usize| (0..tile).map(|l| a[e / tile * tile + l] * b[e % tile * tile + l]).sum::<f32>();
            let want: Vec<u32> = (0..tile * tile).map(|e| product(e).to_bits()).collect();
            self.expect("a product of two tiles on matrix units is", &y, &want).await?;
            let subgroups = self.u32s(&count).await?[0];
            matrix_subgroup = 4 * info.largest_subgroup() / subgroups.max(1);
        }
        let (flops_per_second, bytes_per_second) = self.rates().await?;
        Ok(Tested { subgroup, matrix_subgroup, flops_per_second, bytes_per_second })
    }

    /// Operations and bytes a second, of launches that take [`LONG`].
    async fn rates(&self) -> Result<(f64, f64)> {
        // 16 MiB twice, or half of what the device may hold.
        let groups = u64::from(self.info().max_workgroups);
        let most = (self.0.memory_limit / 64).min(64 * groups).min(1 << 20) as u32;
        if cfg!(target_family = "wasm") || most < 4096 {
            return Ok(ASSUMED_RATES); // no clock, or no room
        }
        let (x, y) = (self.words("self-test", 4 * most)?, self.words("self-test", 4 * most)?);
        let mut rates = [0.0; 2];
        for (rate, copies) in rates.iter_mut().zip([false, true]) {
            let kernel = if copies { &rates::COPY } else { &rates::MULTIPLY_ADD };
            let (mut n, mut rounds) = (if copies { most } else { 4096 }, 16);
            let mut repeats = 1;
            loop {
                self.sync_async().await?;
                let start = Instant::now();
                for _ in 0..repeats {
                    self.run(
                        kernel,
                        &[&y, &x],
                        &rates::Uniforms { n, rounds },
                        Grid::items(n),
                        Work::default(),
                    );
                }
                self.sync_async().await?;
                let seconds = start.elapsed().as_secs_f64();
                let work =
                    if copies { 32.0 } else { 64.0 * f64::from(rounds) } * f64::from(n) * f64::from(repeats);
                // The first launch compiles: its time is no rate unless there is no second.
                *rate = f64::max(*rate, work / seconds);
                if repeats > 1 && seconds >= LONG || repeats >= 64 {
                    break;
                }
                repeats *= 2;
                if !copies && seconds < LONG {
                    n = (4 * n).min(most / 8).max(n);
                    rounds = (2 * rounds).min(256);
                }
            }
        }
        Ok((rates[0], rates[1]))
    }

    /// Compares words on the device with those that are right.
    async fn expect(&self, what: &str, got: &Storage, want: &[u32]) -> Result<()> {
        let got = self.u32s(got).await?;
        match got.iter().zip(want).position(|(got, want)| got != want) {
            None => Ok(()),
            Some(i) => Err(self.refuse(&format!("{what} {:#x}, not {:#x} (word {i})", got[i], want[i]))),
        }
    }

    async fn u32s(&self, words: &Storage) -> Result<Vec<u32>> {
        Ok(self.read(words).await?.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
    }

    /// The error of a device that fails the test.
    fn refuse(&self, why: &str) -> Error {
        let info = self.info();
        let message = format!(
            "it fails the self-test, so its results cannot be trusted: {why}. Driver: {}. Update it, or name another adapter",
            info.driver
        );
        Error::Device { adapter: info.name.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that adds up wrongly is refused with its name, its driver and both numbers.
    #[test]
    fn a_wrong_result_is_refused() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let words = gpu.words("test", 2).unwrap();
        gpu.upload(&words, bytemuck::cast_slice(&[2080_u32, 2079]));
        pollster::block_on(gpu.expect("sums", &words, &[2080, 2079])).unwrap();
        let error =
            pollster::block_on(gpu.expect("sums are", &words, &[2080, 2080])).unwrap_err().to_string();
        for part in ["sums are 0x81f, not 0x820 (word 1)", &gpu.info().name, &gpu.info().driver, "self-test"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    /// The test itself, afresh: subgroups as the adapter states them, rates that a machine of our time has.
    #[test]
    fn this_adapter_passes() {
        let gpu = Gpu::builder().quiet().build().unwrap();
        let tested = pollster::block_on(gpu.self_test(None)).unwrap();
        let (least, most) = gpu.info().subgroup_size;
        assert!(!gpu.info().subgroups || (least..=most).contains(&tested.subgroup), "{tested:?}");
        assert_eq!(tested.matrix_subgroup > 0, !gpu.info().matrix_tiles.is_empty());
        assert!((1e8..1e15).contains(&tested.flops_per_second), "{tested:?}");
        assert!((1e8..1e14).contains(&tested.bytes_per_second), "{tested:?}");
    }
}
