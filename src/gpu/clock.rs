//! How long work takes on a device, and by which clock that can be told.

/// Ticks between the timestamps around a launch; none where they are no time: not written, which reads as zero (macOS 26), or
/// not one after the other.
pub(super) fn ticks_between(start: u64, end: u64) -> Option<u64> {
    let ticks = if start == 0 { None } else { end.checked_sub(start) };
    ticks.filter(|ticks| *ticks > 0)
}

/// The time of recorded work by its timestamps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Stamped {
    /// Of the launches that have a time.
    pub(super) seconds: f64,
    /// Those launches.
    pub(super) launches: u64,
    /// Launches that have none.
    pub(super) untimed: u64,
    /// Copies between buffers, which have none.
    pub(super) copies: u64,
}

impl Stamped {
    /// A line about launches without a time, if there are some.
    pub(super) fn notice(&self) -> Option<String> {
        let Self { launches, untimed, .. } = self;
        (*untimed > 0).then(|| {
            let all = launches + untimed;
            format!("{untimed} of {all} launches are left out of the profile: the driver's timestamps of them are missing, zero or not in order")
        })
    }
}

/// By which clock times of a device are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clock {
    /// Timestamps that the device writes around each launch: without what the host and the driver need for it.
    Timestamps,
    /// The host's clock from the first recording to the end on the device, for this reason.
    Host(String),
}

/// Time by timestamps over time by the host's clock, at least and at most, of launches that keep the device busy.
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
    /// Seconds that its launches took on the device, in sum, by timestamps. `None` where [`Gpu::clock`](super::Gpu::clock) does not trust them, or
    /// something has none: a copy between buffers.
    pub device: Option<f64>,
    /// Seconds by the host's clock, from the first recording to the end on the device.
    pub host: f64,
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

    /// Timestamps of drivers: in nanoseconds since 1970, where f64 would lose 256 of them; not written; wrapped around.
    #[test]
    fn only_timestamps_in_order_are_a_time() {
        let now = 1_795_000_000_000_000_000;
        for (start, end, ticks) in [
            (1, 2, Some(1)),
            (now, now + 7, Some(7)),
            (u64::MAX - 1, u64::MAX, Some(1)),
            (0, 0, None),
            (0, now, None),
            (now, 0, None),
            (now, now, None),
            (now, now - 1, None),
            ((1 << 36) - 5, 3, None),
        ] {
            assert_eq!(ticks_between(start, end), ticks, "{start} to {end}");
        }
    }

    #[test]
    fn launches_that_are_left_out_are_said_in_one_line() {
        let stamped = |untimed| Stamped { seconds: 0.5, launches: 30, untimed, copies: 2 };
        assert_eq!(stamped(0).notice(), None);
        let notice = stamped(12).notice().unwrap();
        assert!(
            notice.starts_with("12 of 42 launches are left out") && notice.lines().count() == 1,
            "{notice}"
        );
    }
}
