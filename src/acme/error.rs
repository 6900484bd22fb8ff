//! What can go wrong between us and a CA, and what may be done about it.

use std::path::PathBuf;
use std::time::Duration;

use super::chain::ChainError;
use super::signed::UnfitKey;
use super::wire::Problem;
use crate::challenge::{ChallengeKind, SolverError};
use crate::clock::Timestamp;
use crate::identifier::Identifier;
use crate::net::http::HttpError;
use crate::store::StoreError;

/// Why the CA did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// No answer.
    #[error("could not {action}")]
    Unanswered {
        /// What was asked.
        action: &'static str,
        /// Why there is none.
        source: HttpError,
    },
    /// The CA said no, and why.
    #[error("the CA refused to {action} (status {status}): {problem}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// Of HTTP.
        status: u16,
        /// Its words.
        problem: Box<Problem>,
        /// When to ask again.
        retry_after: Option<Timestamp>,
    },
    /// An error status without a problem document, from a load balancer say.
    #[error("the CA answered the request to {action} with status {status}")]
    BadStatus {
        /// What was asked.
        action: &'static str,
        /// Of HTTP.
        status: u16,
        /// When to ask again.
        retry_after: Option<Timestamp>,
    },
    /// An answer that makes no sense.
    #[error("the CA's answer to the request to {action} makes no sense: {reason}")]
    Malformed {
        /// What was asked.
        action: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL that the CA has no business to send us to.
    #[error("the CA sent us to `{0}`, which is not https on a host of its directory")]
    ForeignUrl(String),
    /// The CA gives out no nonces.
    #[error("the CA gave no nonce")]
    NoNonce,
    /// The whole run took too long.
    #[error("gave up trying to {action} after {} s", after.as_secs())]
    Deadline {
        /// What was being done.
        action: &'static str,
        /// Since the run began.
        after: Duration,
    },
    /// The whole run took too many requests.
    #[error("gave up after {0} requests to the CA")]
    TooManyRequests(u32),
    /// The directory lacks something.
    #[error("the CA offers no {0}")]
    NotOffered(&'static str),
    /// A profile that the CA has not.
    #[error("the CA has no profile `{profile}`")]
    UnknownProfile {
        /// What was asked for.
        profile: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// Nobody agreed to the CA's terms.
    #[error("the CA's terms of service are not agreed to: {url}")]
    TermsNotAgreed {
        /// Where they are; escaped.
        url: String,
    },
    /// The CA makes accounts only for those it knows already.
    #[error("the CA requires an external account binding")]
    ExternalAccountRequired,
    /// There is no account to work on.
    #[error("there is no account at {0}")]
    NoAccount(String),
    /// The account's file is not ours.
    #[error("the account file `{}` is damaged: {reason}", path.display())]
    DamagedAccount {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name of a kind that ACME does not know.
    #[error("`{0}` is neither a host name nor an address, and ACME knows nothing else")]
    UnsupportedName(Identifier),
    /// No way to show control that both sides know.
    #[error(
        "no way to show control of `{name}`: the CA offers {}",
        listed(offered)
    )]
    NoChallenge {
        /// The name.
        name: Identifier,
        /// Kinds of challenge; escaped.
        offered: Vec<String>,
    },
    /// A challenge could not be made answerable.
    #[error(transparent)]
    Solver(#[from] SolverError),
    /// The CA looked and was not convinced.
    #[error("the CA could not verify {}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotVerified {
        /// For each name.
        failures: Vec<Failure>,
    },
    /// The CA dropped the order.
    #[error("the CA ended the order ({status}){}", problem.as_ref().map(|p| format!(": {p}")).unwrap_or_default())]
    OrderEnded {
        /// How it stands.
        status: &'static str,
        /// Its words.
        problem: Option<Box<Problem>>,
    },
    /// What the CA sent is not the certificate asked for.
    #[error("the certificate that the CA sent is not usable")]
    BadChain(#[from] ChainError),
    /// Key and chain make no bundle.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// No request for a certificate can be made.
    #[error("could not make the certificate request")]
    Request(#[from] rcgen::Error),
    /// A key that cannot sign.
    #[error(transparent)]
    Key(#[from] UnfitKey),
    /// No key could be made.
    #[error(transparent)]
    NewKey(#[from] crate::key::KeyError),
    /// The account could not be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the CA found wrong with one name.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The name.
    pub name: Identifier,
    /// The challenge that was tried.
    pub kind: Option<ChallengeKind>,
    /// The CA's words.
    pub problem: Option<Problem>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.name)?;
        if let Some(kind) = self.kind {
            write!(f, " by {kind}")?;
        }
        match &self.problem {
            Some(problem) => write!(f, ": {problem}"),
            None => f.write_str(" and gave no reason"),
        }
    }
}

fn listed(offered: &[String]) -> String {
    if offered.is_empty() {
        "none".to_owned()
    } else {
        offered.join(", ")
    }
}

/// Statuses that say "not now" rather than "no".
const PASSING: [u16; 6] = [408, 429, 500, 502, 503, 504];

impl AcmeError {
    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered { source, .. } => source.is_transient(),
            Self::Refused { status, .. } | Self::BadStatus { status, .. } => {
                PASSING.contains(status)
            }
            Self::Malformed { .. } | Self::NoNonce | Self::BadChain(ChainError::Unreadable(_)) => {
                true
            }
            _ => false,
        }
    }

    /// Whether the CA did not accept the nonce, and nothing else was wrong.
    pub(crate) fn is_bad_nonce(&self) -> bool {
        self.is_problem("badNonce")
    }

    /// Whether the CA no longer knows the account.
    pub(crate) fn is_vanished_account(&self) -> bool {
        self.is_problem("accountDoesNotExist")
    }

    /// Whether the CA named the problem `kind`.
    pub(crate) fn is_problem(&self, kind: &str) -> bool {
        self.problem().is_some_and(|problem| problem.is(kind))
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::OrderEnded { problem, .. } => problem.as_deref(),
            _ => None,
        }
    }

    /// When the CA asked to be asked again.
    pub fn retry_after(&self) -> Option<Timestamp> {
        match self {
            Self::Refused { retry_after, .. } | Self::BadStatus { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether trying again without a change is useless.
    pub fn is_permanent(&self) -> bool {
        const HOPELESS: [&str; 11] = [
            "badCSR",
            "badPublicKey",
            "badSignatureAlgorithm",
            "externalAccountRequired",
            "invalidContact",
            "invalidProfile",
            "rejectedIdentifier",
            "unsupportedContact",
            "unsupportedIdentifier",
            "userActionRequired",
            "malformed",
        ];
        match self {
            Self::Unanswered { source, .. } => {
                matches!(source, HttpError::NotHttps(_) | HttpError::Untrusted { .. })
            }
            Self::Refused { problem, .. } => HOPELESS.iter().any(|kind| problem.is(kind)),
            Self::Solver(solver) => solver.permanent,
            Self::NotOffered(_)
            | Self::UnknownProfile { .. }
            | Self::TermsNotAgreed { .. }
            | Self::ExternalAccountRequired
            | Self::NoAccount(_)
            | Self::DamagedAccount { .. }
            | Self::UnsupportedName(_)
            | Self::NoChallenge { .. }
            | Self::Request(_)
            | Self::Key(_) => true,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        if let Some(moment) = self.retry_after() {
            let moment = crate::clock::rfc3339(moment);
            return Some(format!("the CA asks not to be asked again before {moment}"));
        }
        let fixed = match self {
            Self::Unanswered { source, .. } => return source.hint().map(str::to_owned),
            Self::Solver(solver) => return solver.hint.clone(),
            Self::Store(store) => return store.hint(),
            Self::UnknownProfile { offered, .. } if offered.is_empty() => {
                "leave out the profile: this CA has none"
            }
            Self::UnknownProfile { offered, .. } => {
                return Some(format!("it has {}", offered.join(", ")));
            }
            Self::TermsNotAgreed { .. } => "read them, and agree with `--agree-tos`",
            Self::ExternalAccountRequired => {
                "get a key id and an HMAC key at the CA's site; give them with `--eab-kid` and `--eab-hmac-file`"
            }
            Self::NoAccount(_) => "register one with `certmint acme account register`",
            Self::DamagedAccount { .. } => "move it away; a new account is registered in its place",
            Self::NoChallenge { .. } => {
                "a wildcard needs dns-01, an address http-01 or tls-alpn-01; choose with `--challenge`"
            }
            Self::NotVerified { failures } => return failures.iter().find_map(Failure::hint),
            Self::BadChain(_) | Self::Malformed { .. } | Self::ForeignUrl(_) => {
                "is this the directory of an ACME CA? if so, tell its operator"
            }
            Self::Refused { problem, .. } => match problem.kind().as_deref() {
                Some("rateLimited") => {
                    "wait a while; for trying things out, use the CA's staging directory"
                }
                Some("rejectedIdentifier") => "this CA does not issue for that name",
                Some("userActionRequired") => {
                    "the CA wants its terms agreed to anew; see the address in its words"
                }
                Some("caa") => "a CAA record of the domain names other CAs",
                _ => return None,
            },
            _ => return None,
        };
        Some(fixed.to_owned())
    }
}

impl Failure {
    fn hint(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let name = &self.name;
        Some(match (problem.kind()?.as_str(), self.kind) {
            ("caa", _) => format!("a CAA record of `{name}` must name this CA"),
            ("dns", _) => format!("the CA must be able to resolve `{name}`"),
            ("connection", Some(ChallengeKind::Http01)) => {
                format!("the CA must reach this machine by port 80 of `{name}`")
            }
            ("connection" | "tls", Some(ChallengeKind::TlsAlpn01)) => {
                format!("the CA must reach this machine by port 443 of `{name}`")
            }
            ("unauthorized" | "incorrectResponse", Some(ChallengeKind::Http01)) => {
                format!("another server answers on port 80 of `{name}`")
            }
            ("unauthorized", Some(ChallengeKind::Dns01)) => {
                format!("the TXT records at `_acme-challenge.{name}` are not those just made")
            }
            _ => return None,
        })
    }
}
