//! Where certificates are kept between runs.
//!
//! One certificate is one [`Stored`] generation: key, chain and the record of how
//! it was made, replaced as a whole. [`file::FileStore`] keeps them in the state
//! directory, [`memory::MemoryStore`] in memory for tests of the life cycle.

pub mod disk;
pub mod export;
pub mod file;
mod generation;
pub mod lock;
pub mod memory;

#[cfg(test)]
mod fixture;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bundle::{BundleError, CertBundle};
use crate::clock::Timestamp;
use crate::identifier::CertId;
use crate::issuer::{IssuerRef, Obtained, Profile};

pub use export::{Export, Ownership};
pub use lock::Lock;

/// How a certificate was made, so that it can be made again. Holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// What was asked for.
    pub profile: Profile,
    /// Who issues it.
    pub issuer: IssuerRef,
    /// Whom the present one came from, when that is not said by `issuer` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained: Option<Obtained>,
    /// Renew with the same key.
    #[serde(default)]
    pub reuse_key: bool,
    /// Copies for other programs, rewritten at each renewal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    /// Command to run after a renewal, split by shell-words rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_hook: Option<String>,
}

/// One generation of one certificate, verified as it was loaded.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its id.
    pub id: CertId,
    /// Counts from 1 and only upwards.
    pub generation: u64,
    /// Key and chain.
    pub bundle: CertBundle,
    /// How it was made.
    pub record: Record,
    /// Where it lies, when it lies in files.
    pub path: Option<PathBuf>,
    /// What was wrong with newer generations, when this one is a fallback.
    pub damage: Vec<String>,
}

/// What happened at the last attempts to renew, so that a restart or cron cannot
/// hammer an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Attempts {
    /// Failures since the last success.
    pub failures: u32,
    /// When the last attempt was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last: Option<Timestamp>,
    /// Not to be tried again before this.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<Timestamp>,
    /// What the last failure said.
    pub error: Option<String>,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the issuer said about when to renew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// When a certificate was last replaced only because its issuer wanted it soon:
    /// an issuer that always wants that must not be obeyed at every run. Outlives
    /// the certificate.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub hurried: Option<Timestamp>,
    /// Serial number of the certificate whose copies and hooks were begun: when it
    /// is the current one's, a crash came before their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploying: Option<String>,
    /// When a client was last served with it; known of what is made on demand alone.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub used: Option<Timestamp>,
}

impl Attempts {
    /// What the issuer said about the certificate with this serial number; what it
    /// said about one before it counts no more.
    pub fn plan_for(&self, serial: &str) -> Option<&Plan> {
        self.plan.as_ref().filter(|plan| plan.serial == serial)
    }
}

/// What an issuer said about when to renew one certificate (RFC 9773), and when it
/// may be asked again. Kept over restarts, since the moment is picked only once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Serial number of the certificate.
    pub serial: String,
    /// `None` while the issuer has said nothing, and when it leaves that to us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// When it was last asked.
    #[serde(with = "time::serde::rfc3339")]
    pub asked: Timestamp,
    /// Not to be asked again before this.
    #[serde(with = "time::serde::rfc3339")]
    pub ask_again: Timestamp,
}

/// The span in which an issuer would have a certificate renewed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Window {
    /// Its first moment.
    #[serde(with = "time::serde::rfc3339")]
    pub start: Timestamp,
    /// Its last.
    #[serde(with = "time::serde::rfc3339")]
    pub end: Timestamp,
    /// The moment picked in it.
    #[serde(with = "time::serde::rfc3339")]
    pub moment: Timestamp,
    /// Where a person may read why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// Keeps certificates.
///
/// Every operation on one id by several processes is made one after the other by
/// [`Store::lock`], which the caller holds around load, decide, and commit; the
/// store itself guarantees only that a reader without the lock sees a whole
/// generation, old or new. All calls block and are short, but for `lock`.
pub trait Store: Send + Sync + fmt::Debug {
    /// Every id that has at least one generation, sorted.
    fn ids(&self) -> Result<Vec<CertId>, StoreError>;

