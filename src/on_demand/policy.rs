//! What becomes of a name that clients ask for: one state, one function.
//!
//! Nothing here asks, waits or writes. [`step`] takes the state of a name, what happened
//! and now, and says which state follows, what the client sees, and what is to be done.

use std::time::Duration;

use super::caps::Cap;
use crate::clock::Timestamp;

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing: it has no certificate, or one that was let go.
    #[default]
    Unknown,
    /// Its certificate was made earlier, and is being fetched from the store.
    Loading,
    /// Its certificate is being made.
    Pending,
    /// The last attempt failed.
    Backoff {
        /// When the next one may be made.
        until: Timestamp,
    },
    /// It is served with its certificate.
    Issued,
}

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A client asks for it.
    Asked(Verdict),
    /// It is served with its certificate from now on.
    Issued,
    /// The store has no certificate that could be served.
    NotLoaded,
    /// No certificate was made.
    Failed {
        /// When it may be tried again.
        until: Timestamp,
    },
    /// Its certificate is not served any more.
    LetGo,
}

/// What the gate and the caps say of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may have a certificate.
    Allowed {
        /// There should be one in the store.
        stored: bool,
    },
    /// It may not.
    Refused(Refusal),
}

/// Why a name is not issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The client named nothing, or nothing that a certificate is made for.
    NoName,
    /// No `--allow` covers it, or the CA's constraints exclude it.
    NotListed,
    /// Whoever was asked said no.
    Denied,
    /// Whoever was to be asked gave no answer.
    NoAnswer,
    /// Too much is asked for.
    Over(Cap),
}

impl Refusal {
    /// Every label.
    pub const OUTCOMES: [&'static str; 5] = [
        "refused_no_name",
        "refused_not_listed",
        "refused_denied",
        "refused_no_answer",
        "refused_over_cap",
    ];

    /// A label for counters.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::NoName => Self::OUTCOMES[0],
            Self::NotListed => Self::OUTCOMES[1],
            Self::Denied => Self::OUTCOMES[2],
            Self::NoAnswer => Self::OUTCOMES[3],
            Self::Over(_) => Self::OUTCOMES[4],
        }
    }

    /// In words, for events and logs.
    pub fn words(self) -> String {
        match self {
            Self::NoName => "it is no name that a certificate is made for".to_owned(),
            Self::NotListed => "it is not among the names that are allowed".to_owned(),
            Self::Denied => "whoever was asked for permission denied it".to_owned(),
            Self::NoAnswer => "whoever was to be asked for permission gave no answer".to_owned(),
            Self::Over(cap) => cap.words().to_owned(),
        }
    }
}

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The real certificate.
    Serve,
    /// The real certificate, in a moment.
    Fetch,
    /// What stands in for it, and after how long to come back.
    StandIn(Duration),
    /// That there is no such site.
    Refuse,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Fetch the certificate from the store.
    Load,
    /// Have it made, and tell that it was requested.
    Begin,
    /// Tell that the name is refused.
    Reject(Refusal),
}

/// What follows from a happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state from now on.
    pub next: State,
    /// What whoever asked sees.
    pub reply: Reply,
    /// What is to be done.
    pub effect: Effect,
}

/// When a client may come back while its certificate is being made.
pub const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What follows when this happens to a name in this state.
pub fn step(state: State, happening: Happening, now: Timestamp) -> Step {
    match happening {
        Happening::Asked(verdict) => asked(state, verdict, now),
        Happening::Issued => Step {
            next: State::Issued,
            reply: Reply::Serve,
            effect: Effect::None,
        },
        Happening::NotLoaded => begin(),
        Happening::Failed { until } => Step {
            next: State::Backoff { until },
            reply: Reply::StandIn(left(until, now)),
            effect: Effect::None,
        },
        Happening::LetGo => Step {
            next: State::Unknown,
            reply: Reply::Refuse,
            effect: Effect::None,
        },
    }
}

