//! A certificate of the private CA under a server: minted once, renewed in process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keeper::ExpiryNotice;
use super::{PrivateLeaf, ServeError};
use crate::bundle::Certificate;
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{Clock, Timestamp, rfc3339};
use crate::finding::words::causes;
use crate::identifier::CertId;
use crate::issuer::Profile;
use crate::key::{Passphrase, PrivateKey};
use crate::pki::CaPaths;
use crate::renew::issuers::HomeIssuers;
use crate::renew::{Done, Failure, Issuers, Renewal, Request, Trouble, obtain};
use crate::server::watch::watch_paths;
use crate::store::file::FileStore;
use crate::store::{IssuerRef, Record, Store, Stored};

/// How often the dates are looked at. The wall clock may jump, so no timer is set
/// for the moment itself.
const LOOK: Duration = Duration::from_secs(60);

/// How often it is said that a certificate is not renewed any more.
const REMIND: Duration = Duration::from_secs(3600);

/// How long after a failed renewal the next one is tried.
const RETRY: Duration = Duration::from_secs(600);

/// A certificate that can be served, and what renewing it takes.
pub(super) struct Loaded {
    pub(super) table: Arc<CertificateTable>,
    pub(super) serving: Certificate,
    store: FileStore,
    home: PathBuf,
    id: CertId,
    passphrase: Option<Passphrase>,
}

impl Loaded {
    fn source(&self) -> SourceId {
        SourceId::new(self.id.as_str())
    }

    fn issuers(&self, clock: &Arc<dyn Clock>) -> HomeIssuers {
        HomeIssuers::new(
            self.home.clone(),
            self.passphrase.clone(),
            Arc::clone(clock),
        )
    }

    /// Serves with `stored` from the next connection on.
    fn swap(&mut self, stored: &Stored) -> Result<(), ServeError> {
        self.table
            .replace(self.source(), std::slice::from_ref(&stored.bundle))?;
        let leaf = stored.bundle.leaf();
        if *leaf != self.serving {
            tracing::info!(
                id = %self.id,
                serial = leaf.serial_hex(),
                not_after = rfc3339(leaf.not_after()),
                "certificate replaced"
            );
            self.serving = leaf.clone();
        }
        Ok(())
    }
}

/// Finds the certificate, or has it issued; a server never starts without one.
pub(super) fn load(leaf: PrivateLeaf, clock: &Arc<dyn Clock>) -> Result<Loaded, ServeError> {
    let PrivateLeaf {
        home,
        id,
        profile,
        passphrase,
    } = leaf;
    let store = FileStore::open(&home, Arc::clone(clock))?;
    let issuers = HomeIssuers::new(home.clone(), passphrase.clone(), Arc::clone(clock));
    let stored = find_or_issue(&store, &issuers, &id, profile, clock.now())?;
    let table = Arc::new(CertificateTable::with_default(SourceId::new(id.as_str())));
    let serving = stored.bundle.leaf().clone();
    let mut loaded = Loaded {
        table,
        serving,
        store,
        home,
        id,
        passphrase,
    };
    loaded.swap(&stored)?;
    Ok(loaded)
}

fn find_or_issue(
    store: &FileStore,
    issuers: &HomeIssuers,
    id: &CertId,
    profile: Profile,
    now: Timestamp,
) -> Result<Stored, ServeError> {
    let _lock = store.lock_cert(id)?;
    let found = match store.load(id) {
        Ok(found) => found,
        // Nothing that is there can be served: as good as nothing there.
        Err(damage) => {
            tracing::warn!(%id, %damage, "issuing anew");
            None
        }
    };
    if let Some(stored) = &found
        && is_as_wanted(stored, &profile, now)
    {
        warn_if_unrenewable(id, issuers, stored);
        return Ok(stored.clone());
    }
    let record = match &found {
        Some(stored) => Record {
            profile,
            ..stored.record.clone()
        },
        None => Record {
            profile,
            issuer: IssuerRef::Private,
            reuse_key: false,
            exports: Vec::new(),
            deploy_hook: None,
        },
    };
    issue(store, issuers, id, &record).map_err(|source| ServeError::NoCertificate {
        id: id.clone(),
        source,
    })
}

