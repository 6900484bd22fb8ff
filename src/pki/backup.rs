//! One archive of everything the CA is, taken while it runs, and the way back.
//!
//! Rules kept here: an archive is 0600 from creation, for it holds private keys;
//! what is copied is consistent, though others go on issuing; nothing of a state
//! directory is touched before the whole archive was unpacked beside it and every
//! byte checked against the manifest; no name in an archive is a path unchecked;
//! what stood there before is moved aside, never deleted; and `ca.json`, which
//! makes a CA of a directory, arrives last.

mod read;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::{Timestamp, rfc3339};
use crate::identifier::CertId;
use crate::pki::crl;
use crate::pki::ledger::{Ledger, LedgerError};
use crate::store::{Lock, StoreError, disk};

/// What the manifest says it is.
const SCHEMA: &str = "certmint.backup/1";
/// The manifest's name in the archive.
const MANIFEST: &str = "manifest.json";
/// Largest manifest; a million files fit. What is written keeps to it as well.
const MAX_MANIFEST: u64 = 256 * 1024 * 1024;
/// The directories below the state directory that are copied.
const CA: &str = "ca";
const CERTS: &str = "certs";
/// What makes a directory a CA.
const CONFIG: &str = "ca/ca.json";
/// The inventory, which is copied by itself.
const LEDGER: &str = "ca/ca.sqlite";
/// The pointer to a certificate's newest generation.
const CURRENT: &str = "current";
/// Everything is the owner's alone.
const MODE: u32 = 0o600;

/// The list of an archive's contents, in it as `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Manifest {
    schema: String,
    #[serde(with = "time::serde::rfc3339")]
    made_at: Timestamp,
    certmint: String,
    ledger_schema: usize,
    files: BTreeMap<String, Digest>,
    links: BTreeMap<String, String>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Digest {
    sha256: String,
    size: u64,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// When it was made.
    pub made_at: Timestamp,
    /// How many files.
    pub files: usize,
    /// How many bytes in them.
    pub bytes: u64,
    /// How many certificates with their keys.
    pub certificates: usize,
}

impl Contents {
    fn of(manifest: &Manifest) -> Self {
        let ids = manifest
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(CERTS)?.split('/').nth(1))
            .collect::<std::collections::BTreeSet<_>>();
        Self {
            made_at: manifest.made_at,
            files: manifest.files.len(),
            bytes: manifest.files.values().map(|file| file.size).sum(),
            certificates: ids.len(),
        }
    }
}

/// What a restoration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What is there now.
    pub contents: Contents,
    /// Where that lies which was there before.
    pub moved: Option<PathBuf>,
}

/// Writes the CA in `home`, its inventory and all certificates to the new file
/// `archive`. Issuing, renewing and serving go on meanwhile.
///
/// Removes the file again when it fails.
pub fn create(
    home: &Path,
    archive: &Path,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Contents, BackupError> {
    write::archive(home, archive, ledger, now)
}

/// Puts what `archive` holds into `home`, after checking all of it.
///
/// A CA or certificates that are there already are refused, or with `force` moved
/// to `backup/`. No process may use `home` meanwhile: a server that runs would go
/// on with the inventory that was moved away.
pub fn restore(
    archive: &Path,
    home: &Path,
    force: bool,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    disk::create_dir(home)?;
    let locks = home.join("locks");
    let _ca = Lock::acquire(&locks, CA)?;
    let _crl = Lock::acquire(&locks, crl::LOCK)?;
    if is_occupied(home)? && !force {
        return Err(BackupError::Occupied(home.to_owned()));
    }
    let staging = home.join(".restore");
    // A crash may have left one; nobody else is here.
    disk::remove_tree(&staging)?;
    disk::create_dir(&staging)?;
    let outcome = read::unpack(archive, &staging).and_then(|manifest| {
        prepare_ledger(&staging)?;
        let moved = move_aside(home, now)?;
        put_in_place(&staging, home)?;
        Ok(Restored {
            contents: Contents::of(&manifest),
            moved,
        })
    });
    disk::remove_tree(&staging)?;
    outcome
}

/// Checks that the inventory can be opened, and brings it up to date. It does not
/// know which CRLs were signed after it was copied, so that many numbers are left
/// out.
fn prepare_ledger(staging: &Path) -> Result<(), BackupError> {
    const SIGNED_SINCE: u32 = 100_000;
    let ledger = Ledger::open(&staging.join(LEDGER))?;
    ledger.skip_crl_numbers(SIGNED_SINCE)?;
    Ok(())
}

/// Moves what `home` holds of a CA to a directory of its own below `backup/`.
fn move_aside(home: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let old: Vec<&str> = [CA, CERTS]
        .into_iter()
        .filter(|name| is_filled(&home.join(name)))
        .collect();
    if old.is_empty() {
        return Ok(None);
    }
    let stamp = rfc3339(now).replace([':', '-'], "");
    let aside = (1..)
        .map(|n| {
            home.join("backup")
                .join(format!("before-restore-{stamp}-{n}"))
        })
        .find(|path| path.symlink_metadata().is_err())
        .expect("there are fewer directories than numbers");
    disk::create_dir(&aside)?;
    for name in old {
        // `ca` may be a mount point: its contents move, not the directory.
        move_contents(&home.join(name), &aside.join(name))?;
    }
    Ok(Some(aside))
}

/// Moves the unpacked files to where they belong.
fn put_in_place(staging: &Path, home: &Path) -> Result<(), BackupError> {
    disk::create_dir(&home.join(CERTS))?;
    if is_filled(&staging.join(CERTS)) {
        move_contents(&staging.join(CERTS), &home.join(CERTS))?;
    }
    let config = staging.join(CONFIG);
    let kept = staging.join("ca.json");
    disk::rename(&config, &kept)?;
    move_contents(&staging.join(CA), &home.join(CA))?;
    disk::rename(&kept, &home.join(CONFIG))?;
    Ok(())
}

fn move_contents(from: &Path, to: &Path) -> Result<(), BackupError> {
    disk::create_dir(to)?;
    for name in names_in(from)? {
        disk::rename(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// Whether there is a CA or a certificate; what else lies there is no obstacle.
fn is_occupied(home: &Path) -> Result<bool, BackupError> {
    let is_id = |name: &std::ffi::OsString| {
        let id = name.to_str().map(str::parse::<CertId>);
        id.is_some_and(|id| id.is_ok())
    };
    Ok(home.join(CONFIG).symlink_metadata().is_ok()
        || names_in(&home.join(CERTS))?.iter().any(is_id))
}

/// Whether there is a file, or a directory that is not empty.
fn is_filled(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.symlink_metadata().is_ok_and(|found| !found.is_dir()),
    }
}

/// The names in a directory, sorted; none when it is absent.
fn names_in(dir: &Path) -> Result<Vec<std::ffi::OsString>, BackupError> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StoreError::io("read", dir))?,
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StoreError::io("read", dir))?;
    names.sort();
    Ok(names)
}