fn asked(state: State, verdict: Verdict, now: Timestamp) -> Step {
    let stay = |reply| Step {
        next: state,
        reply,
        effect: Effect::None,
    };
    match (state, verdict) {
        (State::Issued, _) => stay(Reply::Serve),
        (State::Loading, _) => stay(Reply::Fetch),
        (State::Pending, _) => stay(Reply::StandIn(ASK_AGAIN)),
        (State::Backoff { until }, _) if now < until => stay(Reply::StandIn(left(until, now))),
        (State::Unknown | State::Backoff { .. }, Verdict::Refused(why)) => Step {
            next: State::Unknown,
            reply: Reply::Refuse,
            effect: Effect::Reject(why),
        },
        (State::Unknown, Verdict::Allowed { stored: true }) => Step {
            next: State::Loading,
            reply: Reply::Fetch,
            effect: Effect::Load,
        },
        (State::Unknown | State::Backoff { .. }, Verdict::Allowed { .. }) => begin(),
    }
}

fn begin() -> Step {
    Step {
        next: State::Pending,
        reply: Reply::StandIn(ASK_AGAIN),
        effect: Effect::Begin,
    }
}

/// Whole seconds, at least one.
fn left(until: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(until - now).unwrap_or_default();
    Duration::from_secs(
        left.as_millis()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(1)
            .max(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: i64) -> Timestamp {
        T0 + crate::clock::Duration::seconds(seconds)
    }

    #[test]
    fn every_row_of_the_table() {
        use Effect::{Begin, Load, None, Reject};
        use State::{Issued, Loading, Pending, Unknown};
        let allowed = Happening::Asked(Verdict::Allowed { stored: false });
        let stored = Happening::Asked(Verdict::Allowed { stored: true });
        let refused = |why| Happening::Asked(Verdict::Refused(why));
        let (soon, backoff) = (Reply::StandIn(ASK_AGAIN), State::Backoff { until: at(90) });
        let later = Reply::StandIn(Duration::from_secs(30));
        let denied = Refusal::Denied;
        for (state, happening, next, reply, effect) in [
            (Unknown, allowed, Pending, soon, Begin),
            (Unknown, stored, Loading, Reply::Fetch, Load),
            (
                Unknown,
                refused(denied),
                Unknown,
                Reply::Refuse,
                Reject(denied),
            ),
            (Loading, stored, Loading, Reply::Fetch, None),
            (Loading, Happening::Issued, Issued, Reply::Serve, None),
            (Loading, Happening::NotLoaded, Pending, soon, Begin),
            (Pending, allowed, Pending, soon, None),
            // What is on its way is not taken back.
            (Pending, refused(denied), Pending, soon, None),
            (Pending, Happening::Issued, Issued, Reply::Serve, None),
            (
                Pending,
                Happening::Failed { until: at(90) },
                backoff,
                later,
                None,
            ),
            (backoff, allowed, backoff, later, None),
            (backoff, refused(denied), backoff, later, None),
            (Issued, allowed, Issued, Reply::Serve, None),
            (Issued, refused(denied), Issued, Reply::Serve, None),
            (Issued, Happening::LetGo, Unknown, Reply::Refuse, None),
        ] {
            let step = step(state, happening, at(60));
            let wanted = Step {
                next,
                reply,
                effect,
            };
            assert_eq!(step, wanted, "{state:?} {happening:?}");
        }
        for now in [90, 91, 1000] {
            assert_eq!(step(backoff, allowed, at(now)), begin(), "{now}");
            let over = step(backoff, refused(denied), at(now));
            assert_eq!((over.next, over.reply), (Unknown, Reply::Refuse));
        }
    }

    #[test]
    fn no_client_is_told_to_come_back_at_once() {
        for (until, seconds) in [(at(0), 1), (at(-5), 1), (at(1), 1), (at(61), 61)] {
            assert_eq!(left(until, T0), Duration::from_secs(seconds));
        }
    }
}
