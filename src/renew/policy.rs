//! When is a certificate due, and when may a failed renewal be tried again.
//!
//! Pure: dates, past attempts, what the issuer said, a random number and now come
//! in, the next step comes out. Fractions of a certificate's life, never a number of
//! days, since lives range from hours to years (DESIGN: lifecycle). Nothing that a
//! peer or a clock says makes a wait longer than a bound named here.

use super::Then;
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::issuer::RenewalInfo;
use crate::store::{Attempts, Plan, Window};

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

    /// From here on it is renewed whatever its issuer would have: 1/20 is left.
    fn last_call(self) -> Timestamp {
        self.not_after - self.length() / 20
    }

    /// Before this nothing is renewed only because no run may come in time: a third
    /// of its life, or runs far apart would renew it at each of them.
    fn earliest(self) -> Timestamp {
        self.not_before + self.length() / 3
    }
}

/// What the decision depends on.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Of the certificate in use.
    pub life: Life,
    /// What its issuer said about when to renew it.
    pub plan: Option<&'a Plan>,
    /// Past failures.
    pub attempts: &'a Attempts,
    /// Why it should not be left in use until it is due, and what follows.
    pub superseded: Option<(String, Then)>,
    /// A newer generation exists but cannot be used.
    pub damaged: bool,
    /// Renew whatever the dates say.
    pub force: bool,
    /// When somebody is expected to look again, if that can be told.
    pub next_run: Option<Timestamp>,
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
    #[error("due since {}", rfc3339(*.due_at))]
    Due {
        /// Since when.
        due_at: Timestamp,
    },
    /// The issuer would have it renewed by now (RFC 9773).
    #[error(
        "its CA suggests it since {}{}",
        rfc3339(*.since),
        explanation.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
    )]
    Suggested {
        /// The moment picked in the window that the issuer suggested.
        since: Timestamp,
        /// Where a person may read why.
        explanation: Option<String>,
    },
    /// It will be due before somebody looks again.
    #[error(
        "due at {}, and the next run is not expected before {}",
        rfc3339(*.due_at),
        rfc3339(*.next_run)
    )]
    Early {
        /// When it is due.
        due_at: Timestamp,
        /// When the next run is expected.
        next_run: Timestamp,
    },
    /// It is no longer valid.
    #[error("expired at {}", rfc3339(*.not_after))]
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

/// The moment from which a certificate is due when its issuer suggests none: ⅓ of
/// its life left, ½ when it lives under 10 days.
pub fn due_at(life: Life) -> Timestamp {
    let length = life.length();
    let left = if length < SHORT_LIFE {
        length / 2
    } else {
        length / 3
    };
    life.not_after - left
}

/// The moment from which a certificate is due: the one picked in the window that its
/// issuer suggests, but no later than when 1/20 of its life is left; without a
/// window as [`due_at`].
pub fn due_by(life: Life, plan: Option<&Plan>, attempts: &Attempts, now: Timestamp) -> Timestamp {
    let usual = due_at(life);
    let Some(window) = plan.and_then(|plan| plan.window.as_ref()) else {
        return usual;
    };
    let wanted = window.moment.min(life.last_call());
    if wanted >= usual {
        return wanted;
    }
    // Sooner than usual is done at once, as after a mass revocation, but not again and
    // again. What a clock that was ahead wrote down counts for nothing.
    let pause = HURRY_AGAIN.min(life.length() / 20);
    let rested = attempts.hurried.filter(|last| *last <= now);
    rested.map_or(wanted, |last| wanted.max(last + pause).min(usual))
}

/// An issuer that wants each certificate renewed at once gets one a day, or one per
/// 1/20 of their life.
const HURRY_AGAIN: Duration = Duration::days(1);

