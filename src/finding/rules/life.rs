//! Rules about time: where in its life a certificate stands.
//!
//! Thresholds are fractions of life, never numbers of days, so that they hold
//! for a certificate of six days as for one of ten years.

use super::super::{Finding, Severity, words};
use super::{Role, Subject, mend};
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};

/// From when to when a certificate is valid, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Where in its life something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Valid, and nothing to do.
    Fresh,
    /// Should be renewed now.
    Due,
    /// Should have been renewed long ago.
    Overdue,
    /// Not valid yet.
    NotYet,
    /// No longer valid.
    Expired,
}

/// A share of life.
type Fraction = (i128, i128);

impl Life {
    /// Certificates that live less than this are due at half their life.
    const SHORT: Duration = Duration::days(10);
    const LEAF_DUE: Fraction = (2, 3);
    const SHORT_LEAF_DUE: Fraction = (1, 2);
    const LEAF_OVERDUE: Fraction = (9, 10);
    // A CA lives for years, and its successor signs from the day it is made.
    const CA_DUE: Fraction = (4, 5);
    const CA_OVERDUE: Fraction = (19, 20);

    /// The life of `certificate`.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        }
    }

    /// The share that is used at `now`: below 0 before it begins, above 1 after it ended.
    pub fn used(self, now: Timestamp) -> f64 {
        let length = self.length().as_seconds_f64();
        if length <= 0.0 {
            return if now > self.not_after { 1.0 } else { 0.0 };
        }
        (now - self.not_before).as_seconds_f64() / length
    }

    /// What is left at `now`; negative once it is over.
    pub fn left(self, now: Timestamp) -> Duration {
        self.not_after - now
    }

    /// When it falls due.
    pub fn due_at(self, role: Role) -> Timestamp {
        let (part, whole) = self.due(role);
        let seconds = i128::from(self.length().whole_seconds()) * part;
        let seconds = i64::try_from((seconds + whole - 1).div_euclid(whole)).unwrap_or(i64::MAX);
        self.not_before
            .checked_add(Duration::seconds(seconds))
            .unwrap_or(self.not_after)
    }

    /// Where it stands at `now`.
    pub fn stage(self, role: Role, now: Timestamp) -> Stage {
        let overdue = match role {
            Role::Leaf => Self::LEAF_OVERDUE,
            Role::Root | Role::Intermediate => Self::CA_OVERDUE,
        };
        if now > self.not_after {
            Stage::Expired
        } else if now < self.not_before {
            Stage::NotYet
        } else if self.has_used(overdue, now) {
            Stage::Overdue
        } else if self.has_used(self.due(role), now) {
            Stage::Due
        } else {
            Stage::Fresh
        }
    }

    fn due(self, role: Role) -> Fraction {
        match role {
            Role::Leaf if self.length() < Self::SHORT => Self::SHORT_LEAF_DUE,
            Role::Leaf => Self::LEAF_DUE,
            Role::Root | Role::Intermediate => Self::CA_DUE,
        }
    }

    fn length(self) -> Duration {
        self.not_after - self.not_before
    }

    fn has_used(self, (part, whole): Fraction, now: Timestamp) -> bool {
        let seconds = |d: Duration| i128::from(d.whole_seconds());
        seconds(now - self.not_before) * whole >= seconds(self.length()) * part
    }
}

/// `expired`, `not-yet-valid`, `overdue` or `due`.
pub fn life(subject: Subject<'_>, life: Life, role: Role, now: Timestamp) -> Option<Finding> {
    match life.stage(role, now) {
        Stage::Fresh => None,
        Stage::Expired => Some(expired(subject, life, now)),
        Stage::NotYet => Some(not_yet_valid(subject, life, now)),
        Stage::Overdue => Some(ending("overdue", Severity::Critical, subject, life, now)),
        Stage::Due => Some(due(subject, life, now)),
    }
}

/// `expired` or `overdue` of what an ACME client is to renew, as warnings: whoever has an
/// account could alarm the CA's operator otherwise. That it is due is the client's affair,
/// and a life that begins later is what was ordered.
pub fn life_by_client(subject: Subject<'_>, life: Life, now: Timestamp) -> Option<Finding> {
    let finding = match life.stage(Role::Leaf, now) {
        Stage::Fresh | Stage::Due | Stage::NotYet => return None,
        Stage::Expired => expired(subject, life, now),
        Stage::Overdue => ending("overdue", Severity::Warn, subject, life, now),
    };
    Some(Finding {
        severity: Severity::Warn,
        ..finding
    })
}

/// `due`, whatever the share of life: for what is to be renewed earlier than that.
pub fn due(subject: Subject<'_>, life: Life, now: Timestamp) -> Finding {
    ending("due", Severity::Warn, subject, life, now)
}

fn ending(
    id: &'static str,
    severity: Severity,
    subject: Subject<'_>,
    life: Life,
    now: Timestamp,
) -> Finding {
    let text = format!(
        "`{}` has used {:.0} % of its life and ends in {}, at {} UTC",
        subject.name,
        (life.used(now) * 100.0).floor(),
        words::span(life.left(now)),
        words::minute(life.not_after)
    );
    mend(Finding::new(id, severity, text), subject.renew)
}

fn expired(subject: Subject<'_>, life: Life, now: Timestamp) -> Finding {
    let text = format!(
        "`{}` expired {} ago, at {} UTC",
        subject.name,
        words::span(life.left(now)),
        words::minute(life.not_after)
    );
    mend(
        Finding::new("expired", Severity::Critical, text),
        subject.renew,
    )
}

fn not_yet_valid(subject: Subject<'_>, life: Life, now: Timestamp) -> Finding {
    let text = format!(
        "`{}` is valid only from {} UTC, in {}",
        subject.name,
        words::minute(life.not_before),
        words::span(life.not_before - now)
    );
    Finding::new("not-yet-valid", Severity::Critical, text)
        .with_fix("check this machine's clock, and that of the machine that issued it")
}
