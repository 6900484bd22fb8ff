//! When is a certificate due, and when may a failed renewal be tried again.
//!
//! Pure: dates, past attempts and now come in, the next step comes out. Fractions
//! of a certificate's life, never a number of days, since lives range from hours
//! to years (DESIGN: lifecycle).

use aws_lc_rs::digest;

use super::Then;
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};
use crate::identifier::CertId;
use crate::store::Attempts;

/// The validity of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// First moment.
    pub not_before: Timestamp,
    /// Last moment.
    pub not_after: Timestamp,
}

impl Life {
    /// The validity of `certificate`.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        }
    }

    fn length(self) -> Duration {
        (self.not_after - self.not_before).max(Duration::ZERO)
    }
}

/// What the decision depends on.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Of the certificate in use.
    pub life: Life,
    /// Past failures.
    pub attempts: &'a Attempts,
    /// Why it should not be left in use until it is due, and what follows.
    pub superseded: Option<(String, Then)>,
    /// A newer generation exists but cannot be used.
    pub damaged: bool,
    /// Renew whatever the dates say.
    pub force: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before `due_at`.
    Wait {
        /// When it is due.
        due_at: Timestamp,
    },
    /// It is due, but failed lately.
    PutOff {
        /// When to try again.
        until: Timestamp,
    },
    /// Nothing, ever: it was revoked for good.
    Leave {
        /// What the revocation said.
        why: String,
    },
    /// Renew now.
    Renew(Reason),
}

/// Why a certificate is renewed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Somebody said so.
    #[error("it was asked for")]
    Forced,
    /// The dates say so.
    #[error("due since {}", crate::clock::rfc3339(*.due_at))]
    Due {
        /// Since when.
        due_at: Timestamp,
    },
    /// It is no longer valid.
    #[error("expired at {}", crate::clock::rfc3339(*.not_after))]
    Expired {
        /// Since when.
        not_after: Timestamp,
    },
    /// It was revoked, or its issuer replaced.
    #[error("{0}")]
    Superseded(String),
    /// The generation that should be in use is damaged.
    #[error("the newest generation is damaged")]
    Damaged,
}

/// Certificates that live shorter than this are renewed at half their life.
const SHORT_LIFE: Duration = Duration::days(10);

/// The moment from which a certificate is due: ⅓ of its life left, ½ when it
/// lives under 10 days.
pub fn due_at(life: Life) -> Timestamp {
    let length = life.length();
    let left = if length < SHORT_LIFE {
        length / 2
    } else {
        length / 3
    };
    life.not_after - left
}

/// Decides what to do about one certificate.
pub fn next_step(situation: Situation<'_>, now: Timestamp) -> Step {
    if situation.force {
        return Step::Renew(Reason::Forced);
    }
    let due_at = due_at(situation.life);
    let reason = match situation.superseded {
        Some((why, Then::Withdraw)) => return Step::Leave { why },
        _ if now > situation.life.not_after => Reason::Expired {
            not_after: situation.life.not_after,
        },
        Some((why, Then::Replace | Then::ReplaceKey)) => Reason::Superseded(why),
        None if situation.damaged => Reason::Damaged,
        None if now >= due_at => Reason::Due { due_at },
        None => return Step::Wait { due_at },
    };
    match situation.attempts.not_before {
        Some(until) if is_put_off(situation.attempts, until, now) => Step::PutOff { until },
        _ => Step::Renew(reason),
    }
}

