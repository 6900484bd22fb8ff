//! Where time comes from.
//!
//! Nothing else in certmint asks the operating system what time it is: every
//! decision that depends on time takes a [`Clock`] or a moment as an argument,
//! so that years can be simulated in a test and a jumping clock is one value.

mod throttle;
mod window;

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) use throttle::Throttle;
pub use time::{Duration, OffsetDateTime as Timestamp};
pub(crate) use window::Window;

/// Tells the time, in UTC and whole seconds (the resolution of X.509).
pub trait Clock: Send + Sync + Debug {
    /// The current moment.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one home of the system clock"
    )]
    fn now(&self) -> Timestamp {
        whole_seconds(Timestamp::now_utc())
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.unix_timestamp()))
    }

    /// Moves the clock by `step`, which may be negative.
    pub fn advance(&self, step: Duration) {
        self.0.fetch_add(step.whole_seconds(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_timestamp(self.0.load(Ordering::SeqCst))
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

fn whole_seconds(moment: Timestamp) -> Timestamp {
    moment.replace_nanosecond(0).unwrap_or(moment)
}

/// `moment` as RFC 3339 in UTC with whole seconds: `2026-11-22T01:34:11Z`.
pub fn rfc3339(moment: Timestamp) -> String {
    whole_seconds(moment.to_offset(time::UtcOffset::UTC))
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_else(|_| moment.unix_timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::days(-1));
        assert_eq!(rfc3339(clock.now()), "1969-12-31T00:00:00Z");
    }
}
