//! One generation on disk: which files it has, how they are written, and what is
//! checked before it is believed.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::disk::{self, Durability};
use super::{Record, StoreError, Stored};
use crate::bundle::{CertBundle, to_pem};
use crate::clock::Timestamp;
use crate::identifier::{CertId, summary};

/// The private key.
pub(super) const KEY: &str = "privkey.pem";
/// The leaf.
const CERT: &str = "cert.pem";
/// The intermediates.
const CHAIN: &str = "chain.pem";
/// Leaf and intermediates.
pub(super) const FULLCHAIN: &str = "fullchain.pem";
/// Key, leaf and intermediates.
pub(super) const COMBINED: &str = "combined.pem";
/// The record and the manifest.
pub(super) const RECORD: &str = "cert.json";

/// The form of [`RECORD`]; what is added keeps it.
const SCHEMA: &str = "certmint.cert/1";

/// Mode of what holds a key, and of the record, whose hook is nobody's business.
const PRIVATE: u32 = 0o600;
/// Mode of what is sent to every client anyway.
const PUBLIC: u32 = 0o644;

/// A PEM file, as it stands in a generation and in an export.
pub(super) struct PemFile {
    pub(super) name: &'static str,
    pub(super) text: Zeroizing<String>,
    /// Whether it holds the private key.
    pub(super) secret: bool,
}

/// Everything that other programs may want to read of `bundle`.
pub(super) fn pem_files(bundle: &CertBundle) -> [PemFile; 5] {
    let public = |name, text| PemFile {
        name,
        text: Zeroizing::new(text),
        secret: false,
    };
    let secret = |name, text| PemFile {
        name,
        text,
        secret: true,
    };
    [
        secret(KEY, bundle.key().to_pem()),
        public(CERT, bundle.leaf().to_pem()),
        public(CHAIN, to_pem(bundle.intermediates())),
        public(FULLCHAIN, bundle.fullchain_pem()),
        secret(COMBINED, bundle.combined_pem()),
    ]
}

/// What [`RECORD`] holds.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CertFile {
    schema: String,
    id: CertId,
    generation: u64,
    #[serde(with = "time::serde::rfc3339")]
    created_at: Timestamp,
    #[serde(flatten)]
    record: Record,
    /// SHA-256 of each other file, in hex.
    manifest: BTreeMap<String, String>,
}

/// Fills the empty directory `dir`.
pub(super) fn write(
    dir: &Path,
    stored: &Stored,
    created_at: Timestamp,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut manifest = BTreeMap::new();
    for file in pem_files(&stored.bundle) {
        let mode = if file.secret { PRIVATE } else { PUBLIC };
        disk::write_file(&dir.join(file.name), file.text.as_bytes(), mode, durability)?;
        manifest.insert(file.name.to_owned(), sha256(file.text.as_bytes()));
    }
    let record = CertFile {
        schema: SCHEMA.to_owned(),
        id: stored.id.clone(),
        generation: stored.generation,
        created_at,
        record: stored.record.clone(),
        manifest,
    };
    let mut text = serde_json::to_vec_pretty(&record)
        .expect("a record has string keys and no failing serializer");
    text.push(b'\n');
    disk::write_file(&dir.join(RECORD), &text, PRIVATE, durability)?;
    match durability {
        Durability::Now => disk::sync_dir(dir),
        Durability::Later => Ok(()),
    }
}

/// Reads the generation in `dir` and checks that it is the one that was written:
/// every file by its hash, the key with the chain, the names with the record.
pub(super) fn read(dir: &Path, id: &CertId, generation: u64) -> Result<Stored, StoreError> {
    let CertFile {
        record, manifest, ..
    } = read_record_file(dir, id, generation)?;
    let checked = |name: &str, bytes: &[u8]| match manifest.get(name) {
        Some(wanted) if *wanted == sha256(bytes) => Ok(()),
        _ => Err(StoreError::Malformed {
            path: dir.join(name),
            reason: "it is not what was written".to_owned(),
        }),
    };
    let key = disk::read_key(&dir.join(KEY))?;
    checked(KEY, &key)?;
    checked(COMBINED, &disk::read_key(&dir.join(COMBINED))?)?;
    for name in [CERT, CHAIN] {
        checked(name, &disk::read(&dir.join(name))?)?;
    }
    let chain = disk::read(&dir.join(FULLCHAIN))?;
    checked(FULLCHAIN, &chain)?;
    let bundle =
        CertBundle::from_pem(&key, &chain, None).map_err(|source| StoreError::Damaged {
            path: dir.to_owned(),
            source,
        })?;
    if !bundle.covers(&record.profile.names) {
        return Err(StoreError::Malformed {
            path: dir.join(FULLCHAIN),
            reason: format!("it does not cover {}", summary(&record.profile.names)),
        });
    }
    Ok(Stored {
        id: id.clone(),
        generation,
        bundle,
        record,
        path: Some(dir.to_owned()),
        damage: Vec::new(),
    })
}

/// Reads how a generation was made, without looking at anything else of it.
pub(super) fn read_record(dir: &Path, id: &CertId, generation: u64) -> Result<Record, StoreError> {
    read_record_file(dir, id, generation).map(|file| file.record)
}

fn read_record_file(dir: &Path, id: &CertId, generation: u64) -> Result<CertFile, StoreError> {
    /// What must be right before the rest can be understood.
    #[derive(serde::Deserialize)]
    struct Head {
        schema: String,
    }
    let path = dir.join(RECORD);
    let text = disk::read(&path)?;
    let malformed = |reason: String| StoreError::Malformed {
        path: path.clone(),
        reason,
    };
    let head: Head = serde_json::from_slice(&text).map_err(|e| malformed(e.to_string()))?;
    if head.schema != SCHEMA {
        let schema = crate::identifier::quoted(&head.schema);
        return Err(malformed(format!(
            "its schema is `{schema}`, this certmint knows `{SCHEMA}`"
        )));
    }
    let file: CertFile = serde_json::from_slice(&text).map_err(|e| malformed(e.to_string()))?;
    if file.id != *id || file.generation != generation {
        return Err(malformed(format!(
            "it is of generation {} of `{}`",
            file.generation, file.id
        )));
    }
    Ok(file)
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}