    /// Every id that has attempts and no certificate, sorted.
    fn failing(&self) -> Result<Vec<CertId>, StoreError> {
        Ok(Vec::new())
    }

    /// The current generation, or the newest that verifies when the current one
    /// does not. `None` when the id is unknown; an error when nothing verifies.
    fn load(&self, id: &CertId) -> Result<Option<Stored>, StoreError>;

    /// Makes `bundle` the current generation of `id`, atomically, and sweeps old
    /// ones. The caller holds the lock of `id`.
    ///
    /// Refused when the id belongs to another issuer.
    fn commit(
        &self,
        id: &CertId,
        bundle: &CertBundle,
        record: &Record,
    ) -> Result<Stored, StoreError>;

    /// Commits each of `batch`, at much less cost than one by one.
    ///
    /// Several entries of one id are refused. After an error some are committed
    /// and some are not; each by itself is whole.
    fn commit_all(
        &self,
        batch: &[(CertId, CertBundle, Record)],
    ) -> Result<Vec<Stored>, StoreError> {
        batch
            .iter()
            .map(|(id, bundle, record)| self.commit(id, bundle, record))
            .collect()
    }

    /// Finishes or removes what a crashed [`Store::commit`] of `id` left behind, and
    /// says what it did. To be called before [`Store::load`] by who may commit.
    fn recover(&self, id: &CertId) -> Result<Vec<String>, StoreError> {
        let _ = id;
        Ok(Vec::new())
    }

    /// [`Store::recover`] for everything that nobody is writing to, also for what
    /// never became a certificate and is not among [`Store::ids`].
    fn recover_all(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Removes every generation of `id` and its attempts; nothing to do when it is
    /// unknown. The caller holds the lock of `id`.
    fn remove(&self, id: &CertId) -> Result<(), StoreError>;

    /// The attempts recorded for `id`; the default when there are none.
    fn attempts(&self, id: &CertId) -> Result<Attempts, StoreError>;

    /// Replaces the attempts recorded for `id`, atomically.
    fn set_attempts(&self, id: &CertId, attempts: &Attempts) -> Result<(), StoreError>;

    /// Who issues `id`, by the newest generation that says so, usable or not.
    fn issuer(&self, id: &CertId) -> Option<IssuerRef> {
        Some(self.load(id).ok()??.record.issuer)
    }

    /// Waits for the exclusive lock called `name`, at most `wait`; freed when dropped
    /// or when the process dies.
    fn lock_within(&self, name: &str, wait: Duration) -> Result<Lock, StoreError>;

    /// Waits for the exclusive lock called `name`, at most [`Lock::WAIT`].
    fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        self.lock_within(name, Lock::WAIT)
    }

    /// The lock called `name`, or `None` when somebody holds it.
    fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError>;

    /// Held by a running server for a certificate that it keeps fresh itself; `None` when another holds it.
    ///
    /// Waits a moment: who only looks whether it is held ([`Store::is_served`]) is no
    /// other.
    fn lock_serving(&self, id: &CertId) -> Result<Option<Lock>, StoreError> {
        match self.lock_within(&serving_lock(id), Duration::from_millis(500)) {
            Err(StoreError::Busy { .. }) => Ok(None),
            locked => locked.map(Some),
        }
    }

    /// Whether a running server keeps a certificate fresh itself. Makes no file.
    fn is_served(&self, id: &CertId) -> Result<bool, StoreError> {
        Ok(self.try_lock(&serving_lock(id))?.is_none())
    }

    /// Waits for the lock of one certificate.
    fn lock_cert(&self, id: &CertId) -> Result<Lock, StoreError> {
        self.lock_cert_within(id, Lock::WAIT)
    }

    /// Waits for the lock of one certificate, at most `wait`.
    fn lock_cert_within(&self, id: &CertId, wait: Duration) -> Result<Lock, StoreError> {
        self.lock_within(&cert_lock(id), wait)
    }

    /// The lock of one certificate, or `None` when somebody holds it.
    fn try_lock_cert(&self, id: &CertId) -> Result<Option<Lock>, StoreError> {
        self.try_lock(&cert_lock(id))
    }
}

