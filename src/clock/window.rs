//! How often something happened in a span of time that ends now.
//!
//! A clock that jumps back neither blocks anybody for long nor opens the door.

use std::collections::VecDeque;

use super::{Duration, Timestamp};

/// The moments in a span that ends now, the oldest first; those at the same moment are
/// one number, so that whoever rounds them keeps the window small.
#[derive(Debug, Default)]
pub(crate) struct Window {
    moments: VecDeque<(Timestamp, usize)>,
    count: usize,
}

impl Window {
    /// How many moments there are, as of the last look.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The newest moment.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.moments.back().map(|(moment, _)| *moment)
    }

    /// How long until there are fewer than `most` in the span; `None` when that is so
    /// now. With a `most` of zero, a whole span.
    pub(crate) fn wait(&mut self, most: usize, span: Duration, now: Timestamp) -> Option<Duration> {
        self.forget(span, now);
        let surplus = self.count.checked_sub(most)? + 1;
        let mut gone = 0;
        let frees = self.moments.iter().find(|(_, times)| {
            gone += times;
            gone >= surplus
        });
        Some(frees.map_or(span, |(moment, _)| *moment + span - now))
    }

    /// Counts `moment`, which may be long ago.
    pub(crate) fn push(&mut self, moment: Timestamp) {
        self.push_several(moment, 1);
    }

    /// Counts `moment` that many times.
    pub(crate) fn push_several(&mut self, moment: Timestamp, several: usize) {
        self.count += several;
        let place = self
            .moments
            .partition_point(|(earlier, _)| *earlier <= moment);
        let before = place.checked_sub(1).and_then(|n| self.moments.get_mut(n));
        match before {
            Some((same, times)) if *same == moment => *times += several,
            _ => self.moments.insert(place, (moment, several)),
        }
    }

    /// Forgets what is older than `span`. What a clock that was ahead noted counts as new.
    pub(crate) fn forget(&mut self, span: Duration, now: Timestamp) {
        while let Some((first, times)) = self.moments.front()
            && now - *first >= span
        {
            self.count -= times;
            self.moments.pop_front();
        }
        let ahead = self.moments.iter_mut().rev();
        let ahead = ahead.take_while(|(moment, _)| *moment > now);
        ahead.for_each(|(moment, _)| *moment = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;
    const HOUR: Duration = Duration::HOUR;

    fn at(minutes: i64) -> Timestamp {
        T0 + Duration::minutes(minutes)
    }

    #[test]
    fn the_wait_is_until_enough_are_older_than_the_span() {
        let mut window = Window::default();
        for minute in [0, 10, 10, 50] {
            assert_eq!(window.wait(4, HOUR, at(minute)), None);
            window.push(at(minute));
        }
        assert_eq!((window.count(), window.moments.len()), (4, 3));
        for (most, now, minutes) in [
            (5, 50, None),
            (4, 50, Some(10)),
            (3, 50, Some(20)),
            (2, 50, Some(20)),
            (1, 50, Some(60)),
            (0, 50, Some(60)),
            (4, 59, Some(1)),
            (4, 60, None),
            (3, 60, Some(10)),
            (1, 109, Some(1)),
            (1, 110, None),
            (0, 110, Some(60)),
        ] {
            let wait = minutes.map(Duration::minutes);
            assert_eq!(window.wait(most, HOUR, at(now)), wait, "{most} at {now}");
        }
        assert_eq!((window.count(), window.newest()), (0, None));
    }

    #[test]
    fn several_at_a_moment_are_as_many_and_one_number() {
        let mut window = Window::default();
        for (minute, several) in [(0, 3), (10, 2), (0, 1)] {
            window.push_several(at(minute), several);
        }
        assert_eq!((window.count(), window.moments.len()), (6, 2));
        let wait = |window: &mut Window, most| window.wait(most, HOUR, at(50));
        assert_eq!(wait(&mut window, 7), None);
        assert_eq!(wait(&mut window, 3), Some(Duration::minutes(10)));
        assert_eq!(wait(&mut window, 2), Some(Duration::minutes(20)));
        assert_eq!(window.wait(3, HOUR, at(60)), None);
        assert_eq!(window.count(), 2);
    }

    #[test]
    fn moments_come_in_any_order_and_none_is_ahead() {
        let mut window = Window::default();
        for minute in [30, 0, 30, 90] {
            window.push(at(minute));
        }
        assert_eq!(window.newest(), Some(at(90)));
        assert_eq!(window.wait(4, HOUR, at(40)), Some(Duration::minutes(20)));
        assert_eq!(window.newest(), Some(at(40)));
        assert_eq!(window.wait(2, HOUR, at(90)), None);
        assert_eq!(window.count(), 1);
    }
}
