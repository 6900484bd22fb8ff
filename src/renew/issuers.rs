//! From what a certificate's record says to whoever issued it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Issuers, Superseded, Then};
use crate::bundle::Certificate;
use crate::clock::{Clock, rfc3339};
use crate::finding::words::causes;
use crate::issuer::{IssueError, Issuer};
use crate::key::Passphrase;
use crate::pki::ledger::{Ledger, LedgerError, Reason};
use crate::pki::{Authority, PrivateCa};
use crate::store::IssuerRef;

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
}

impl HomeIssuers {
    /// The issuers in `home`; `passphrase` unlocks the private CA's key.
    pub fn new(home: PathBuf, passphrase: Option<Passphrase>, clock: Arc<dyn Clock>) -> Self {
        Self {
            home,
            passphrase,
            clock,
            authority: OnceLock::new(),
            ledger: OnceLock::new(),
            private: OnceLock::new(),
        }
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
        Some(Superseded {
            why: format!(
                "revoked since {} ({})",
                rfc3339(revocation.at),
                revocation.reason
            ),
            then: match revocation.reason {
                Reason::KeyCompromise => Then::ReplaceKey,
                Reason::CessationOfOperation | Reason::PrivilegeWithdrawn => Then::Withdraw,
                _ => Then::Replace,
            },
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
        }
    }

    fn superseded(&self, issuer: &IssuerRef, leaf: &Certificate) -> Option<Superseded> {
        match issuer {
            IssuerRef::Private => self.revoked(leaf).or_else(|| {
                let why = self.authority()?.superseded(leaf)?;
                let then = Then::Replace;
                Some(Superseded { why, then })
            }),
        }
    }
}
