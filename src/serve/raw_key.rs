//! A key that clients know, without a certificate (RFC 7250): read from a file that is
//! watched, so that it can be changed for another.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::custom::warn_if_exposed;
use super::{RawKeyFile, ServeError};
use crate::certificates::RawKey;
use crate::finding::words::causes;
use crate::key::PrivateKey;
use crate::server::watch::watch_paths;
use crate::store::disk;

/// A key that can be served, with what serves it.
pub(super) struct Loaded {
    pub(super) served: Arc<RawKey>,
    /// How clients name it: `ed25519:` and its public half.
    pub(super) fingerprint: String,
    file: RawKeyFile,
}

/// Loads the key; one that is not Ed25519 is refused.
pub(super) fn load(file: RawKeyFile) -> Result<Loaded, ServeError> {
    warn_if_exposed(&file.key);
    let key = read(&file)?;
    let served = RawKey::new(&key).map_err(|source| unusable(&file, source))?;
    Ok(Loaded {
        served: Arc::new(served),
        fingerprint: RawKey::fingerprint(&key).map_err(|source| unusable(&file, source))?,
        file,
    })
}

pub(super) fn fingerprint(file: &RawKeyFile) -> Result<String, ServeError> {
    RawKey::fingerprint(&read(file)?).map_err(|source| unusable(file, source))
}

fn read(file: &RawKeyFile) -> Result<PrivateKey, ServeError> {
    let text = Zeroizing::new(disk::read(&file.key)?);
    PrivateKey::from_pem(&text, file.passphrase.as_ref()).map_err(|source| ServeError::RawKeyFile {
        path: file.key.clone(),
        source,
    })
}

fn unusable(file: &RawKeyFile, source: crate::certificates::UnusableRawKey) -> ServeError {
    ServeError::RawKey {
        path: file.key.clone(),
        source,
    }
}

/// Takes over what the file holds whenever it changes.
pub(super) async fn keep(mut loaded: Loaded, stop: CancellationToken) {
    let mut changes = watch_paths(vec![loaded.file.key.clone()]);
    loop {
        // At first, too: what changed between loading and watching is told by nobody.
        if let Err(error) = take_over(&mut loaded) {
            let (hint, error) = (error.hint(), causes(&error));
            tracing::warn!(error, hint, "the changed key is not taken over; serving on");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changes.changed() => {}
        }
    }
}

fn take_over(loaded: &mut Loaded) -> Result<(), ServeError> {
    let key = read(&loaded.file)?;
    let unusable = |source| unusable(&loaded.file, source);
    let fingerprint = RawKey::fingerprint(&key).map_err(unusable)?;
    if fingerprint != loaded.fingerprint {
        loaded.served.replace(&key).map_err(unusable)?;
        tracing::info!(fingerprint, "raw key replaced");
        loaded.fingerprint = fingerprint;
    }
    Ok(())
}
