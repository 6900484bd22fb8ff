//! What happens in a directory, for whoever counts it and writes it down.

use std::fmt::Debug;
use std::net::IpAddr;

use super::problem::Problem;
use super::state::{Account, AccountId};
use crate::bundle::Certificate;
use crate::challenge::ChallengeKind;
use crate::identifier::Identifier;

/// Who is told what happens. Called from any thread; must not block.
pub trait Observer: Send + Sync + Debug {
    /// It has happened.
    fn saw(&self, happening: &Happening<'_>);
}

/// Tells nobody.
impl Observer for () {
    fn saw(&self, _: &Happening<'_>) {}
}

/// Who asked for what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The account; none where a certificate's own key asked.
    pub account: Option<AccountId>,
    /// The external account key that it is bound to.
    pub eab_kid: Option<String>,
    /// From where; not known of what a process that died had begun.
    pub client: Option<IpAddr>,
}

impl Asker {
    pub(super) fn new(account: &Account, client: Option<IpAddr>) -> Self {
        Self {
            account: Some(account.id.clone()),
            eab_kid: account.eab_kid.clone(),
            client,
        }
    }

    /// The account alone: the request is forgotten.
    pub(super) fn forgotten(account: AccountId) -> Self {
        Self {
            account: Some(account),
            eab_kid: None,
            client: None,
        }
    }
}

/// What happens in a directory.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A request was answered.
    Request {
        /// What was asked for, such as `new-order`: one of a fixed list.
        endpoint: &'static str,
        /// From where; not known of what the server around the directory refused.
        client: Option<IpAddr>,
        /// Why not, if it was refused.
        problem: Option<&'a Problem>,
    },
    /// Somebody has an account from now on.
    Registered {
        /// Who, by the account that was made.
        asker: &'a Asker,
    },
    /// A challenge was looked at.
    Validated {
        /// How.
        kind: ChallengeKind,
        /// Of what.
        identifier: &'a Identifier,
        /// What was wrong.
        problem: Option<&'a str>,
        /// For whom.
        asker: &'a Asker,
    },
    /// A certificate was issued.
    Issued {
        /// It.
        certificate: &'a Certificate,
        /// It stands in an older one's place.
        is_renewal: bool,
        /// To whom.
        asker: &'a Asker,
    },
    /// An order was checked, and no certificate could be signed for it.
    Failed {
        /// For what.
        names: &'a [Identifier],
        /// It was to stand in an older one's place.
        is_renewal: bool,
        /// Why not.
        problem: &'a str,
        /// Who would have had it.
        asker: &'a Asker,
    },
    /// A certificate was revoked.
    Revoked {
        /// It.
        certificate: &'a Certificate,
        /// Why, as RFC 5280 words it.
        reason: &'static str,
        /// By whom.
        asker: &'a Asker,
    },
}
