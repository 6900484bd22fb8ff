//! The keys of CA certificates in files.

use std::path::Path;

use zeroize::Zeroizing;

use super::error::CaError;
use crate::bundle::Certificate;
use crate::key::{KeyError, Passphrase, PrivateKey};
use crate::store::disk;

/// Only the owner reads keys.
pub(super) const KEY_MODE: u32 = 0o600;
/// Certificates are public; who may reach them, the directory's mode says.
pub(super) const PUBLIC_MODE: u32 = 0o644;

/// Under which name the key of `certificate` is written outside the CA: two CAs'
/// root keys in one directory do not collide.
pub(super) fn offline_name(generation: &str, certificate: &Certificate) -> String {
    const DIGITS: usize = 8;
    let hash: String = certificate.spki_sha256_hex().chars().take(DIGITS).collect();
    format!("root-{generation}-{hash}.key.pem")
}

/// Writes `key` to `path`, which must not exist yet.
pub(super) fn write(
    path: &Path,
    key: &PrivateKey,
    passphrase: Option<&Passphrase>,
) -> Result<(), CaError> {
    let text = match passphrase {
        Some(passphrase) => key
            .to_encrypted_pem(passphrase)
            .map_err(CaError::Generation)?,
        None => key.to_pem(),
    };
    Ok(disk::write_new(path, text.as_bytes(), KEY_MODE)?)
}

/// Reads the key of `certificate`, called `name`, from `path` in the state directory,
/// where nobody else may read it.
pub(super) fn read(
    name: &str,
    path: &Path,
    passphrase: Option<&Passphrase>,
    certificate: &Certificate,
) -> Result<PrivateKey, CaError> {
    let text = disk::read_key(path)?;
    parse(&text, name, path, passphrase, certificate)
}

/// The same from a medium whose modes may not be ours to choose.
pub(super) fn read_outside(
    name: &str,
    path: &Path,
    passphrase: Option<&Passphrase>,
    certificate: &Certificate,
) -> Result<PrivateKey, CaError> {
    let text = Zeroizing::new(disk::read(path)?);
    parse(&text, name, path, passphrase, certificate)
}

fn parse(
    text: &[u8],
    name: &str,
    path: &Path,
    passphrase: Option<&Passphrase>,
    certificate: &Certificate,
) -> Result<PrivateKey, CaError> {
    let key = PrivateKey::from_pem(text, passphrase).map_err(|source| match source {
        KeyError::PassphraseNeeded => CaError::KeyLocked {
            name: name.to_owned(),
            path: path.to_owned(),
        },
        source => CaError::Key {
            name: name.to_owned(),
            path: path.to_owned(),
            source,
        },
    })?;
    if key.public_key_der() != certificate.spki() {
        return Err(CaError::KeyMismatch {
            name: name.to_owned(),
            path: path.to_owned(),
            written_as: offline_name(name, certificate),
        });
    }
    Ok(key)
}
