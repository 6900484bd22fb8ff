//! A certificate of the private CA under a server: minted once, renewed in process.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::{PrivateLeaf, ServeError};
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{Clock, Timestamp, rfc3339};
use crate::finding::words::causes;
use crate::identifier::CertId;
use crate::issuer::IssuerRef;
use crate::issuer::Profile;
use crate::key::{Passphrase, PrivateKey};
use crate::pki::CaPaths;
use crate::renew::issuers::HomeIssuers;
use crate::renew::{Failure, Issuers, issued, obtain};
use crate::server::Telemetry;
use crate::store::file::FileStore;
use crate::store::{Record, Store, Stored};

/// A certificate that can be served, and what renewing it takes.
pub(super) struct Loaded {
    pub(super) kept: Kept,
    home: PathBuf,
    passphrase: Option<Passphrase>,
}

/// Finds the certificate, or has it issued; a server never starts without one.
pub(super) fn load(
    leaf: PrivateLeaf,
    clock: &Arc<dyn Clock>,
    telemetry: &Telemetry,
) -> Result<Loaded, ServeError> {
    let default = SourceId::new(leaf.id.as_str());
    let table = Arc::new(CertificateTable::with_default(default));
    load_into(table, leaf, clock, telemetry)
}

/// [`load`], to be served from `table`.
pub(super) fn load_into(
    table: Arc<CertificateTable>,
    leaf: PrivateLeaf,
    clock: &Arc<dyn Clock>,
    telemetry: &Telemetry,
) -> Result<Loaded, ServeError> {
    let PrivateLeaf {
        home,
        id,
        profile,
        passphrase,
    } = leaf;
    let store = FileStore::open(&home, Arc::clone(clock))?;
    let issuers = HomeIssuers::new(home.clone(), passphrase.clone(), Arc::clone(clock));
    let stored = find_or_issue(&store, &issuers, &id, profile, clock.now(), telemetry)?;
    Ok(Loaded {
        kept: Kept::new(table, store, &stored, telemetry)?,
        home,
        passphrase,
    })
}

fn find_or_issue(
    store: &FileStore,
    issuers: &HomeIssuers,
    id: &CertId,
    profile: Profile,
    now: Timestamp,
    telemetry: &Telemetry,
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
            obtained: None,
            reuse_key: false,
            exports: Vec::new(),
            deploy_hook: None,
        },
    };
    match issue(store, issuers, id, &record) {
        Ok(stored) => {
            telemetry.emit(&issued(&stored, found.is_some()));
            Ok(stored)
        }
        Err(source) => Err(ServeError::NoCertificate {
            id: id.clone(),
            within: None,
            source: Box::new(source),
        }),
    }
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
pub(super) async fn keep(loaded: Loaded, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let Loaded {
        kept,
        home,
        passphrase,
    } = loaded;
    let ca = CaPaths::new(&home);
    let issuers = || HomeIssuers::new(home.clone(), passphrase.clone(), Arc::clone(&clock));
    // A rotation rewrites what stands above a leaf, a revocation the lists: both
    // may make the certificate due.
    let others = [ca.chain_export(), ca.crl()];
    let keeping = kept.keep(issuers, others, Arc::clone(&clock));
    stop.run_until_cancelled(keeping).await;
}
