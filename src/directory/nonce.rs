//! Nonces against replay (RFC 8555 §6.5) that no database holds.
//!
//! A nonce is a counter and the moment it was given out, under a MAC whose key lives
//! and dies with the process. One bit for each of the last [`WINDOW`] says whether it
//! was used. Rules kept here: a nonce is good once; memory is the same whatever
//! strangers do; after a restart every older nonce is bad, and clients try again with
//! the one that the refusal brings.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

use crate::clock::{Duration, Timestamp};

/// How many nonces can be open at a time: older ones are bad. 128 KiB of bits, and at
/// a thousand requests a second still a quarter of an hour.
pub const WINDOW: u64 = 1 << 20;
/// How long a nonce is good.
pub const LIFETIME: Duration = Duration::hours(1);
/// How many characters a nonce has.
pub const LENGTH: usize = 43;

/// Counter and seconds, 8 bytes each.
const PLAIN: usize = 16;
/// A MAC cut to 128 bits (RFC 2104 §5).
const MAC: usize = 16;

/// Gives out nonces and takes each of them once.
pub struct Nonces {
    key: hmac::Key,
    used: Mutex<Used>,
    size: u64,
    lifetime: Duration,
}

/// The bits of the last nonces given out. That of a nonce is cleared when it is given
/// out, so nothing else has to be swept: what it held before is out of the window.
struct Used {
    next: u64,
    bits: Box<[u64]>,
}

impl Nonces {
    /// With a new key. Fails when the system has no randomness.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        Self::sized(WINDOW, LIFETIME)
    }

    fn sized(size: u64, lifetime: Duration) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let words =
            usize::try_from(size.div_ceil(64)).map_err(|_| aws_lc_rs::error::Unspecified)?;
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &random)?,
            used: Mutex::new(Used {
                next: 0,
                bits: vec![0; words].into(),
            }),
            size,
            lifetime,
        })
    }

    /// A new nonce.
    pub fn issue(&self, now: Timestamp) -> String {
        let number = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let number = used.next;
            used.next += 1;
            let (word, bit) = place(number % self.size);
            if let Some(word) = used.bits.get_mut(word) {
                *word &= !bit;
            }
            number
        };
        let mut bytes = [0; PLAIN + MAC];
        let (plain, mac) = bytes.split_at_mut(PLAIN);
        plain[..8].copy_from_slice(&number.to_be_bytes());
        plain[8..].copy_from_slice(&now.unix_timestamp().to_be_bytes());
        mac.copy_from_slice(&self.mac(plain));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Takes a nonce: true for one that this process gave out not long ago and that
    /// was not taken before. Of several callers with the same one, one is told true.
    #[must_use]
    pub fn take(&self, nonce: &str, now: Timestamp) -> bool {
        let Some((number, issued)) = self.open(nonce) else {
            return false;
        };
        let age = now.unix_timestamp().saturating_sub(issued);
        // A clock that was set back makes a nonce seem to come from the future.
        if age.unsigned_abs() > self.lifetime.whole_seconds().unsigned_abs() {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if number >= used.next || used.next - number > self.size {
            return false;
        }
        let (word, bit) = place(number % self.size);
        let Some(word) = used.bits.get_mut(word) else {
            return false;
        };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Counter and seconds of a nonce whose MAC is ours.
    fn open(&self, nonce: &str) -> Option<(u64, i64)> {
        if nonce.len() != LENGTH {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(nonce.as_bytes()).ok()?;
        let (plain, mac) = bytes.split_at_checked(PLAIN)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(mac, &self.mac(plain)).ok()?;
        let (number, issued) = plain.split_at_checked(8)?;
        Some((
            u64::from_be_bytes(number.try_into().ok()?),
            i64::from_be_bytes(issued.try_into().ok()?),
        ))
    }

    fn mac(&self, plain: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        mac.copy_from_slice(&hmac::sign(&self.key, plain).as_ref()[..MAC]);
        mac
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(…)")
    }
}

fn place(index: u64) -> (usize, u64) {
    let word = usize::try_from(index / 64).unwrap_or(usize::MAX);
    (word, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_timestamp(1_795_000_000).unwrap()
    }

    #[test]
    fn a_nonce_is_good_once_and_only_where_it_was_made() {
        let (here, elsewhere) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let nonce = here.issue(now());
        assert_eq!(nonce.len(), LENGTH);
        assert!(!elsewhere.take(&nonce, now()));
        assert!(here.take(&nonce, now()));
        assert!(!here.take(&nonce, now()));
        assert_ne!(here.issue(now()), here.issue(now()));
    }

    #[test]
    fn a_nonce_dies_of_age_however_the_clock_moves() {
        let nonces = Nonces::new().unwrap();
        for (age, good) in [
            (Duration::ZERO, true),
            (LIFETIME, true),
            (LIFETIME + Duration::SECOND, false),
            (Duration::days(40_000), false),
            (-LIFETIME, true),
            (-LIFETIME - Duration::SECOND, false),
        ] {
            let nonce = nonces.issue(now());
            assert_eq!(nonces.take(&nonce, now() + age), good, "{age}");
        }
    }

    #[test]
    fn no_changed_nonce_is_good() {
        let nonces = Nonces::new().unwrap();
        let nonce = nonces.issue(now());
        let mut forged = vec![
            String::new(),
            "A".repeat(LENGTH),
            "A".repeat(100_000),
            format!("{nonce}="),
            format!("{nonce}A"),
            nonce[1..].to_owned(),
            format!(" {}", &nonce[1..]),
            "ü".repeat(LENGTH),
        ];
        for at in 0..LENGTH {
            for with in ["A", "B", "_"] {
                let other = format!("{}{with}{}", &nonce[..at], &nonce[at + 1..]);
                if other != nonce {
                    forged.push(other);
                }
            }
        }
        for text in forged {
            assert!(!nonces.take(&text, now()), "{text}");
        }
        assert!(nonces.take(&nonce, now()));
    }

    #[test]
    fn what_leaves_the_window_is_bad_used_or_not() {
        let nonces = Nonces::sized(100, LIFETIME).unwrap();
        let mut given: Vec<String> = (0..250).map(|_| nonces.issue(now())).collect();
        let young = given.split_off(150);
        assert!(given.iter().all(|nonce| !nonces.take(nonce, now())));
        assert!(young.iter().all(|nonce| nonces.take(nonce, now())));
        assert!(young.iter().all(|nonce| !nonces.take(nonce, now())));
    }

    #[test]
    fn one_of_many_who_come_with_the_same_nonce_is_let_through() {
        let nonces = Nonces::sized(4096, LIFETIME).unwrap();
        let given: Vec<String> = (0..500).map(|_| nonces.issue(now())).collect();
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for nonce in &given {
                        nonces.issue(now());
                        if nonces.take(nonce, now()) {
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), given.len());
    }

    proptest! {
        /// Against the plain truth: a list of what was given out and a set of what was used.
        #[test]
        fn the_window_decides_as_a_full_memory_would(steps in prop::collection::vec((0..300_usize, any::<bool>()), 1..400)) {
            let nonces = Nonces::sized(70, LIFETIME).unwrap();
            let mut given = Vec::new();
            let mut used = std::collections::BTreeSet::new();
            for (pick, issue) in steps {
                if issue || given.is_empty() {
                    given.push(nonces.issue(now()));
                    continue;
                }
                let at = pick % given.len();
                let want = given.len() - at <= 70 && used.insert(at);
                prop_assert_eq!(nonces.take(&given[at], now()), want);
            }
        }
    }
}
