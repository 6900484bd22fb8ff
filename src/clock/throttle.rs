//! Says a thing once, not once per request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Lets one message through per interval and counts what it held back.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    every: Duration,
    /// Milliseconds after `start`; nothing is let through before.
    next: AtomicU64,
    held: AtomicU64,
}

impl Throttle {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            start: Instant::now(),
            every,
            next: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    /// Whether to say it now: how many were held back since it was last said.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_after(self.start.elapsed())
    }

    fn admit_after(&self, elapsed: Duration) -> Option<u64> {
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let now = millis(elapsed);
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(millis(self.every));
        let won = now >= next
            && self
                .next
                .compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if won {
            Some(self.held.swap(0, Ordering::Relaxed))
        } else {
            self.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_per_interval_and_the_rest_are_counted() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let said = [0, 1, 9, 10, 19, 40].map(|s| throttle.admit_after(Duration::from_secs(s)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
