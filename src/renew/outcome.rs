//! What became of each certificate, and when somebody should look again.

use super::hook::HookFailure;
use super::policy::{self, Reason};
use crate::clock::{Duration, Timestamp};
use crate::identifier::{CertId, Identifier};
use crate::issuer::{IssueError, IssuerRef};
use crate::key::KeyError;
use crate::store::{Plan, StoreError, Stored};

/// What became of one certificate.
#[derive(Debug)]
pub struct Outcome {
    /// Its id.
    pub id: CertId,
    /// Its names, when it could be loaded.
    pub names: Vec<Identifier>,
    /// What was done.
    pub result: Done,
    /// What was damaged in the store, when an older generation stood in.
    pub damage: Vec<String>,
    /// What its issuer said about when to renew it.
    pub plan: Option<Plan>,
    /// What can be done about a failure, of this run or of one before it.
    pub hint: Option<String>,
}

/// What was done about one certificate.
#[derive(Debug)]
pub enum Done {
    /// Nothing: it is not due before `due_at`.
    NotDue {
        /// When it will be.
        due_at: Timestamp,
    },
    /// Nothing: it failed before, and is not to be tried again yet.
    PutOff {
        /// When it may be tried again.
        until: Timestamp,
        /// What the last failure said.
        error: String,
    },
    /// Nothing: a running server keeps it fresh itself, and holds the ports that a
    /// renewal needs.
    Kept,
    /// Nothing, now and later: it was revoked for good. Only [`super::Request::force`], or
    /// issuing it anew, brings it back.
    Withdrawn {
        /// What the revocation said.
        why: String,
    },
    /// Nothing, since this was a dry run; else it would have been renewed.
    WouldRenew(Reason),
    /// The stored one is good, but an earlier run did not get to the end of its
    /// copies and hooks, or somebody damaged a copy: that has been made up for.
    Redeployed {
        /// When it will be due.
        due_at: Timestamp,
        /// Copies that could not be written, and hooks that failed.
        trouble: Vec<Trouble>,
    },
    /// It was renewed.
    Renewed {
        /// Why.
        reason: Reason,
        /// The new generation.
        stored: Box<Stored>,
        /// What went wrong with its hooks and copies; the certificate itself is in place.
        trouble: Vec<Trouble>,
    },
    /// It could not be renewed; what was in use before is untouched.
    Failed {
        /// Why.
        error: Failure,
        /// When it will be tried again; `None` when the next run may.
        retry_at: Option<Timestamp>,
    },
}

/// Why a certificate could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The issuer refused.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The id is unknown.
    #[error("there is no certificate `{0}`")]
    Unknown(CertId),
    /// It was to be renewed whatever its dates say, and a running server has it.
    #[error("`{0}` is kept fresh by a running server, which renews it when it is due")]
    Served(CertId),
}

impl Failure {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Issue(error) => error.hint.clone(),
            Self::Key(_) => None,
            Self::Unknown(_) => {
                Some("list what there is with `certmint renew --dry-run`".to_owned())
            }
            Self::Served(_) => Some("stop the server first, or let it do so by itself".to_owned()),
        }
    }
}

/// What went wrong after a certificate was safely renewed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A copy could not be written.
    #[error(transparent)]
    Export(StoreError),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookFailure),
}

impl Outcome {
    /// Whether the run as a whole has failed because of this one.
    pub fn is_failure(&self) -> bool {
        match &self.result {
            Done::Failed { .. } => true,
            Done::Renewed { trouble, .. } | Done::Redeployed { trouble, .. } => !trouble.is_empty(),
            Done::NotDue { .. }
            | Done::PutOff { .. }
            | Done::Kept
            | Done::Withdrawn { .. }
            | Done::WouldRenew(_) => false,
        }
    }

    /// When there may be something to do again, seen from `now`.
    pub fn next_wake(&self, now: Timestamp) -> Timestamp {
        match &self.result {
            Done::NotDue { due_at } | Done::Redeployed { due_at, .. } => self.asking(*due_at),
            Done::PutOff { until, .. } => *until,
            Done::Renewed { stored, .. } => {
                let due_at = policy::due_at(policy::Life::of(stored.bundle.leaf()));
                match stored.record.issuer {
                    IssuerRef::Private => due_at,
                    // It has not been asked about the new one yet.
                    IssuerRef::Acme(_) => due_at.min(now + Self::FIRST_ASK),
                }
            }
            Done::Failed { retry_at, .. } => retry_at.unwrap_or(now + Self::RETRY),
            Done::WouldRenew(_) => now,
            Done::Kept | Done::Withdrawn { .. } => now + Self::NEVER,
        }
    }

    /// `due_at`, or sooner when its issuer may be asked again sooner.
    fn asking(&self, due_at: Timestamp) -> Timestamp {
        let plan = self.plan.as_ref();
        plan.map_or(due_at, |plan| due_at.min(plan.ask_again))
    }

    /// When to look again at what is never due: not the reason to wake for.
    const NEVER: Duration = Duration::days(365);

    /// How soon to ask a public CA when it would have a new certificate renewed.
    const FIRST_ASK: Duration = Duration::hours(6);

    /// How soon to look again after a failure that may be retried at once.
    const RETRY: Duration = Duration::hours(1);
}

/// When somebody should look again: the earliest of what the outcomes ask for.
pub fn next_wake(outcomes: &[Outcome], now: Timestamp) -> Option<Timestamp> {
    outcomes
        .iter()
        .map(|outcome| outcome.next_wake(now))
        .min()
        .map(|moment| moment.max(now))
}