/// A clock that jumped back must not put a renewal off for years: no wait is
/// longer than the longest that [`after_failure`] gives.
fn is_put_off(attempts: &Attempts, until: Timestamp, now: Timestamp) -> bool {
    let made = attempts.last.unwrap_or(until);
    now < until && now >= made - LONGEST_WAIT
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct AttemptFailure {
    /// What it said.
    pub error: String,
    /// When the issuer asked to be asked again.
    pub retry_after: Option<Timestamp>,
    /// Whether the issuer must be spared; our own CA need not be.
    pub backs_off: bool,
    /// 0 to 1: how far into the jitter's range.
    pub jitter: f64,
}

/// Waits after the first, second, third failure; the last one from then on: with
/// its jitter it stays under a day, or a daily run would try every second day only.
const WAITS: [Duration; 4] = [
    Duration::minutes(1),
    Duration::minutes(10),
    Duration::minutes(100),
    Duration::hours(20),
];

/// A wait is stretched by up to this share, so that machines do not come back at once.
const JITTER: f64 = 0.15;

/// Longest wait that is believed, whoever asked for it.
const LONGEST_WAIT: Duration = Duration::days(2);

/// The attempts to record after a failure.
pub fn after_failure(before: &Attempts, failure: AttemptFailure, now: Timestamp) -> Attempts {
    let nth = usize::try_from(before.failures)
        .unwrap_or(usize::MAX)
        .min(WAITS.len() - 1);
    let wait = WAITS.get(nth).copied().unwrap_or(LONGEST_WAIT);
    let stretched = wait * (1.0 + JITTER * failure.jitter.clamp(0.0, 1.0));
    let own = failure
        .backs_off
        .then(|| now + Duration::seconds(stretched.whole_seconds()));
    let asked = failure
        .retry_after
        .map(|moment| moment.clamp(now, now + LONGEST_WAIT));
    Attempts {
        failures: before.failures.saturating_add(1),
        last: Some(now),
        not_before: asked.or(own),
        error: Some(failure.error),
        deploying: before.deploying.clone(),
    }
}

/// A number from 0 to 1 that differs between certificates and attempts, but not
/// between runs.
pub fn jitter(id: &CertId, failures: u32) -> f64 {
    let hash = digest::digest(&digest::SHA256, format!("{id}/{failures}").as_bytes());
    hash.as_ref()
        .first()
        .map_or(0.0, |byte| f64::from(*byte) / f64::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn life(length: Duration) -> Life {
        Life {
            not_before: T0,
            not_after: T0 + length,
        }
    }

    fn step(length: Duration, attempts: &Attempts, now: Timestamp) -> Step {
        let situation = Situation {
            life: life(length),
            attempts,
            superseded: None,
            damaged: false,
            force: false,
        };
        next_step(situation, now)
    }

    fn failed(before: &Attempts, now: Timestamp, backs_off: bool) -> Attempts {
        let failure = AttemptFailure {
            error: "no".into(),
            retry_after: None,
            backs_off,
            jitter: 0.0,
        };
        after_failure(before, failure, now)
    }

    #[test]
    fn due_is_a_fraction_of_life() {
        for (length, due) in [
            (Duration::days(90), Duration::days(60)),
            (Duration::days(45), Duration::days(30)),
            (Duration::days(10), Duration::days(10) * 2 / 3),
            (Duration::hours(160), Duration::hours(80)),
            (Duration::hours(1), Duration::minutes(30)),
            (Duration::ZERO, Duration::ZERO),
        ] {
            assert_eq!(due_at(life(length)), T0 + due, "{length}");
        }
    }

    #[test]
    fn a_certificate_is_renewed_at_its_moment_and_not_before() {
        let fresh = Attempts::default();
        let due = T0 + Duration::days(60);
        let before = due - Duration::SECOND;
        assert_eq!(
            step(Duration::days(90), &fresh, before),
            Step::Wait { due_at: due }
        );
        assert_eq!(
            step(Duration::days(90), &fresh, due),
            Step::Renew(Reason::Due { due_at: due })
        );
        let late = T0 + Duration::days(91);
        assert!(matches!(
            step(Duration::days(90), &fresh, late),
            Step::Renew(Reason::Expired { .. })
        ));
    }

    #[test]
    fn what_was_withdrawn_is_never_renewed_but_by_force() {
        let fresh = Attempts::default();
        let at = |days, force| {
            let situation = Situation {
                life: life(Duration::days(90)),
                attempts: &fresh,
                superseded: Some(("revoked".to_owned(), Then::Withdraw)),
                damaged: true,
                force,
            };
            next_step(situation, T0 + Duration::days(days))
        };
        let why = "revoked".to_owned();
        for days in [1, 89, 91] {
            assert_eq!(at(days, false), Step::Leave { why: why.clone() });
        }
        assert_eq!(at(1, true), Step::Renew(Reason::Forced));
    }

    #[test]
    fn failures_are_put_off_longer_and_longer() {
        let mut now = T0 + Duration::days(60);
        let mut attempts = Attempts::default();
        for wait in [1, 10, 100, 1200, 1200] {
            attempts = failed(&attempts, now, true);
            let until = now + Duration::minutes(wait);
            assert_eq!(
                step(Duration::days(90), &attempts, now),
                Step::PutOff { until }
            );
            assert!(matches!(
                step(Duration::days(90), &attempts, until),
                Step::Renew(_)
            ));
            now = until;
        }
        assert_eq!(attempts.failures, 5);
    }

    #[test]
    fn our_own_ca_is_asked_again_at_once() {
        let now = T0 + Duration::days(60);
        let attempts = failed(&Attempts::default(), now, false);
        assert!(matches!(
            step(Duration::days(90), &attempts, now),
            Step::Renew(_)
        ));
        assert_eq!(attempts.error.as_deref(), Some("no"));
    }

    #[test]
    fn retry_after_wins_but_not_for_ever() {
        let ask = |retry_after| {
            let failure = AttemptFailure {
                error: String::new(),
                retry_after,
                backs_off: true,
                jitter: 0.5,
            };
            after_failure(&Attempts::default(), failure, T0).not_before
        };
        assert_eq!(
            ask(Some(T0 + Duration::hours(3))),
            Some(T0 + Duration::hours(3))
        );
        assert_eq!(
            ask(Some(T0 + Duration::days(4000))),
            Some(T0 + LONGEST_WAIT)
        );
        assert_eq!(ask(Some(T0 - Duration::days(1))), Some(T0));
        assert_eq!(ask(None), Some(T0 + Duration::seconds(64)));
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_put_a_renewal_off_for_years() {
        let ahead = T0 + Duration::days(4000);
        let attempts = failed(&Attempts::default(), ahead, true);
        let back = T0 + Duration::days(60);
        assert!(matches!(
            step(Duration::days(90), &attempts, back),
            Step::Renew(_)
        ));
    }

    #[test]
    fn years_of_daily_runs_never_let_a_certificate_expire() {
        for days in [6, 45, 90, 398] {
            let mut life = life(Duration::days(days));
            let mut renewals = 0;
            let mut now = T0;
            while now < T0 + Duration::days(3 * 365) {
                assert!(
                    now <= life.not_after,
                    "{days}-day certificate expired at {now}"
                );
                let situation = Situation {
                    life,
                    attempts: &Attempts::default(),
                    superseded: None,
                    damaged: false,
                    force: false,
                };
                if let Step::Renew(_) = next_step(situation, now) {
                    life = Life {
                        not_before: now,
                        not_after: now + Duration::days(days),
                    };
                    renewals += 1;
                }
                now += Duration::hours(12);
            }
            let least = 3 * 365 / days;
            assert!(
                (least..=least * 5 / 2).contains(&renewals),
                "{days}: {renewals}"
            );
        }
    }
}
