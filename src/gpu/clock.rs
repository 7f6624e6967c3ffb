//! How long recorded work takes on the device, by the clock that can be trusted.

use std::time::Instant;

use super::Gpu;
use super::profile::Stamped;
use crate::error::Result;

/// By which clock times of a device are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps that the device writes around each launch: without what the host and the driver need for it.
    Timestamps,
    /// The host's clock from the first recording to the end on the device, for this reason.
    Host(String),
}

/// Timestamps may say so much more than the host's clock saw, and so little of it, of launches that keep the device busy.
const AGREES: [f64; 2] = [0.75, 1.05];

impl Clock {
    /// The one to trust, after a run that kept the device busy for so many seconds by the host's clock.
    pub(super) fn judged(host: f64, stamped: Option<Stamped>) -> Self {
        let Some(stamped) = stamped else { return Self::Host("the adapter has no timestamps".into()) };
        if let Stamped { untimed: untimed @ 1.., launches, .. } = stamped {
            let all = untimed + launches;
            return Self::Host(format!(
                "timestamps of {untimed} of {all} launches are missing, zero or not in order"
            ));
        }
        let [least, most] = AGREES;
        if (least..=most).contains(&(stamped.seconds / host)) {
            return Self::Timestamps;
        }
        let [stamps, host] = [stamped.seconds, host].map(|seconds| 1e3 * seconds);
        Self::Host(format!("by timestamps copies took {stamps:.2} ms, by the host's clock {host:.2} ms"))
    }
}

/// How long work took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Elapsed {
    /// Seconds that its launches took on the device, in sum, by timestamps. `None` where [`Gpu::clock`] does not trust them, or
    /// something has none: a copy between buffers.
    pub device: Option<f64>,
    /// Seconds by the host's clock, from the first recording to the end on the device.
    pub host: f64,
}

impl Gpu {
    /// How long `work` takes, which records launches on this device; what was recorded before is done first. The launches are
    /// not in the device's profile. What other threads launch meanwhile counts as well.
    ///
    /// # Errors
    /// The device's first error.
    pub fn elapsed(&self, work: impl FnOnce()) -> Result<Elapsed> {
        let trusted = self.clock()? == Clock::Timestamps;
        let (host, stamped) = self.stamped_if(trusted, work)?;
        let whole = stamped.filter(|stamped| stamped.untimed == 0 && stamped.copies == 0);
        Ok(Elapsed { device: whole.map(|stamped| stamped.seconds), host })
    }

    /// Seconds of `work` by the host's clock, and by timestamps where the adapter has them.
    pub(super) fn stamped(&self, work: impl FnOnce()) -> Result<(f64, Option<Stamped>)> {
        self.stamped_if(true, work)
    }

    fn stamped_if(&self, wanted: bool, work: impl FnOnce()) -> Result<(f64, Option<Stamped>)> {
        self.sync()?;
        let mut recorder = self.recorder();
        let own =
            (wanted && self.info().timestamps && !recorder.only_lists()).then(|| recorder.new_profiler());
        let paused = recorder.profile_with(own);
        drop(recorder);
        let start = Instant::now();
        work();
        let outcome = self.sync();
        let host = start.elapsed().as_secs_f64();
        let own = self.recorder().profile_with(paused);
        outcome?;
        Ok((host, own.map(|profiler| profiler.sum())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(seconds: f64, untimed: u64) -> Option<Stamped> {
        Some(Stamped { seconds, launches: 64 - untimed, untimed, copies: 0 })
    }

    #[test]
    fn timestamps_are_trusted_where_they_agree_with_the_host() {
        for seconds in [0.0200, 0.0197, 0.0160, 0.0209] {
            assert_eq!(Clock::judged(0.020, stamped(seconds, 0)), Clock::Timestamps, "{seconds}");
        }
        for (stamped, why) in [
            (None, "the adapter has no timestamps"),
            (stamped(0.0, 64), "timestamps of 64 of 64 launches are missing, zero or not in order"),
            (stamped(0.019, 1), "timestamps of 1 of 64 launches are missing, zero or not in order"),
            (stamped(0.0002, 0), "by timestamps copies took 0.20 ms, by the host's clock 20.00 ms"),
            (stamped(0.04, 0), "by timestamps copies took 40.00 ms, by the host's clock 20.00 ms"),
            (stamped(f64::NAN, 0), "by timestamps copies took NaN ms, by the host's clock 20.00 ms"),
        ] {
            assert_eq!(Clock::judged(0.020, stamped), Clock::Host(why.into()));
        }
    }
}