/// Decides what to do about one certificate.
pub fn next_step(situation: Situation<'_>, now: Timestamp) -> Step {
    if situation.force {
        return Step::Renew(Reason::Forced);
    }
    let Situation { life, plan, .. } = situation;
    let due_at = due_by(life, plan, situation.attempts, now);
    let reason = match situation.superseded {
        Some((why, Then::Withdraw)) => return Step::Leave { why },
        _ if now > life.not_after => Reason::Expired {
            not_after: life.not_after,
        },
        Some((why, Then::Replace | Then::ReplaceKey)) => Reason::Superseded(why),
        None if situation.damaged => Reason::Damaged,
        None if now >= due_at => due(life, plan, due_at),
        None => match situation.next_run {
            Some(next_run) if due_at < next_run && now >= life.earliest() => {
                Reason::Early { due_at, next_run }
            }
            _ => return Step::Wait { due_at },
        },
    };
    match put_off(situation.attempts, now) {
        Some(until) => Step::PutOff { until },
        None => Step::Renew(reason),
    }
}

fn due(life: Life, plan: Option<&Plan>, due_at: Timestamp) -> Reason {
    match plan.and_then(|plan| plan.window.as_ref()) {
        Some(window) if window.moment < life.last_call() => Reason::Suggested {
            since: window.moment,
            explanation: window.explanation.clone(),
        },
        _ => Reason::Due { due_at },
    }
}

/// Whether a renewal now is one that only the issuer's wish made due: to be noted in
/// [`Attempts::hurried`].
pub fn is_hurried(life: Life, reason: &Reason, now: Timestamp) -> bool {
    matches!(reason, Reason::Suggested { .. }) && now < due_at(life)
}

/// Until when a renewal is put off. No wait is longer than the longest that
/// [`after_failure`] gives, and a clock that jumped back does not put it off for years:
/// a wait that has not begun yet counts for no longer than it was to last.
fn put_off(attempts: &Attempts, now: Timestamp) -> Option<Timestamp> {
    let until = attempts.not_before?;
    let made = attempts.last?;
    let length = (until - made).clamp(Duration::ZERO, LONGEST_WAIT);
    let until = made.checked_add(length)?;
    (now < until && made - now <= length).then_some(until)
}

/// Whether the issuer should be asked now when it would have the certificate renewed.
/// Its answer must be able to change the step.
pub fn should_ask(situation: &Situation<'_>, now: Timestamp) -> bool {
    let is_open = !situation.force
        && situation.superseded.is_none()
        && !situation.damaged
        && put_off(situation.attempts, now).is_none()
        && now < situation.life.last_call();
    is_open && situation.plan.is_none_or(|plan| may_ask_again(plan, now))
}

/// What a clock that was ahead wrote down counts for nothing.
fn may_ask_again(plan: &Plan, now: Timestamp) -> bool {
    now >= plan.ask_again || now < plan.asked || plan.ask_again > plan.asked + ASK_LATEST
}

/// How soon an issuer may be asked again about the same certificate, at the earliest,
/// whatever it says (RFC 9773 §4.3.2).
const ASK_SOONEST: Duration = Duration::minutes(1);
/// And at the latest.
const ASK_LATEST: Duration = Duration::days(1);
/// When it could not be asked (RFC 9773 §4.3.3).
const ASK_AFTER_FAILURE: Duration = Duration::hours(6);

/// The plan after the issuer of the certificate with this `serial` has answered.
///
/// `random`, from 0 to 1, picks the moment in a window that is new; in one that is
/// known already the moment stays.
pub fn answered(
    before: Option<&Plan>,
    serial: &str,
    info: Option<RenewalInfo>,
    random: f64,
    now: Timestamp,
) -> Plan {
    let wish = info
        .as_ref()
        .map_or(now + ASK_LATEST, |info| info.ask_again);
    let window = info.map(|info| {
        let known = before.and_then(|plan| plan.window.as_ref());
        let known = known.filter(|known| (known.start, known.end) == (info.start, info.end));
        Window {
            moment: known.map_or_else(|| pick(info.start, info.end, random), |w| w.moment),
            start: info.start,
            end: info.end,
            explanation: info.explanation,
        }
    });
    Plan {
        serial: serial.to_owned(),
        window,
        asked: now,
        ask_again: wish.clamp(now + ASK_SOONEST, now + ASK_LATEST),
    }
}

