//! Which of several upstreams is left out, judged by the requests it failed.
//!
//! Nothing is sent to find out: after some failures in a row an upstream is left out
//! for a while, then one request at a time tries it, until one succeeds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which an upstream is left out.
const FAILURES: u32 = 3;

/// For how long it is left out before it is tried again.
const LEFT_OUT: Duration = Duration::from_secs(10);

/// How an upstream did lately.
#[derive(Debug)]
pub(super) struct Health {
    start: Instant,
    /// Failures since the last success.
    failures: AtomicU32,
    /// When it may be tried again, in milliseconds after `start`.
    again: AtomicU64,
}

/// Whether an upstream is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Up,
    /// It was left out for long enough: [`Health::try_again`].
    Due,
    LeftOut,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            failures: AtomicU32::new(0),
            again: AtomicU64::new(0),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing_at(self.start.elapsed())
    }

    /// Whether the caller is the one that tries a server which is [`Standing::Due`].
    pub(super) fn try_again(&self) -> bool {
        self.try_again_at(self.start.elapsed())
    }

    /// Notes an answer; whether the server was left out until now.
    pub(super) fn succeeded(&self) -> bool {
        // Most of the time there is nothing to write.
        self.failures.load(Relaxed) > 0 && self.failures.swap(0, Relaxed) >= FAILURES
    }

    /// Notes a failure; whether the server is left out from now on.
    pub(super) fn failed(&self) -> bool {
        self.failed_at(self.start.elapsed())
    }

    fn standing_at(&self, now: Duration) -> Standing {
        if self.failures.load(Relaxed) < FAILURES {
            Standing::Up
        } else if millis(now) >= self.again.load(Relaxed) {
            Standing::Due
        } else {
            Standing::LeftOut
        }
    }

    fn try_again_at(&self, now: Duration) -> bool {
        let due = self.again.load(Relaxed);
        let next = millis(now + LEFT_OUT);
        millis(now) >= due
            && self
                .again
                .compare_exchange(due, next, Relaxed, Relaxed)
                .is_ok()
    }

    fn failed_at(&self, now: Duration) -> bool {
        self.again.store(millis(now + LEFT_OUT), Relaxed);
        self.failures.fetch_add(1, Relaxed) + 1 == FAILURES
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_fails_is_left_out_and_then_tried_once_at_a_time() {
        let health = Health::new();
        let at = Duration::from_secs;
        assert!(!health.failed_at(at(1)) && !health.failed_at(at(1)));
        assert_eq!(health.standing_at(at(1)), Standing::Up);
        assert!(health.failed_at(at(1)), "said once");
        assert!(!health.failed_at(at(1)), "said once");
        assert_eq!(health.standing_at(at(10)), Standing::LeftOut);
        assert_eq!(health.standing_at(at(11)), Standing::Due);
        assert!(health.try_again_at(at(11)));
        assert!(!health.try_again_at(at(11)), "another is trying");
        assert_eq!(health.standing_at(at(12)), Standing::LeftOut);
        assert!(health.try_again_at(at(22)), "that one never came back");
        assert!(health.succeeded(), "said once");
        assert!(!health.succeeded());
        assert_eq!(health.standing_at(at(22)), Standing::Up);
        // Failures count in a row only.
        for _ in 0..9 {
            assert!(!health.failed_at(at(30)) && !health.failed_at(at(30)));
            health.succeeded();
        }
    }
}
