//! A certificate from files that somebody else renews: watched and swapped in.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::keeper::ExpiryNotice;
use super::{CustomFiles, ServeError};
use crate::bundle::{CertBundle, Certificate};
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{Clock, rfc3339};
use crate::finding::words::causes;
use crate::server::watch::watch_paths;
use crate::store::disk;

/// Files that can be served, with what serves them.
pub(super) struct Loaded {
    pub(super) table: Arc<CertificateTable>,
    pub(super) serving: Certificate,
    files: CustomFiles,
}

/// Loads the files; a key that is another certificate's is refused.
pub(super) fn load(files: CustomFiles) -> Result<Loaded, ServeError> {
    warn_if_exposed(&files);
    let bundle = read(&files)?;
    let source = source(&files);
    let table = Arc::new(CertificateTable::with_default(source.clone()));
    table.replace(source, std::slice::from_ref(&bundle))?;
    Ok(Loaded {
        table,
        serving: bundle.leaf().clone(),
        files,
    })
}

fn source(files: &CustomFiles) -> SourceId {
    SourceId::new(&files.cert.to_string_lossy())
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
fn warn_if_exposed(files: &CustomFiles) {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(&files.key)
        .map(|found| found.permissions().mode())
        .unwrap_or(0);
    if mode & OTHERS != 0 {
        tracing::warn!(
            "the private key `{}` can be read by every user of this machine; run `chmod 600 {0}`",
            files.key.display()
        );
    }
}

/// How often the dates are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Takes over what the files hold whenever they change, and says when they have
/// not changed for too long.
pub(super) async fn keep(mut loaded: Loaded, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut expiry = ExpiryNotice::default();
    let mut changes = watch_paths(vec![loaded.files.cert.clone(), loaded.files.key.clone()]);
    // What changed between loading and watching is told by nobody.
    reload(&mut loaded);
    loop {
        expiry.tell(&loaded.serving, clock.now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            () = changes.changed() => reload(&mut loaded),
        }
    }
}

/// Key and certificate are seldom replaced in one moment: a pair that does not fit
/// is left alone, and the next change is looked at again.
fn reload(loaded: &mut Loaded) {
    let bundle = match read(&loaded.files) {
        Ok(bundle) => bundle,
        Err(error) => {
            let (hint, error) = (error.hint(), causes(&error));
            tracing::warn!(
                error,
                hint,
                "the changed files are not taken over; serving on"
            );
            return;
        }
    };
    if *bundle.leaf() == loaded.serving {
        return;
    }
    match loaded
        .table
        .replace(source(&loaded.files), std::slice::from_ref(&bundle))
    {
        Ok(()) => {
            loaded.serving = bundle.leaf().clone();
            tracing::info!(
                serial = loaded.serving.serial_hex(),
                not_after = rfc3339(loaded.serving.not_after()),
                "certificate replaced"
            );
        }
        Err(error) => {
            tracing::warn!(%error, "the changed certificate is not taken over; serving on")
        }
    }
}
