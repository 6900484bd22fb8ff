//! What happens in a directory, for whoever counts it and writes it down.

use std::fmt::Debug;

use super::problem::ProblemType;
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

/// What happens in a directory.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A request was answered.
    Request {
        /// What was asked for, such as `new-order`: one of a fixed list.
        endpoint: &'static str,
        /// Why not, if it was refused.
        problem: Option<ProblemType>,
    },
    /// A challenge was looked at.
    Validated {
        /// How.
        kind: ChallengeKind,
        /// Of what.
        identifier: &'a Identifier,
        /// What was wrong.
        problem: Option<&'a str>,
    },
    /// A certificate was issued.
    Issued {
        /// It.
        certificate: &'a Certificate,
        /// It stands in an older one's place.
        is_renewal: bool,
    },
    /// An order was checked, and no certificate could be signed for it.
    Failed {
        /// For what.
        names: &'a [Identifier],
        /// It was to stand in an older one's place.
        is_renewal: bool,
        /// Why not.
        problem: &'a str,
    },
    /// A certificate was revoked.
    Revoked {
        /// It.
        certificate: &'a Certificate,
        /// Why, as RFC 5280 words it.
        reason: &'static str,
    },
}
