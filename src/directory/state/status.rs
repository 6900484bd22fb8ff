//! The states of RFC 8555 §7.1.6, and the only ways from one to another.
//!
//! Rules kept here: a transition is a pure function; what is not written out is
//! impossible; words are those of the protocol, in answers and in the database.

use std::fmt;

/// A transition that the protocol has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{object} that is {state} cannot {event}")]
pub struct Impossible {
    object: &'static str,
    state: &'static str,
    event: &'static str,
}

/// An enum whose variants have the protocol's words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// The states among them, which are read back from the database.
macro_rules! stored {
    ($($name:ident),+) => {$(
        impl $name {
            pub(super) fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    )+};
}

stored!(
    AccountStatus,
    OrderStatus,
    AuthorizationStatus,
    ChallengeStatus
);

words! {
    /// The state of an account.
    AccountStatus {
        /// It may order.
        Valid = "valid",
        /// Its holder gave it up. For good.
        Deactivated = "deactivated",
        /// The CA took it away. For good.
        Revoked = "revoked",
    }
}

words! {
    /// The state of an order.
    OrderStatus {
        /// Some name is not shown to be under control yet.
        Pending = "pending",
        /// All are: it may be finalized.
        Ready = "ready",
        /// The certificate is being made.
        Processing = "processing",
        /// The certificate is there.
        Valid = "valid",
        /// It failed, or ran out. For good.
        Invalid = "invalid",
    }
}

words! {
    /// The state of an authorization.
    AuthorizationStatus {
        /// Control is not shown yet.
        Pending = "pending",
        /// Control was shown.
        Valid = "valid",
        /// Control could not be shown.
        Invalid = "invalid",
        /// The account gave it up.
        Deactivated = "deactivated",
        /// It was valid once.
        Expired = "expired",
        /// The CA took it away.
        Revoked = "revoked",
    }
}

words! {
    /// The state of a challenge.
    ChallengeStatus {
        /// The account has not said that it is ready.
        Pending = "pending",
        /// It is being looked at.
        Processing = "processing",
        /// It was answered rightly.
        Valid = "valid",
        /// It was not.
        Invalid = "invalid",
    }
}

words! {
    /// What can happen to an account.
    AccountEvent {
        /// Its holder gives it up.
        Deactivate = "be deactivated",
        /// The CA takes it away.
        Revoke = "be revoked",
    }
}

words! {
    /// What can happen to an order.
    OrderEvent {
        /// Control of all its names is shown.
        Authorize = "become ready",
        /// The account sends its CSR.
        Finalize = "be finalized",
        /// The certificate was issued.
        Issue = "be issued",
        /// An authorization or the issuance failed.
        Fail = "fail",
        /// Its time is up.
        Expire = "expire",
    }
}

words! {
    /// What can happen to an authorization.
    AuthorizationEvent {
        /// One of its challenges was answered rightly.
        Succeed = "become valid",
        /// One of its challenges was not.
        Fail = "fail",
        /// The account gives it up.
        Deactivate = "be deactivated",
        /// The CA takes it away.
        Revoke = "be revoked",
        /// Its time is up.
        Expire = "expire",
    }
}

words! {
    /// What can happen to a challenge.
    ChallengeEvent {
        /// The account says that it is ready.
        Start = "be started",
        /// The right answer was seen.
        Succeed = "succeed",
        /// No right answer was seen.
        Fail = "fail",
    }
}

impl AccountStatus {
    /// The state after `event`.
    pub fn after(self, event: AccountEvent) -> Result<Self, Impossible> {
        use AccountEvent as E;
        match (self, event) {
            (Self::Valid, E::Deactivate) => Ok(Self::Deactivated),
            (Self::Valid, E::Revoke) => Ok(Self::Revoked),
            _ => Err(impossible("an account", self.as_str(), event.as_str())),
        }
    }
}

impl OrderStatus {
    /// The state after `event`. What is being issued does not run out.
    pub fn after(self, event: OrderEvent) -> Result<Self, Impossible> {
        use OrderEvent as E;
        match (self, event) {
            (Self::Pending, E::Authorize) => Ok(Self::Ready),
            (Self::Ready, E::Finalize) => Ok(Self::Processing),
            (Self::Processing, E::Issue) => Ok(Self::Valid),
            (Self::Pending | Self::Ready | Self::Processing, E::Fail)
            | (Self::Pending | Self::Ready, E::Expire) => Ok(Self::Invalid),
            _ => Err(impossible("an order", self.as_str(), event.as_str())),
        }
    }
}

impl AuthorizationStatus {
    /// The state after `event`.
    pub fn after(self, event: AuthorizationEvent) -> Result<Self, Impossible> {
        use AuthorizationEvent as E;
        match (self, event) {
            (Self::Pending, E::Succeed) => Ok(Self::Valid),
            (Self::Pending, E::Fail | E::Expire) => Ok(Self::Invalid),
            (Self::Valid, E::Expire) => Ok(Self::Expired),
            // RFC 8555 §7.5.2 lets an account give up what it has not shown yet, too.
            (Self::Pending | Self::Valid, E::Deactivate) => Ok(Self::Deactivated),
            (Self::Valid, E::Revoke) => Ok(Self::Revoked),
            _ => Err(impossible(
                "an authorization",
                self.as_str(),
                event.as_str(),
            )),
        }
    }
}

impl ChallengeStatus {
    /// The state after `event`.
    pub fn after(self, event: ChallengeEvent) -> Result<Self, Impossible> {
        use ChallengeEvent as E;
        match (self, event) {
            (Self::Pending, E::Start) => Ok(Self::Processing),
            (Self::Processing, E::Succeed) => Ok(Self::Valid),
            (Self::Processing, E::Fail) => Ok(Self::Invalid),
            _ => Err(impossible("a challenge", self.as_str(), event.as_str())),
        }
    }
}

fn impossible(object: &'static str, state: &'static str, event: &'static str) -> Impossible {
    Impossible {
        object,
        state,
        event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state with every event: the word of the state after, or `-`.
    fn table<S: Copy, E: Copy>(
        states: &[S],
        events: &[E],
        after: impl Fn(S, E) -> Result<&'static str, Impossible>,
    ) -> Vec<Vec<&'static str>> {
        let row = |state: &S| {
            let cell = |event: &E| after(*state, *event).unwrap_or("-");
            events.iter().map(cell).collect()
        };
        states.iter().map(row).collect()
    }

    #[test]
    fn the_tables_are_those_of_the_rfc() {
        let accounts = table(AccountStatus::ALL, AccountEvent::ALL, |state, event| {
            state.after(event).map(AccountStatus::as_str)
        });
        assert_eq!(
            accounts,
            [["deactivated", "revoked"], ["-", "-"], ["-", "-"]]
        );

        let orders = table(OrderStatus::ALL, OrderEvent::ALL, |state, event| {
            state.after(event).map(OrderStatus::as_str)
        });
        assert_eq!(
            orders,
            [
                // authorize, finalize, issue, fail, expire
                ["ready", "-", "-", "invalid", "invalid"],
                ["-", "processing", "-", "invalid", "invalid"],
                ["-", "-", "valid", "invalid", "-"],
                ["-", "-", "-", "-", "-"],
                ["-", "-", "-", "-", "-"],
            ]
        );

        let authorizations = table(
            AuthorizationStatus::ALL,
            AuthorizationEvent::ALL,
            |state, event| state.after(event).map(AuthorizationStatus::as_str),
        );
        assert_eq!(
            authorizations,
            [
                // succeed, fail, deactivate, revoke, expire
                ["valid", "invalid", "deactivated", "-", "invalid"],
                ["-", "-", "deactivated", "revoked", "expired"],
                ["-", "-", "-", "-", "-"],
                ["-", "-", "-", "-", "-"],
                ["-", "-", "-", "-", "-"],
                ["-", "-", "-", "-", "-"],
            ]
        );

        let challenges = table(ChallengeStatus::ALL, ChallengeEvent::ALL, |state, event| {
            state.after(event).map(ChallengeStatus::as_str)
        });
        assert_eq!(
            challenges,
            [
                // start, succeed, fail
                ["processing", "-", "-"],
                ["-", "valid", "invalid"],
                ["-", "-", "-"],
                ["-", "-", "-"],
            ]
        );
    }

    #[test]
    fn an_impossible_transition_says_what_it_is() {
        let error = OrderStatus::Valid.after(OrderEvent::Finalize).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an order that is valid cannot be finalized"
        );
    }
}