/// Whether a name can be one of ours: no path, no temporary file, nothing odd.
fn is_plain(name: &str) -> bool {
    const MAX: usize = 255;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= MAX && !name.starts_with('.') && name.bytes().all(allowed)
}

/// Whether a name is a generation's: a number from 1 on, in its shortest form.
fn is_generation(name: &str) -> bool {
    name.parse::<u64>()
        .is_ok_and(|number| number > 0 && number.to_string() == name)
}

/// What else SQLite keeps beside an inventory; a snapshot needs none of it, and
/// one that came with an archive would be believed.
fn is_companion(path: &str) -> bool {
    path.strip_prefix(LEDGER)
        .is_some_and(|suffix| suffix.starts_with('-'))
}

/// Whether an archive may hold a file of this name: `ca/…` or `certs/<id>/…`, of
/// plain names only, and nothing that another program would take for its own.
fn is_path_of_ours(path: &str) -> bool {
    /// `certs/<id>/<generation>/<file>`.
    const MAX_DEPTH: usize = 4;
    let parts: Vec<&str> = path.split('/').collect();
    let plain = parts.iter().all(|part| is_plain(part)) && parts.len() <= MAX_DEPTH;
    plain
        && !is_companion(path)
        && match parts.as_slice() {
            [CA, _, ..] => true,
            [CERTS, id, file] => {
                id.parse::<CertId>().is_ok() && !is_generation(file) && *file != CURRENT
            }
            [CERTS, id, generation, _] => id.parse::<CertId>().is_ok() && is_generation(generation),
            _ => false,
        }
}

/// What can go wrong with backups.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no CA to copy.
    #[error("there is no CA in `{}`", .0.display())]
    NotInitialised(PathBuf),
    /// The archive to write is there already.
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
    /// The archive would lie among what it copies.
    #[error("the archive `{}` would be a part of its own contents", .0.display())]
    Inside(PathBuf),
    /// A symbolic link, a device or the like among the CA's files.
    #[error("`{}` is not a regular file and cannot be copied", .0.display())]
    NotRegular(PathBuf),
    /// More files than a manifest may list.
    #[error("there are too many files for one archive")]
    TooMany,
    /// There is a CA, or certificates, where the archive's should go.
    #[error("`{}` holds a CA or certificates already", .0.display())]
    Occupied(PathBuf),
    /// The archive cannot be read, or is no archive.
    #[error("could not read the archive `{}`", path.display())]
    Unreadable {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The archive is not one that [`create`] wrote, or was altered or cut.
    #[error("the archive `{}` was refused: {reason}", path.display())]
    Refused {
        /// The archive.
        path: PathBuf,
        /// What is wrong, naming the entry.
        reason: String,
    },
    /// The inventory cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInitialised(_) => Some("make one with `certmint ca init`".to_owned()),
            Self::Exists(_) => Some("choose another name, or move it away".to_owned()),
            Self::Inside(_) => Some("write it outside of `ca` and `certs`".to_owned()),
            Self::NotRegular(_) => Some("put the file itself there, or move it away".to_owned()),
            Self::Occupied(home) => Some(format!(
                "with `--force` it is moved to `{}`",
                home.join("backup").display()
            )),
            Self::Refused { .. } => Some("nothing was changed; try another archive".to_owned()),
            Self::Ledger(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::TooMany | Self::Unreadable { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
