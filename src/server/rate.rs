//! How often a client may ask: the generic cell rate algorithm (GCRA, ITU-T I.371).
//!
//! One number is kept per client, the time at which it will have been quiet for long
//! enough to be forgotten. The table is bounded: past its bound, those that are
//! nearest to being forgotten go first, so that a flood of new addresses resets
//! nobody who is being held back.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::client::ClientPrefix;
use crate::settings::Rate;

/// Clients that are remembered at the same time; about 2 MB.
const MAX_CLIENTS: usize = 65_536;

/// Of a full table, this part is forgotten at once: looking for the quietest is
/// then worth its time.
const FORGOTTEN: usize = MAX_CLIENTS / 8;

/// Times are nanoseconds after the limiter began: 584 years.
type Nanos = u64;

/// Holds each client to a rate.
#[derive(Debug)]
pub(super) struct RateLimiter {
    start: Instant,
    /// Between two requests in the long run.
    interval: Nanos,
    /// How far ahead of that a burst may be.
    tolerance: Nanos,
    /// When each client's requests so far have been paid for.
    paid_until: Mutex<HashMap<ClientPrefix, Nanos>>,
}

impl RateLimiter {
    pub(super) fn new(rate: Rate) -> Self {
        let interval = 1_000_000_000 / u64::from(rate.per_second.get());
        Self {
            start: Instant::now(),
            interval,
            tolerance: interval * u64::from(rate.burst.get() - 1),
            paid_until: Mutex::default(),
        }
    }

    /// Counts a request, or says how long the client is to wait.
    pub(super) fn admit(&self, client: ClientPrefix) -> Result<(), Duration> {
        let now = Nanos::try_from(self.start.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
        self.admit_at(client, now)
    }

    fn admit_at(&self, client: ClientPrefix, now: Nanos) -> Result<(), Duration> {
        // The table is whole after every step, also one that panicked.
        let mut table = self.paid_until.lock();
        let table = table.as_mut().unwrap_or_else(|e| PoisonError::get_mut(e));
        let paid_until = table.get(&client).map_or(now, |&paid| paid.max(now));
        let ahead = paid_until - now;
        if ahead > self.tolerance {
            return Err(Duration::from_nanos(ahead - self.tolerance));
        }
        if table.len() >= MAX_CLIENTS && !table.contains_key(&client) {
            forget_the_quietest(table, now);
        }
        table.insert(client, paid_until + self.interval);
        Ok(())
    }
}

fn forget_the_quietest(table: &mut HashMap<ClientPrefix, Nanos>, now: Nanos) {
    table.retain(|_, paid_until| *paid_until > now);
    let room = MAX_CLIENTS - table.len();
    let Some(surplus) = FORGOTTEN.checked_sub(room).filter(|&n| n > 0) else {
        return;
    };
    let mut times: Vec<_> = table.values().copied().collect();
    let (quieter, &mut limit, _) = times.select_nth_unstable(surplus - 1);
    // Of those that are equally quiet only as many as are needed.
    let mut equal = surplus - quieter.iter().filter(|&&time| time < limit).count();
    table.retain(|_, paid_until| {
        let goes = *paid_until < limit || (*paid_until == limit && equal > 0);
        equal -= usize::from(goes && *paid_until == limit);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};
    use std::num::NonZeroU32;

    use super::*;

    const MILLIS: Nanos = 1_000_000;

    fn limiter(per_second: u32, burst: u32) -> RateLimiter {
        let number = |n| NonZeroU32::new(n).unwrap();
        RateLimiter::new(Rate {
            per_second: number(per_second),
            burst: number(burst),
        })
    }

    /// The `n`th network.
    fn client(n: usize) -> ClientPrefix {
        let [.., a, b] = u32::try_from(n).unwrap().to_be_bytes().map(u16::from);
        let segments = [0x2001, 0xdb8, u16::try_from(n >> 16).unwrap(), a << 8 | b];
        let [s, t, u, v] = segments;
        IpAddr::from(Ipv6Addr::new(s, t, u, v, 0, 0, 0, 1)).into()
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_request_per_interval() {
        // Rate and burst; when requests come and how long they are to wait, in
        // milliseconds.
        type Case<'a> = (u32, u32, &'a [(u64, Option<u64>)]);
        let cases: [Case<'_>; 4] = [
            (
                10,
                1,
                &[(0, None), (0, Some(100)), (99, Some(1)), (100, None)],
            ),
            (
                10,
                3,
                &[
                    (0, None),
                    (0, None),
                    (0, None),
                    (0, Some(100)),
                    (50, Some(50)),
                    (100, None),
                    (100, Some(100)),
                    // A long quiet time brings back the whole burst and no more.
                    (9000, None),
                    (9000, None),
                    (9000, None),
                    (9000, Some(100)),
                ],
            ),
            // What was refused is not counted.
            (
                1,
                1,
                &[(0, None), (1, Some(999)), (500, Some(500)), (1000, None)],
            ),
            (1000, 1, &[(0, None), (1, None), (2, None), (2, Some(1))]),
        ];
        for (per_second, burst, requests) in cases {
            let limiter = limiter(per_second, burst);
            for (step, &(at, wait)) in requests.iter().enumerate() {
                let admitted = limiter.admit_at(client(0), at * MILLIS);
                let wait = wait.map_or(Ok(()), |ms| Err(Duration::from_millis(ms)));
                assert_eq!(
                    admitted, wait,
                    "{per_second}/s, {burst} at once: step {step}"
                );
            }
        }
    }

    #[test]
    fn clients_do_not_pay_for_each_other_except_within_a_network() {
        let limiter = limiter(1, 1);
        let of = |address: &str| address.parse::<IpAddr>().unwrap().into();
        for (address, admitted) in [
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
        ] {
            assert_eq!(
                limiter.admit_at(of(address), 0).is_ok(),
                admitted,
                "{address}"
            );
        }
    }

    #[test]
    fn a_flood_of_networks_neither_grows_the_table_nor_resets_who_is_held_back() {
        let limiter = limiter(1, 5);
        let busiest = client(0);
        while limiter.admit_at(busiest, 0).is_ok() {}
        for n in 1..3 * MAX_CLIENTS {
            limiter.admit_at(client(n), 0).unwrap();
            assert!(limiter.paid_until.lock().unwrap().len() <= MAX_CLIENTS);
        }
        assert!(limiter.admit_at(busiest, 0).is_err(), "it was forgotten");
        // Those whose time is over cost nobody else a place.
        let later = 100_000 * MILLIS;
        limiter.admit_at(client(3 * MAX_CLIENTS), later).unwrap();
        let left = limiter.paid_until.lock().unwrap().len();
        assert!(left < MAX_CLIENTS, "{left}");
    }
}
