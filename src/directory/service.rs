//! The directory itself: requests in, answers out, and what goes on in between.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::problem::ProblemType;
use super::state::StateError;
use super::validate::{Network, Policy};
use crate::bundle::Certificate;
use crate::challenge::ChallengeKind;
use crate::clock::{Clock, Duration};
use crate::identifier::{DnsName, Identifier, NameConstraints};
use crate::issuer::Usage;
use crate::key::Passphrase;
use crate::pki::{CaError, Publication};

/// How a directory is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every URL begins with, such as `https://ca.example`; `None` means the host
    /// that each request asks for.
    pub public_url: Option<Url>,
    /// The terms of service, which accounts must then agree to.
    pub terms_of_service: Option<Url>,
    /// A page about this CA.
    pub website: Option<Url>,
    /// Names of this CA in CAA records (RFC 8659), which are looked up if there are any.
    pub caa_identities: Vec<DnsName>,
    /// Whether an account must be bound to an external one (RFC 8555 §7.3.4).
    pub require_eab: bool,
    /// For which names certificates are issued, within the CA's own constraints.
    pub permit: Permit,
    /// The kinds of challenge offered.
    pub challenges: Vec<ChallengeKind>,
    /// What can be had; the first is the default.
    pub profiles: Vec<Profile>,
    /// How much of what.
    pub limits: Limits,
    /// How challenges are looked at.
    pub validation: Policy,
    /// Where the CRLs and the issuers' certificates can be had, if anywhere.
    pub publication: Option<Publication>,
}

/// For which names certificates are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Those below these, which are some.
    Within(NameConstraints),
    /// Exactly these.
    Exactly(BTreeSet<Identifier>),
    /// All that the CA's own constraints allow.
    Any,
}

/// A kind of certificate that can be ordered by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// One line about it, for people.
    pub description: String,
    /// Life of a certificate when the order says nothing.
    pub lifetime: Duration,
    /// The longest life that an order may ask for.
    pub longest: Duration,
    /// What the certificates are for.
    pub usage: Usage,
}

/// How much the directory does for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// New accounts per client address (IPv6: /64) and hour.
    pub accounts_per_address: u32,
    /// New orders per account and hour.
    pub orders_per_account: u32,
    /// Orders of one account that are not finished.
    pub open_orders: u32,
    /// Failed validations per account and name and hour.
    pub failures_per_name: u32,
    /// Certificates per name and hour.
    pub certificates_per_name: u32,
    /// Validations going on at a time, over all accounts.
    pub validations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accounts_per_address: 100,
            orders_per_account: 1000,
            open_orders: 300,
            failures_per_name: 20,
            certificates_per_name: 100,
            validations: 256,
        }
    }
}

/// What a directory stands on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The state directory, which holds the CA.
    pub home: PathBuf,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where challenges are looked at.
    pub network: Arc<dyn Network>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

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
    /// A certificate was revoked.
    Revoked {
        /// It.
        certificate: &'a Certificate,
        /// Why, as RFC 5280 words it.
        reason: &'static str,
    },
}

/// The private CA's ACME server.
#[derive(Debug)]
pub struct Service {}

impl Service {
    /// Where a client begins, below the URL of the server.
    pub const PATH: &str = "/directory";

    /// Opens the CA and its memory, and finishes what a directory that died has begun.
    /// Blocks on the disk.
    pub fn open(_settings: Settings, _surroundings: Surroundings) -> Result<Arc<Self>, OpenError> {
        Ok(Arc::new(Self {}))
    }

    /// Answers one request of a client at `from`, whatever it is. Needs a tokio runtime.
    ///
    /// The body must be whole; one over [`super::jws::MAX_BODY`] is refused.
    pub async fn answer(
        self: &Arc<Self>,
        _request: Request<Bytes>,
        _from: IpAddr,
    ) -> Response<Bytes> {
        Response::default()
    }

    /// Answers one request over plain HTTP: CRLs, issuers' certificates, the roots.
    pub async fn answer_plain(self: &Arc<Self>, _request: Request<Bytes>) -> Response<Bytes> {
        Response::default()
    }

    /// Looks after what the directory keeps until `stop`: challenges that were left
    /// unfinished, what is too old to keep, and CRLs before they go stale.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        stop.cancelled().await;
    }
}

/// Why a directory cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Its memory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process runs the directory of this CA.
    #[error("another process runs the directory of the CA in `{}`", .0.display())]
    RunByAnother(PathBuf),
    /// The system has no randomness.
    #[error("the system has no randomness")]
    NoRandomness,
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ca(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::RunByAnother(_) => Some("use the one that runs, or stop it first".to_owned()),
            Self::NoRandomness => None,
        }
    }
}