/// The name of a certificate's lock; the prefix keeps a host called `ca` from
/// sharing the lock of the CA.
fn cert_lock(id: &CertId) -> String {
    format!("cert-{id}")
}

fn serving_lock(id: &CertId) -> String {
    format!("serving-{id}")
}

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// `read`, `write`, `rename`, …
        action: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key that others than its owner can read.
    #[error("the private key `{}` can be read by others (mode {mode:04o})", path.display())]
    ExposedKey {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No generation of the certificate can be used.
    #[error("no usable generation of `{id}`: {}", reasons.join("; "))]
    NothingUsable {
        /// The certificate.
        id: CertId,
        /// Who issued it, when that can be read.
        issuer: Option<IssuerRef>,
        /// What is wrong with each generation, newest first.
        reasons: Vec<String>,
    },
    /// The id is taken by another issuer's certificate.
    #[error("`{id}` already belongs to {owner}")]
    OtherIssuer {
        /// The certificate.
        id: CertId,
        /// Who issued it.
        owner: IssuerRef,
    },
    /// A bundle on disk does not fit together.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What does not fit.
        source: BundleError,
    },
    /// A file of ours holds something that certmint did not write.
    #[error("`{}` is damaged: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A lock that somebody else did not free in time.
    #[error("`{}` has been locked by another process for {} s", path.display(), waited.as_secs())]
    Busy {
        /// The locked file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The name of a lock that is no file name.
    #[error("`{}` cannot be the name of a lock", crate::identifier::quoted(_0))]
    BadLockName(String),
    /// A directory whose owner could exchange what we put there.
    #[error("`{}` belongs to another user (uid {owner})", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// The user.
        owner: u32,
    },
    /// A user or group that this machine does not know.
    #[error("there is no {kind} `{}` in `{}`", crate::identifier::quoted(name), table.display())]
    UnknownOwner {
        /// `user` or `group`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// Where it was looked up.
        table: PathBuf,
    },
    /// One call that names one certificate twice.
    #[error("`{0}` occurs more than once")]
    Repeated(CertId),
}

impl StoreError {
    /// The `action` of [`StoreError::Io`] that only root may do.
    pub(crate) const CHANGE_OWNER: &'static str = "change the owner of";

    /// Wraps an I/O error with what was attempted on which path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What to do about it, as far as that can be said in general.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ExposedKey { path, .. } => Some(format!(
                "others may have copied it; if not, run `chmod 600 {}`",
                path.display()
            )),
            Self::OtherIssuer { .. } => Some("choose another id with `--id`".to_owned()),
            Self::NothingUsable { id, issuer, .. } => {
                let command = match issuer {
                    Some(IssuerRef::Private) => format!("`certmint ca issue --id {id}`"),
                    Some(IssuerRef::Acme(acme)) => format!(
                        "`certmint acme issue --id {id} --directory {}`",
                        acme.directory
                    ),
                    None => format!(
                        "`certmint ca issue --id {id}`, or `certmint acme issue --id {id}` if it \
                         came from a public CA,"
                    ),
                };
                Some(format!("make a new one with {command} and its names"))
            }
            Self::Io { action, source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied if *action == Self::CHANGE_OWNER => Some(
                    "only root may give files to others; run as root, or leave out the owner"
                        .to_owned(),
                ),
                std::io::ErrorKind::PermissionDenied => Some(
                    "run as the owner of the state directory, or name another with `--home`"
                        .to_owned(),
                ),
                std::io::ErrorKind::StorageFull => {
                    Some("free some space and run the command again; nothing was lost".to_owned())
                }
                _ => None,
            },
            Self::Busy { path, .. } => Some(format!(
                "most likely another certmint is at work; `fuser -v {}` shows which",
                path.display()
            )),
            Self::NotOurs { path, .. } => Some(format!(
                "run as the owner of `{}`, or choose a directory of your own",
                path.display()
            )),
            Self::UnknownOwner { kind, .. } => Some(format!(
                "give the numeric id of a {kind} that comes from a directory service"
            )),
            Self::Damaged { .. }
            | Self::Malformed { .. }
            | Self::BadLockName(_)
            | Self::Repeated(_) => None,
        }
    }
}
