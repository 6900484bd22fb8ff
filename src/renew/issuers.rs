//! From what a certificate's record says to whoever issued it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Issuers, Superseded, Then};
#[cfg(feature = "acme")]
use crate::acme::{Opener, Surroundings};
use crate::bundle::Certificate;
use crate::clock::{Clock, Timestamp, rfc3339};
use crate::finding::words::causes;
use crate::issuer::{AcmeRef, IssueError, Issuer, IssuerRef};
use crate::key::Passphrase;
use crate::pki::ledger::{Ledger, LedgerError, Reason};
use crate::pki::{Authority, PrivateCa};

/// The issuers of one state directory, opened when first needed.
///
/// Made anew for each run: what it has opened, it keeps, and a CA may be rotated
/// in between.
pub struct HomeIssuers {
    home: PathBuf,
    passphrase: Option<Passphrase>,
    clock: Arc<dyn Clock>,
    authority: OnceLock<Option<Authority>>,
    ledger: OnceLock<Option<Mutex<Ledger>>>,
    private: OnceLock<Arc<PrivateCa>>,
    #[cfg(feature = "acme")]
    acme: Arc<Opener>,
}

/// The value of a variable, for `env:` references in DNS credentials.
pub type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

impl HomeIssuers {
    /// The issuers in `home`; `passphrase` unlocks the private CA's key.
    pub fn new(home: PathBuf, passphrase: Option<Passphrase>, clock: Arc<dyn Clock>) -> Self {
        Self {
            #[cfg(feature = "acme")]
            acme: Arc::new(Opener::new(Surroundings::unattended(
                home.clone(),
                Arc::clone(&clock),
            ))),
            home,
            passphrase,
            clock,
            authority: OnceLock::new(),
            ledger: OnceLock::new(),
            private: OnceLock::new(),
        }
    }

    /// With `opener` for what comes from ACME CAs: one that knows of a running server,
    /// say, or of a person to ask.
    #[cfg(feature = "acme")]
    #[must_use]
    pub fn acme(self, opener: Arc<Opener>) -> Self {
        Self {
            acme: opener,
            ..self
        }
    }

    /// Waits until what was presented to CAs by runs that were cancelled is cleaned up;
    /// to be called before the program ends. Bounded by the deadlines of cleaning up.
    pub async fn settle(&self) {
        #[cfg(feature = "acme")]
        self.acme.settle().await;
    }

    fn authority(&self) -> Option<&Authority> {
        self.authority
            .get_or_init(|| Authority::open(&self.home).ok())
            .as_ref()
    }

    /// Whether the private CA has revoked `leaf`. An inventory that cannot be read
    /// is said once and stops nothing: what is due can be told without it.
    fn revoked(&self, leaf: &Certificate) -> Option<Superseded> {
        let open = || {
            let path = self.authority()?.paths().ledger();
            // Opening would make one, and looking must change nothing.
            path.exists().then_some(())?;
            let opened = Ledger::open(&path).inspect_err(unread).ok()?;
            Some(Mutex::new(opened))
        };
        let ledger = self.ledger.get_or_init(open).as_ref()?;
        let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = ledger.by_serial(leaf.serial()).inspect_err(unread).ok()??;
        let revocation = entry.revoked?;
        let then = match revocation.reason {
            Reason::KeyCompromise => Then::ReplaceKey,
            Reason::CessationOfOperation | Reason::PrivilegeWithdrawn => Then::Withdraw,
            _ => Then::Replace,
        };
        Some(revoked_since(revocation.at, revocation.reason, then))
    }

    fn superseded_by_us(&self, leaf: &Certificate) -> Option<Superseded> {
        self.revoked(leaf).or_else(|| {
            let why = self.authority()?.superseded(leaf)?;
            let then = Then::Replace;
            Some(Superseded { why, then })
        })
    }

    fn open_private(&self) -> Result<Arc<PrivateCa>, IssueError> {
        if let Some(ca) = self.private.get() {
            return Ok(Arc::clone(ca));
        }
        let ca = PrivateCa::open(
            &self.home,
            self.passphrase.as_ref(),
            Arc::clone(&self.clock),
        )?;
        Ok(Arc::clone(self.private.get_or_init(|| Arc::new(ca))))
    }
}

impl HomeIssuers {
    #[cfg(feature = "acme")]
    fn open_acme(&self, reference: &AcmeRef) -> Result<Arc<dyn Issuer>, IssueError> {
        Ok(self.acme.open(reference)?)
    }

    /// Whether `leaf` was revoked by `acme revoke`.
    #[cfg(feature = "acme")]
    fn revoked_from_here(&self, leaf: &Certificate) -> Option<Superseded> {
        use crate::acme::{self, Revocations};
        let revocation = Revocations::new(&self.home).of(leaf, self.clock.now())?;
        let then = match revocation.reason {
            acme::Reason::KeyCompromise => Then::ReplaceKey,
            acme::Reason::CessationOfOperation => Then::Withdraw,
            _ => Then::Replace,
        };
        Some(revoked_since(revocation.at, revocation.reason, then))
    }

    #[cfg(not(feature = "acme"))]
    #[expect(clippy::unused_self, reason = "it has the shape of its other half")]
    fn revoked_from_here(&self, _: &Certificate) -> Option<Superseded> {
        None
    }

    #[cfg(not(feature = "acme"))]
    #[expect(clippy::unused_self, reason = "it has the shape of its other half")]
    fn open_acme(&self, reference: &AcmeRef) -> Result<Arc<dyn Issuer>, IssueError> {
        Err(IssueError {
            message: format!(
                "cannot ask {} for certificates: this certmint was built without ACME",
                reference.directory
            ),
            hint: Some("use a build with the feature `acme`".to_owned()),
            permanent: true,
            retry_after: None,
            source: None,
        })
    }
}

fn revoked_since(at: Timestamp, reason: impl fmt::Display, then: Then) -> Superseded {
    let why = format!("revoked since {} ({reason})", rfc3339(at));
    Superseded { why, then }
}

fn unread(error: &LedgerError) {
    tracing::warn!(
        error = causes(error),
        "whether certificates were revoked is not known"
    );
}

impl Issuers for HomeIssuers {
    fn open(&self, issuer: &IssuerRef) -> Result<Arc<dyn Issuer>, IssueError> {
        match issuer {
            IssuerRef::Private => Ok(self.open_private()?),
            IssuerRef::Acme(reference) => self.open_acme(reference),
        }
    }

    fn superseded(&self, issuer: &IssuerRef, leaf: &Certificate) -> Option<Superseded> {
        match issuer {
            IssuerRef::Private => self.superseded_by_us(leaf),
            // What others revoke at a public CA shows in its renewal information.
            IssuerRef::Acme(acme) => {
                let noted = self.revoked_from_here(leaf);
                noted.or_else(|| {
                    let from_us = || self.authority()?.issuer_of(leaf);
                    let ours = !issuer.is_public() || acme.asks_ours() && from_us().is_some();
                    ours.then(|| self.superseded_by_us(leaf)).flatten()
                })
            }
        }
    }
}
