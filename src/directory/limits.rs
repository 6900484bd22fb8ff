//! How much was asked for lately: by one account, from one address, for one name.
//!
//! Rules kept here: a limit is never exceeded in any hour; what is remembered is bounded
//! however many ask, and a flood of strangers makes nobody forgotten who is near a limit;
//! nothing is written down, so that a restart begins anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::state::AccountId;
use crate::clock::{Duration, Timestamp, Window};
use crate::identifier::Identifier;
use crate::net::client::ClientPrefix;

/// Keys that are remembered at the same time; about 40 MB if every one is busy.
pub const MAX_KEYS: usize = 20_000;

/// Of a full table, this part is forgotten at once: looking for the quietest is then
/// worth its time.
const FORGOTTEN: usize = MAX_KEYS / 8;

/// Moments count as the start of their minute: sixty numbers for a key at most.
const STEP: Duration = Duration::MINUTE;

/// The hour of every limit, and the minute that a moment may lie after its start.
const SPAN: Duration = Duration::minutes(61);

/// What is counted, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// New accounts from an address, or an IPv6 /64.
    Accounts(ClientPrefix),
    /// Names in new orders of an account.
    Orders(AccountId),
    /// Names in new orders from an address, or an IPv6 /64.
    OrdersFrom(ClientPrefix),
    /// Failed validations of an account for a name.
    Failures(AccountId, Identifier),
    /// Certificates for a name.
    Certificates(Identifier),
    /// Certificates for a name that replace one that is due.
    Replacements(Identifier),
}

/// Counts what happened in the last hour.
#[derive(Debug, Default)]
pub struct Counters(Mutex<HashMap<Key, Window>>);

impl Counters {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one more for `key`, unless that would be more than `limit` within an hour.
    pub fn take(&self, key: Key, limit: u32, now: Timestamp) -> Result<(), Wait> {
        self.take_several(key, 1, limit, now)
    }

    /// Counts `several` more for `key`, or none of them where all would be more than
    /// `limit` within an hour.
    pub fn take_several(
        &self,
        key: Key,
        several: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = windows.get_mut(&key);
        let is_new = known.is_none();
        look(known, several, limit, now)?;
        if is_new && windows.len() >= MAX_KEYS {
            forget_the_quietest(&mut windows, now);
        }
        let window = windows.entry(key).or_default();
        window.push_several(step(now), count(several));
        Ok(())
    }

    /// Whether [`Counters::take`] would count it now; counts nothing.
    pub fn peek(&self, key: &Key, limit: u32, now: Timestamp) -> Result<(), Wait> {
        self.peek_several(key, 1, limit, now)
    }

    /// Whether [`Counters::take_several`] would count them now; counts nothing.
    pub fn peek_several(
        &self,
        key: &Key,
        several: u32,
        limit: u32,
        now: Timestamp,
    ) -> Result<(), Wait> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(windows.get_mut(key), several, limit, now)
    }
}

/// A limit is met; one more may be asked for after this time, at least a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub std::time::Duration);

impl From<Duration> for Wait {
    fn from(wait: Duration) -> Self {
        let wait = std::time::Duration::try_from(wait).unwrap_or_default();
        Self(wait.max(std::time::Duration::from_secs(1)))
    }
}

