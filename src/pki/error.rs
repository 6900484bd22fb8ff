//! What can go wrong with the private CA.

use std::path::PathBuf;

use super::config::InvalidSetting;
use super::crl::CrlError;
use super::csr::CsrError;
use super::ledger::LedgerError;
use super::policy::{Refused, WeakKey};
use super::profile::ProfileError;
use crate::bundle::{BadSignature, BundleError, MalformedCertificate};
use crate::clock::{Timestamp, rfc3339};
use crate::finding::Finding;
use crate::identifier::{Identifier, summary};
use crate::issuer::IssueError;
use crate::key::KeyError;
use crate::store::StoreError;

/// What can go wrong with the private CA.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The state directory holds no CA.
    #[error("there is no CA in `{}`", home.display())]
    NotInitialised {
        /// The state directory.
        home: PathBuf,
    },
    /// `ca init` where there is one already.
    #[error("there is already a CA in `{}`", path.display())]
    AlreadyInitialised {
        /// The CA's directory.
        path: PathBuf,
    },
    /// The directory is not empty, and not ours.
    #[error("`{}` holds something that is not a CA: `{entry}`", path.display())]
    Foreign {
        /// The CA's directory.
        path: PathBuf,
        /// One thing in it.
        entry: String,
    },
    /// The CA's directory cannot be moved aside.
    #[error("`{}` is on a file system of its own, so the old CA cannot be moved to `{}`", path.display(), backup.display())]
    OtherFileSystem {
        /// The CA's directory.
        path: PathBuf,
        /// Where it was to be moved.
        backup: PathBuf,
    },
    /// The root key would lie in the directory that it is to be kept out of.
    #[error("`{}` is inside the CA's own directory", path.display())]
    RootOutInside {
        /// What was given.
        path: PathBuf,
    },
    /// A setting that a CA cannot have.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A file of the CA does not fit the others, or is not what certmint wrote.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate of the CA cannot be read.
    #[error("`{}` is damaged", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MalformedCertificate,
    },
    /// A key cannot be read.
    #[error("could not read the key of {name} from `{}`", path.display())]
    Key {
        /// Whose key, such as `I1`.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The key is encrypted and no passphrase was given.
    #[error("the key of {name} in `{}` is encrypted and no passphrase was given", path.display())]
    KeyLocked {
        /// Whose key, such as `I1`.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The key is kept elsewhere.
    #[error("the key of {name} is not in `{}`", path.display())]
    KeyElsewhere {
        /// Whose key, such as `R1`.
        name: String,
        /// Where it would be.
        path: PathBuf,
        /// The name under which `--root-out` wrote it.
        written_as: String,
    },
    /// The key is another one's.
    #[error("the key in `{}` is not that of {name}", path.display())]
    KeyMismatch {
        /// Whose key was wanted, such as `R1`.
        name: String,
        /// The file.
        path: PathBuf,
        /// The name under which `--root-out` wrote the right one.
        written_as: String,
    },
    /// A key cannot be made.
    #[error("could not make a key")]
    Generation(#[source] KeyError),
    /// The clock is behind a CA certificate.
    #[error(
        "{name} is valid only from {}, and it is {} on this machine",
        rfc3339(*.not_before),
        rfc3339(*.now)
    )]
    ClockBehind {
        /// Which CA certificate, such as `R1`.
        name: String,
        /// When it becomes valid.
        not_before: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// A CA certificate that is needed has expired.
    #[error("{name} expired at {}", rfc3339(*.not_after))]
    Expired {
        /// Which CA certificate, such as `R1`.
        name: String,
        /// When it expired.
        not_after: Timestamp,
    },
    /// Policy says no.
    #[error("the certificate was refused")]
    Refused(#[from] Refused),
    /// The public key must not be certified.
    #[error("the public key was refused")]
    WeakKey(#[from] WeakKey),
    /// The request must not be signed.
    #[error("the request was refused")]
    Csr(#[from] CsrError),
    /// The certificate composed is not what was ordered: a defect of certmint.
    #[error("the certificate was not signed: {}", joined(findings))]
    Lint {
        /// In what it differs.
        findings: Vec<Finding>,
    },
    /// The certificate could not be composed.
    #[error("the certificate could not be composed")]
    Profile(#[source] ProfileFailure),
    /// The certificate could not be encoded or signed.
    #[error("the certificate could not be signed")]
    Composition(#[source] rcgen::Error),
    /// What was signed cannot be read again.
    #[error("the certificate signed cannot be read")]
    Unreadable(#[source] MalformedCertificate),
    /// What was signed does not verify.
    #[error("the certificate signed does not verify")]
    Signature(#[source] BadSignature),
    /// No path leads from the certificate to the root.
    #[error("the certificate signed does not verify up to the root")]
    Path(#[source] webpki::Error),
    /// Key and chain do not fit together.
    #[error("the certificate signed does not fit its key and chain")]
    Bundle(#[source] BundleError),
    /// There is no old root to retire.
    #[error("there is no root rotation to finish")]
    NoRotation,
    /// The new root has no intermediate yet.
    #[error("the rotation to {root} is not complete: no intermediate under it")]
    RotationIncomplete {
        /// The new root.
        root: String,
    },
    /// Reading or writing files failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A revocation list could not be made or read.
    #[error(transparent)]
    Crl(#[from] CrlError),
}

/// Why a certificate or a request could not be composed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProfileFailure(#[from] ProfileError);

impl From<ProfileError> for CaError {
    fn from(error: ProfileError) -> Self {
        Self::Profile(error.into())
    }
}

impl CaError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotInitialised { .. } => "make one with `certmint ca init`".to_owned(),
            Self::AlreadyInitialised { .. } => "keep it with `--if-missing`, or replace it with \
                `--force`, which keeps a backup"
                .to_owned(),
            Self::Foreign { path, .. } => format!(
                "empty `{}`, or name another state directory with `--home`",
                path.display()
            ),
            Self::OtherFileSystem { path, .. } => format!(
                "copy `{}` to a safe place, empty it, and run the command without `--force`",
                path.display()
            ),
            Self::RootOutInside { .. } => {
                "name a directory outside, best on another medium".to_owned()
            }
            Self::Damaged { .. } | Self::Certificate { .. } => {
                "bring it back with `certmint ca restore`, or from another backup".to_owned()
            }
            Self::KeyLocked { name, .. } => {
                format!("give the passphrase of {name} with `--passphrase-file`")
            }
            Self::Key { source, .. } if *source == KeyError::WrongPassphrase => {
                "give the right passphrase with `--passphrase-file`; root and intermediate may \
                 have different ones"
                    .to_owned()
            }
            Self::KeyElsewhere { written_as, .. } | Self::KeyMismatch { written_as, .. } => {
                format!(
                    "name the file with `--root-key`; `ca init --root-out` called it `{written_as}`"
                )
            }
            Self::ClockBehind { .. } => "set this machine's clock".to_owned(),
            Self::Expired { name, .. } if name.starts_with('R') => {
                "make a new root with `certmint ca init --force` and install it".to_owned()
            }
            Self::Expired { .. } => {
                "make a new intermediate with `certmint ca rotate intermediate`".to_owned()
            }
            Self::Lint { .. } | Self::Path(_) | Self::Unreadable(_) | Self::Signature(_) => {
                "nothing was issued; this is a defect of certmint, please report it".to_owned()
            }
            Self::RotationIncomplete { .. } => {
                "complete it with `certmint ca rotate root`".to_owned()
            }
            Self::NoRotation => "start one with `certmint ca rotate root`".to_owned(),
            Self::Refused(refused) => return refused.hint(),
            Self::Csr(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Ledger(error) => return error.hint(),
            Self::Crl(error) => return error.hint(),
            Self::Setting(_)
            | Self::Key { .. }
            | Self::Generation(_)
            | Self::WeakKey(_)
            | Self::Profile(_)
            | Self::Composition(_)
            | Self::Bundle(_) => return None,
        };
        Some(text)
    }

    /// Whether the same would happen again, however often it is tried.
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::Store(_) | Self::Ledger(_) | Self::ClockBehind { .. } | Self::Generation(_)
        )
    }

    /// The error for whoever asked for a certificate with these names.
    pub(super) fn while_issuing(self, names: &[Identifier]) -> IssueError {
        let message = format!("the private CA could not issue `{}`", summary(names));
        self.into_issue_error(message)
    }

    fn into_issue_error(self, message: String) -> IssueError {
        IssueError {
            message,
            hint: self.hint(),
            permanent: self.is_permanent(),
            retry_after: None,
            source: Some(Box::new(self)),
        }
    }
}

/// A CA that cannot even be opened issues nothing.
impl From<CaError> for IssueError {
    fn from(error: CaError) -> Self {
        error.into_issue_error("the private CA cannot issue".to_owned())
    }
}

fn joined(findings: &[Finding]) -> String {
    let messages: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
    messages.join("; ")
}