/// The plan after the issuer could not be asked: what it said before still stands.
pub fn unanswered(
    before: Option<&Plan>,
    serial: &str,
    retry_after: Option<Timestamp>,
    now: Timestamp,
) -> Plan {
    let wish = retry_after.unwrap_or(now + ASK_AFTER_FAILURE);
    Plan {
        serial: serial.to_owned(),
        window: before.and_then(|plan| plan.window.clone()),
        asked: now,
        ask_again: wish.clamp(now + ASK_SOONEST, now + ASK_LATEST),
    }
}

/// A moment between `start` and `end`.
fn pick(start: Timestamp, end: Timestamp, random: f64) -> Timestamp {
    let length = (end - start).max(Duration::ZERO);
    let into = Duration::seconds((length * random.clamp(0.0, 1.0)).whole_seconds());
    start + into.min(length)
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct AttemptFailure {
    /// What it said.
    pub error: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// When the issuer asked to be asked again.
    pub retry_after: Option<Timestamp>,
    /// Whether the issuer must be spared; our own CA need not be.
    pub backs_off: bool,
    /// When the certificate in use ends, if there is one.
    pub not_after: Option<Timestamp>,
    /// 0 to 1: how far into the jitter's range.
    pub random: f64,
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

/// Shortest wait that an issuer may ask for.
const SHORTEST_WAIT: Duration = Duration::minutes(1);

/// While a certificate is still valid, no wait is longer than half of what is left of
/// its life, or than this: a CA that comes back in the last hours still saves it.
const LAST_WAIT: Duration = Duration::hours(1);

/// The attempts to record after a failure.
pub fn after_failure(before: &Attempts, failure: AttemptFailure, now: Timestamp) -> Attempts {
    let nth = usize::try_from(before.failures)
        .unwrap_or(usize::MAX)
        .min(WAITS.len() - 1);
    let wait = WAITS.get(nth).copied().unwrap_or(LONGEST_WAIT);
    let stretched = wait * (1.0 + JITTER * failure.random.clamp(0.0, 1.0));
    let own = failure
        .backs_off
        .then(|| now + Duration::seconds(stretched.whole_seconds()));
    let asked = failure
        .retry_after
        .map(|moment| moment.clamp(now + SHORTEST_WAIT, now + LONGEST_WAIT));
    let left = failure.not_after.map(|end| end - now);
    let longest = match left.filter(|left| left.is_positive()) {
        Some(left) => Duration::max(left / 2, LAST_WAIT),
        None => LONGEST_WAIT,
    };
    Attempts {
        failures: before.failures.saturating_add(1),
        last: Some(now),
        not_before: asked.or(own).map(|until| until.min(now + longest)),
        error: Some(failure.error),
        hint: failure.hint,
        ..before.clone()
    }
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
            plan: attempts.plan.as_ref(),
            attempts,
            superseded: None,
            damaged: false,
            force: false,
            next_run: None,
        };
        next_step(situation, now)
    }

    fn failed(before: &Attempts, now: Timestamp, backs_off: bool) -> Attempts {
        let failure = AttemptFailure {
            error: "no".into(),
            hint: None,
            retry_after: None,
            backs_off,
            not_after: Some(now + Duration::days(30)),
            random: 0.0,
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
                plan: None,
                attempts: &fresh,
                superseded: Some(("revoked".to_owned(), Then::Withdraw)),
                damaged: true,
                force,
                next_run: Some(T0 + Duration::days(100)),
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
                hint: None,
                retry_after,
                backs_off: true,
                not_after: Some(T0 + Duration::days(30)),
                random: 0.5,
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
        assert_eq!(ask(Some(T0 - Duration::days(1))), Some(T0 + SHORTEST_WAIT));
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
    fn the_last_hours_are_not_waited_away() {
        let fail = |left: Duration, retry_after: Option<Duration>| {
            let failure = AttemptFailure {
                error: String::new(),
                hint: None,
                retry_after: retry_after.map(|after| T0 + after),
                backs_off: true,
                not_after: Some(T0 + left),
                random: 1.0,
            };
            let often = Attempts {
                failures: 9,
                ..Attempts::default()
            };
            let until = after_failure(&often, failure, T0).not_before;
            until.map(|until| (until - T0).whole_minutes())
        };
        let day = Duration::DAY;
        for (left, retry_after, minutes) in [
            (day * 30, None, 23 * 60),
            (day, None, 12 * 60),
            (Duration::hours(5), None, 150),
            (Duration::minutes(20), None, 60),
            (day * 30, Some(day * 30), 48 * 60),
            (day, Some(day * 30), 12 * 60),
            (Duration::hours(5), Some(Duration::hours(1)), 60),
            // It has expired: nothing is lost by waiting.
            (-day, None, 23 * 60),
            (-day, Some(day * 30), 48 * 60),
        ] {
            assert_eq!(fail(left, retry_after), Some(minutes), "{left}");
        }
    }

    #[test]
    fn a_suggestion_for_the_past_means_now_and_for_the_end_not_so_late() {
        let day = |n| T0 + Duration::days(n);
        let plan = |start, end, random| {
            let info = RenewalInfo {
                start: day(start),
                end: day(end),
                explanation: None,
                ask_again: day(1),
            };
            Attempts {
                plan: Some(answered(None, "01", Some(info), random, T0)),
                ..Attempts::default()
            }
        };
        let length = Duration::days(100);
        for (start, end, random, due) in [
            (-9, -8, 0.5, -9),
            (20, 24, 0.0, 20),
            (20, 24, 0.5, 22),
            (20, 24, 1.0, 24),
            (20, 24, 7.0, 24),
            (80, 84, 0.5, 82),
            // 1/20 of its life is not risked.
            (98, 104, 0.5, 95),
            (400, 500, 0.5, 95),
        ] {
            let attempts = plan(start, end, random);
            let early = step(length, &attempts, day(due) - Duration::SECOND);
            if due > 0 {
                assert_eq!(early, Step::Wait { due_at: day(due) }, "{start} to {end}");
            }
            let then = step(length, &attempts, day(due.max(0)));
            assert!(matches!(then, Step::Renew(_)), "{start} to {end}: {then:?}");
        }
        let words = |attempts: Attempts| match step(length, &attempts, day(95)) {
            Step::Renew(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(words(plan(20, 24, 0.0)).starts_with("its CA suggests it since 1970-01-21"));
        assert!(words(plan(400, 500, 0.0)).starts_with("due since 1970-04-06"));
    }

    #[test]
    fn a_failed_suggestion_is_obeyed_as_late_as_any_other() {
        let attempts = Attempts {
            plan: Some(answered(
                None,
                "01",
                Some(RenewalInfo {
                    start: T0 - Duration::DAY,
                    end: T0,
                    explanation: None,
                    ask_again: T0,
                }),
                0.5,
                T0,
            )),
            ..Attempts::default()
        };
        let attempts = failed(&attempts, T0, true);
        assert!(matches!(
            step(Duration::days(90), &attempts, T0),
            Step::PutOff { .. }
        ));
    }

    mod properties {
        use proptest::option;
        use proptest::prelude::*;

        use super::*;

        /// Some years around the epoch, in seconds.
        fn moments() -> impl Strategy<Value = Timestamp> {
            (-200_000_000_i64..200_000_000).prop_map(|s| T0 + Duration::seconds(s))
        }

        fn lives() -> impl Strategy<Value = Life> {
            (moments(), 0_i64..40_000_000).prop_map(|(not_before, seconds)| Life {
                not_before,
                not_after: not_before + Duration::seconds(seconds),
            })
        }

        fn answers() -> impl Strategy<Value = RenewalInfo> {
            (moments(), 1_i64..50_000_000, moments()).prop_map(|(start, length, ask_again)| {
                RenewalInfo {
                    start,
                    end: start + Duration::seconds(length),
                    explanation: None,
                    ask_again,
                }
            })
        }

        fn plans() -> impl Strategy<Value = Plan> {
            (option::of(answers()), 0.0..=1.0, moments())
                .prop_map(|(info, random, now)| answered(None, "01", info, random, now))
        }

        /// Also such as only a clock that was wrong can have left.
        fn attempts() -> impl Strategy<Value = Attempts> {
            let moments = || option::of(moments());
            let past = (
                0_u32..9,
                moments(),
                moments(),
                moments(),
                option::of(plans()),
            );
            past.prop_map(|(failures, last, not_before, hurried, plan)| Attempts {
                failures,
                last,
                not_before,
                hurried,
                plan,
                ..Attempts::default()
            })
        }

        proptest! {
            #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn no_step_comes_later_than_it_may(
                life in lives(),
                attempts in attempts(),
                next_run in option::of(moments()),
                now in moments(),
            ) {
                let situation = Situation {
                    life,
                    plan: attempts.plan.as_ref(),
                    attempts: &attempts,
                    superseded: None,
                    damaged: false,
                    force: false,
                    next_run,
                };
                match next_step(situation, now) {
                    Step::Wait { due_at } => {
                        prop_assert!(now < due_at);
                        prop_assert!(due_at <= life.last_call().max(super::due_at(life)));
                        let expected = next_run.filter(|next| due_at < *next);
                        prop_assert!(expected.is_none() || now < life.earliest());
                    }
                    Step::PutOff { until } => {
                        prop_assert!(now < until && until - now <= LONGEST_WAIT * 2);
                    }
                    Step::Renew(_) => {}
                    Step::Leave { .. } => prop_assert!(false),
                }
            }

            #[test]
            fn a_moment_lies_in_its_window_and_stays_while_that_does(
                info in answers(),
                randoms in (0.0..=1.0, 0.0..=1.0),
                now in moments(),
                later in moments(),
            ) {
                let first = answered(None, "01", Some(info.clone()), randoms.0, now);
                let window = first.window.clone().unwrap();
                prop_assert!(info.start <= window.moment && window.moment <= info.end);
                let again = answered(Some(&first), "01", Some(info.clone()), randoms.1, later);
                prop_assert_eq!(again.window.unwrap(), window);
                let moved = RenewalInfo { start: info.start - Duration::SECOND, ..info };
                let after = answered(Some(&first), "01", Some(moved.clone()), randoms.1, later);
                let fresh = answered(None, "01", Some(moved), randoms.1, later);
                prop_assert_eq!(after, fresh);
                let failed = unanswered(Some(&first), "01", None, later);
                prop_assert_eq!(failed.window, first.window);
            }

            #[test]
            fn nobody_is_asked_again_at_once_nor_never(
                info in option::of(answers()),
                retry_after in option::of(moments()),
                now in moments(),
            ) {
                for plan in [
                    answered(None, "01", info, 0.5, now),
                    unanswered(None, "01", retry_after, now),
                ] {
                    let pause = plan.ask_again - now;
                    prop_assert!((ASK_SOONEST..=ASK_LATEST).contains(&pause));
                    prop_assert!(!may_ask_again(&plan, now));
                    prop_assert!(may_ask_again(&plan, plan.ask_again));
                }
            }

            #[test]
            fn waits_after_failures_are_bounded_whatever_is_asked_for(
                before in attempts(),
                retry_after in option::of(moments()),
                not_after in option::of(moments()),
                random in -1.0..2.0,
                now in moments(),
            ) {
                let failure = AttemptFailure {
                    error: String::new(),
                    hint: None,
                    retry_after,
                    backs_off: true,
                    not_after,
                    random,
                };
                let after = after_failure(&before, failure, now);
                let wait = after.not_before.unwrap() - now;
                prop_assert!((SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait));
                if let Some(left) = not_after.map(|end| end - now).filter(|left| left.is_positive()) {
                    prop_assert!(wait <= Duration::max(left / 2, LAST_WAIT));
                }
                prop_assert_eq!(after.failures, before.failures + 1);
                prop_assert_eq!(&after.plan, &before.plan);
                prop_assert_eq!(put_off(&after, now), after.not_before);
            }
        }
    }
}