/// Whether there is room for `several` more.
fn look(window: Option<&mut Window>, several: u32, limit: u32, now: Timestamp) -> Result<(), Wait> {
    let Some(room) = limit.checked_sub(several) else {
        return Err(Wait::from(SPAN));
    };
    let most = count(room).saturating_add(1);
    let wait = window.and_then(|window| window.wait(most, SPAN, now));
    wait.map_or(Ok(()), |wait| Err(wait.into()))
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The start of the minute.
fn step(now: Timestamp) -> Timestamp {
    let seconds = now.unix_timestamp();
    let start = seconds - seconds.rem_euclid(STEP.whole_seconds());
    Timestamp::from_unix_timestamp(start).unwrap_or(now)
}

/// Forgets who asked for nothing in the last hour, then those who asked for the least,
/// the oldest of them first.
fn forget_the_quietest(windows: &mut HashMap<Key, Window>, now: Timestamp) {
    windows.retain(|_, window| {
        window.forget(SPAN, now);
        window.count() > 0
    });
    let room = MAX_KEYS.saturating_sub(windows.len());
    let Some(surplus) = FORGOTTEN.checked_sub(room).filter(|&n| n > 0) else {
        return;
    };
    let loudness = |window: &Window| (window.count(), window.newest());
    let mut all: Vec<_> = windows.values().map(loudness).collect();
    let (quieter, &mut limit, _) = all.select_nth_unstable(surplus - 1);
    // Of those that are equally quiet only as many as are needed.
    let mut equal = surplus - quieter.iter().filter(|&&one| one < limit).count();
    windows.retain(|_, window| {
        let loud = loudness(window);
        let goes = loud < limit || (loud == limit && equal > 0);
        equal -= usize::from(goes && loud == limit);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: i64) -> Timestamp {
        T0 + Duration::seconds(seconds)
    }

    fn wait(seconds: u64) -> Result<(), Wait> {
        Err(Wait(std::time::Duration::from_secs(seconds)))
    }

    fn address(n: u32) -> Key {
        Key::Accounts(IpAddr::from(n.to_be_bytes()).into())
    }

    fn name(text: &str) -> Identifier {
        Identifier::parse(text).unwrap()
    }

    fn account(letter: &str) -> AccountId {
        AccountId::parse(&letter.repeat(21).chars().chain(['A']).collect::<String>()).unwrap()
    }

    #[test]
    fn no_hour_holds_more_than_the_limit_and_the_wait_is_told() {
        let counters = Counters::new();
        let take = |seconds| counters.take(address(1), 3, at(seconds));
        for seconds in [0, 59, 1800] {
            assert_eq!(take(seconds), Ok(()));
        }
        // The first two count as of the first minute, which is over 61 minutes later.
        assert_eq!(take(1800), wait(1860));
        assert_eq!(take(3659), wait(1));
        assert_eq!(counters.peek(&address(1), 3, at(3660)), Ok(()));
        assert_eq!(take(3660), Ok(()));
        assert_eq!(take(3661), Ok(()));
        assert_eq!(take(3661), wait(1799));
        assert_eq!(counters.peek(&address(1), 3, at(3661)), wait(1799));
        // A limit that was lowered, and one of nothing.
        assert_eq!(counters.peek(&address(1), 1, at(3661)), wait(3659));
        for key in [address(1), address(2)] {
            assert_eq!(counters.take(key.clone(), 0, at(3661)), wait(3660));
            assert_eq!(counters.peek(&key, 0, at(3661)), wait(3660));
        }
        // Whoever was refused is not held back for longer.
        assert_eq!(take(3660 + 3660), Ok(()));
    }

    #[test]
    fn several_are_counted_together_or_not_at_all() {
        let counters = Counters::new();
        let take = |several, seconds| counters.take_several(address(1), several, 5, at(seconds));
        assert_eq!(take(6, 0), wait(3660), "more than there ever is room for");
        assert_eq!(take(3, 0), Ok(()));
        assert_eq!(take(3, 60), wait(3600));
        assert_eq!(counters.peek_several(&address(1), 3, 5, at(60)), wait(3600));
        assert_eq!(counters.peek_several(&address(1), 2, 5, at(60)), Ok(()));
        assert_eq!(take(2, 60), Ok(()), "who was refused took nothing");
        assert_eq!(take(1, 60), wait(3600));
        assert_eq!(take(4, 60), wait(3660), "both have to be over");
        assert_eq!(take(3, 3660), Ok(()));
    }

    #[test]
    fn each_key_is_counted_by_itself_and_an_ipv6_client_is_its_network() {
        let counters = Counters::new();
        let v6 = |text: &str| Key::Accounts(text.parse::<IpAddr>().unwrap().into());
        let keys = [
            address(1),
            address(2),
            v6("2001:db8::1"),
            v6("2001:db8:0:1::1"),
            Key::Orders(account("a")),
            Key::Orders(account("b")),
            Key::Failures(account("a"), name("a.test")),
            Key::Failures(account("b"), name("a.test")),
            Key::Failures(account("a"), name("b.test")),
            Key::Certificates(name("a.test")),
            Key::Certificates(name("*.a.test")),
        ];
        for key in &keys {
            assert_eq!(counters.take(key.clone(), 1, T0), Ok(()), "{key:?}");
        }
        for key in [&keys[..], &[v6("2001:db8::ffff:1")]].concat() {
            assert_eq!(counters.take(key.clone(), 1, T0), wait(3660), "{key:?}");
        }
    }

    #[test]
    fn a_flood_of_strangers_is_forgotten_before_whoever_is_held_back() {
        let counters = Counters::new();
        let busy = Key::Orders(account("a"));
        for _ in 0..3 {
            counters.take(busy.clone(), 3, T0).unwrap();
        }
        let flood = u32::try_from(MAX_KEYS * 2).unwrap();
        for n in 0..flood {
            counters
                .take(address(n), 1, at(i64::from(n) / 100))
                .unwrap();
            assert!(counters.0.lock().unwrap().len() <= MAX_KEYS);
        }
        assert_eq!(counters.take(busy, 3, at(400)), wait(3260));
        // The newest strangers are remembered, the oldest are not.
        assert!(counters.peek(&address(flood - 1), 1, at(400)).is_err());
        assert_eq!(counters.peek(&address(0), 1, at(400)), Ok(()));
        // What is over makes room by itself.
        let later = at(400) + SPAN;
        for n in 0..flood {
            counters.take(address(n + flood), 1, later).unwrap();
        }
        let remembered = counters.0.lock().unwrap().len();
        assert!(remembered > MAX_KEYS - FORGOTTEN && remembered <= MAX_KEYS);
    }

    #[test]
    fn a_busy_key_costs_sixty_numbers_and_a_clock_that_jumps_back_helps_nobody() {
        let counters = Counters::new();
        for seconds in 0..7200 {
            counters.take(address(1), 10_000, at(seconds)).unwrap();
        }
        let size = counters.0.lock().unwrap()[&address(1)].count();
        assert!((3600..=3660).contains(&size), "{size}");
        let back = T0 - Duration::days(365);
        assert_eq!(counters.peek(&address(1), 3000, back), wait(3660));
        let later = back + SPAN;
        assert_eq!(counters.peek(&address(1), 3000, later), Ok(()));
    }
}
