//! A certificate from files that somebody else renews: watched and swapped in.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::ExpiryNotice;
use super::{CustomFiles, ServeError};
use crate::bundle::{CertBundle, Certificate};
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{Clock, rfc3339};
use crate::event::{Event, Facts};
use crate::finding::words::causes;
use crate::server::Telemetry;
use crate::server::watch::watch_paths;
use crate::store::disk;

/// Files that can be served, with what serves them.
pub(super) struct Loaded {
    pub(super) table: Arc<CertificateTable>,
    pub(super) serving: Certificate,
    /// What is sent: a file may hold the leaf already, and not yet what is above it.
    chain: Vec<Certificate>,
    files: CustomFiles,
    telemetry: Telemetry,
}

/// Loads the files; a key that is another certificate's is refused.
pub(super) fn load(files: CustomFiles, telemetry: &Telemetry) -> Result<Loaded, ServeError> {
    warn_if_exposed(&files.key);
    let (bundle, table) = check(&files)?;
    let loaded = Loaded {
        table: Arc::new(table),
        serving: bundle.leaf().clone(),
        chain: bundle.chain().to_vec(),
        files,
        telemetry: telemetry.clone(),
    };
    telemetry.serves(&id(&loaded.files), &loaded.serving, None);
    Ok(loaded)
}

/// What is in the files, and what it is served from; without a word about it.
pub(super) fn check(files: &CustomFiles) -> Result<(CertBundle, CertificateTable), ServeError> {
    let bundle = read(files)?;
    let source = source(files);
    let table = CertificateTable::with_default(source.clone());
    table.replace(source, std::slice::from_ref(&bundle))?;
    Ok((bundle, table))
}

/// What events and metrics call it.
pub(super) fn id(files: &CustomFiles) -> String {
    files.cert.to_string_lossy().into_owned()
}

fn source(files: &CustomFiles) -> SourceId {
    SourceId::new(&id(files))
}

fn read(files: &CustomFiles) -> Result<CertBundle, ServeError> {
    let chain = disk::read(&files.cert)?;
    let key = zeroize::Zeroizing::new(disk::read(&files.key)?);
    CertBundle::from_pem(&key, &chain, files.passphrase.as_ref()).map_err(|source| {
        ServeError::Files {
            cert: files.cert.clone(),
            key: files.key.clone(),
            source,
        }
    })
}

/// A loose mode is the operator's choice here: a Kubernetes Secret is mounted so.
pub(super) fn warn_if_exposed(key: &Path) {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(key)
        .map(|found| found.permissions().mode())
        .unwrap_or(0);
    if mode & OTHERS != 0 {
        tracing::warn!(
            "the private key `{}` can be read by every user of this machine; run `chmod 600 {0}`",
            key.display()
        );
    }
}

/// How often the dates are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// How long files may not fit together before that is worth a word: key and
/// certificate are seldom replaced in one moment.
const HALF_REPLACED: Duration = Duration::from_millis(500);

/// Takes over what the files hold whenever they change, and says when they have
/// not changed for too long.
///
/// `again` has them looked at without news.
pub(super) async fn keep(
    mut loaded: Loaded,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    again: Arc<Notify>,
) {
    let mut expiry = ExpiryNotice::new(&id(&loaded.files), &loaded.telemetry);
    let mut changes = watch_paths(vec![loaded.files.cert.clone(), loaded.files.key.clone()]);
    // What changed between loading and watching is told by nobody.
    reload(&mut loaded);
    let mut unfit_until = None;
    loop {
        expiry.tell(&loaded.serving, clock.now());
        let next = unfit_until.unwrap_or_else(|| Instant::now() + LOOK);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(next) => {
                if unfit_until.take().is_some() {
                    reload(&mut loaded);
                }
            }
            () = again.notified() => reload(&mut loaded),
            () = changes.changed() => match take_over(&mut loaded) {
                Ok(()) => unfit_until = None,
                Err(_) => {
                    unfit_until.get_or_insert_with(|| Instant::now() + HALF_REPLACED);
                }
            },
        }
    }
}

/// Takes over what the files hold; what cannot be used is left alone with a warning,
/// and the next change is looked at again.
fn reload(loaded: &mut Loaded) {
    if let Err(error) = take_over(loaded) {
        let (hint, error) = (error.hint(), causes(&error));
        tracing::warn!(
            error,
            hint,
            "the changed files are not taken over; serving on"
        );
    }
}

fn take_over(loaded: &mut Loaded) -> Result<(), ServeError> {
    let bundle = read(&loaded.files)?;
    if bundle.chain() == loaded.chain {
        return Ok(());
    }
    let source = source(&loaded.files);
    loaded
        .table
        .replace(source, std::slice::from_ref(&bundle))?;
    loaded.chain = bundle.chain().to_vec();
    loaded.serving = bundle.leaf().clone();
    let (id, telemetry) = (id(&loaded.files), &loaded.telemetry);
    telemetry.serves(&id, &loaded.serving, None);
    telemetry.emit(&Event::CertificateSwapped(Facts::new(&id, &loaded.serving)));
    tracing::info!(
        serial = loaded.serving.serial_hex(),
        not_after = rfc3339(loaded.serving.not_after()),
        "certificate replaced"
    );
    Ok(())
}
