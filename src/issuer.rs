//! What the life cycle asks of whoever issues certificates.
//!
//! The private CA and the ACME client are strangers to each other and to the
//! renewal loop; they meet in these types.

mod challenge_kind;
mod reference;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use challenge_kind::{ChallengeKind, UnknownChallengeKind};
pub use reference::{AcmeRef, Directory, EabRef, InvalidDirectory, IssuerRef};

use crate::bundle::{CertBundle, Certificate};
use crate::clock::{Duration, Timestamp};
use crate::identifier::{CertId, Identifier};
use crate::key::{KeyType, PrivateKey};

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the holder of a certificate may do with it (extKeyUsage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// Prove to be a server.
    #[default]
    Server,
    /// Prove to be a client (mTLS).
    Client,
    /// Either.
    Both,
}

/// What certificate is wanted. Kept with the certificate, so that a renewal asks
/// for the same again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Profile {
    /// At least one; the first gives the common name and the id.
    pub names: Vec<Identifier>,
    /// Kind of key to make.
    #[serde(default)]
    pub key_type: KeyType,
    /// What it is for.
    #[serde(default)]
    pub usage: Usage,
    /// Wanted life in seconds; `None` leaves it to the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
}

impl Profile {
    /// The wanted life.
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime_seconds
            .map(|s| Duration::seconds(i64::try_from(s).unwrap_or(i64::MAX)))
    }
}

/// One certificate to be issued.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// As what it will be kept.
    pub id: &'a CertId,
    /// What it is to be.
    pub profile: &'a Profile,
    /// What it takes the place of, when that is known.
    pub replaces: Option<Predecessor<'a>>,
}

/// A certificate that another takes the place of.
#[derive(Debug, Clone, Copy)]
pub struct Predecessor<'a> {
    /// The certificate.
    pub leaf: &'a Certificate,
    /// Whom it was obtained from.
    pub obtained: &'a Obtained,
}

/// From whom exactly a certificate was obtained: a second CA may have stood in, and an
/// account may have been lost since.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Obtained {
    /// The CA.
    pub directory: Directory,
    /// URL of the account that ordered it.
    pub account: String,
}

/// A certificate that was issued.
#[derive(Debug)]
pub struct Issued {
    /// Key and chain.
    pub bundle: CertBundle,
    /// Whom it came from, when there is more than one who might have issued it.
    pub obtained: Option<Obtained>,
}

/// The span in which an issuer would have a certificate renewed (RFC 9773 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalInfo {
    /// From this moment on.
    pub start: Timestamp,
    /// To this one, which is later.
    pub end: Timestamp,
    /// Where a person may read why; escaped.
    pub explanation: Option<String>,
    /// When to ask again.
    pub ask_again: Timestamp,
}

/// Issues certificates.
pub trait Issuer: Send + Sync + fmt::Debug {
    /// Issues one certificate to `key`.
    ///
    /// The bundle returned has been checked: key, names and dates are those asked
    /// for (a shorter life is allowed), and each certificate is signed by the next.
    /// Nothing is stored.
    fn issue<'a>(
        &'a self,
        wanted: Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<Issued, IssueError>>;

    /// When the issuer would have `certificate` renewed; `None` when it leaves that to
    /// us.
    fn renewal_info<'a>(
        &'a self,
        certificate: Predecessor<'a>,
    ) -> BoxFuture<'a, Result<Option<RenewalInfo>, IssueError>> {
        let _ = certificate;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether failures must space out further attempts: a public CA is spared,
    /// our own CA need not be.
    fn backs_off(&self) -> bool;
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct IssueError {
    /// What happened, naming the certificate and the issuer.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Trying again without a change is useless.
    pub permanent: bool,
    /// When the issuer asked to be asked again.
    pub retry_after: Option<Timestamp>,
    /// What lies below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