/// A certificate made with another life is kept until it is due.
fn is_as_wanted(stored: &Stored, wanted: &Profile, now: Timestamp) -> bool {
    let made = &stored.record.profile;
    stored.damage.is_empty()
        && stored.bundle.leaf().is_valid_at(now)
        && (&made.names, made.key_type, made.usage)
            == (&wanted.names, wanted.key_type, wanted.usage)
}

/// What is valid is served, whatever became of the CA; that its renewal will fail
/// is said while there is time to do something about it.
fn warn_if_unrenewable(id: &CertId, issuers: &HomeIssuers, stored: &Stored) {
    if let Err(error) = issuers.open(&stored.record.issuer) {
        tracing::warn!(
            %id,
            error = causes(&error),
            hint = error.hint,
            not_after = rfc3339(stored.bundle.leaf().not_after()),
            "the certificate is valid, but it cannot be renewed"
        );
    }
}

fn issue(
    store: &FileStore,
    issuers: &HomeIssuers,
    id: &CertId,
    record: &Record,
) -> Result<Stored, Failure> {
    let issuer = issuers.open(&record.issuer)?;
    let key = PrivateKey::generate(record.profile.key_type)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers asks nothing of the system");
    runtime.block_on(obtain(store, &*issuer, id, record, key))
}

/// Renews when due, and takes over what another process has renewed.
pub(super) async fn keep(mut loaded: Loaded, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let ca = CaPaths::new(&loaded.home);
    // A rotation rewrites what stands above a leaf, a revocation the lists: both
    // may make the certificate due.
    let mut changes = watch_paths(vec![
        loaded.store.current_dir(&loaded.id),
        ca.chain_export(),
        ca.crl(),
    ]);
    // What changed between loading and watching is told by nobody.
    reload(&mut loaded);
    let mut expiry = ExpiryNotice::default();
    loop {
        let pause = renew(&mut loaded, &clock).await;
        expiry.tell(&loaded.serving, clock.now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = changes.changed() => reload(&mut loaded),
        }
    }
}

/// Renews if it is time, and says when to look again.
async fn renew(loaded: &mut Loaded, clock: &Arc<dyn Clock>) -> Duration {
    let issuers = loaded.issuers(clock);
    let store = loaded.store.clone();
    let renewal = Renewal {
        store: &store,
        issuers: &issuers,
        clock: &**clock,
    };
    let outcome = renewal.one(loaded.id.clone(), &Request::default()).await;
    for damage in &outcome.damage {
        tracing::warn!(id = %loaded.id, damage, "an older generation stands in");
    }
    match outcome.result {
        Done::Renewed {
            stored, trouble, ..
        } => {
            tell_trouble(&loaded.id, &trouble);
            if let Err(error) = loaded.swap(&stored) {
                tracing::error!(id = %loaded.id, %error, "the renewed certificate cannot be served");
            }
            LOOK
        }
        Done::Redeployed { trouble, .. } => {
            tell_trouble(&loaded.id, &trouble);
            LOOK
        }
        Done::Failed { error, .. } => {
            let (hint, error) = (error.hint(), causes(&error));
            tracing::warn!(id = %loaded.id, error, hint, "renewal failed; serving on");
            RETRY
        }
        Done::Withdrawn { why } => {
            tracing::warn!(id = %loaded.id, why, "the certificate is not renewed any more");
            REMIND
        }
        Done::NotDue { .. } | Done::PutOff { .. } | Done::WouldRenew(_) => LOOK,
    }
}

fn tell_trouble(id: &CertId, trouble: &[Trouble]) {
    for trouble in trouble {
        let error = causes(trouble);
        tracing::warn!(%id, error, "not everything that uses the certificate has the current one");
    }
}

/// Takes over what another process has made current.
fn reload(loaded: &mut Loaded) {
    match loaded.store.load(&loaded.id) {
        Ok(Some(stored)) => {
            if let Err(error) = loaded.swap(&stored) {
                tracing::warn!(id = %loaded.id, %error, "the new generation cannot be served; serving on");
            }
        }
        Ok(None) => tracing::warn!(id = %loaded.id, "its files are gone; serving on"),
        Err(error) => tracing::warn!(id = %loaded.id, %error, "serving on"),
    }
}
