//! Making an archive.
//!
//! Order matters: the CA's files first, then the certificates, the inventory last,
//! so that the copy knows of everything it holds. The lock on the CA is held for
//! its few files only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use tar::{Builder, EntryType, Header};
use zeroize::Zeroizing;

use super::{
    BackupError, CA, CERTS, CONFIG, CURRENT, Contents, Digest, LEDGER, MANIFEST, MAX_MANIFEST,
    MODE, Manifest, SCHEMA, is_companion, is_generation, is_path_of_ours, is_plain, names_in,
};
use crate::clock::Timestamp;
use crate::identifier::CertId;
use crate::pki::crl;
use crate::pki::ledger::Ledger;
use crate::store::{Lock, StoreError, disk};

/// How often a certificate is read again when a renewal moved it away meanwhile.
const TRIES: u32 = 10;

/// See [`super::create`].
pub(super) fn archive(
    home: &Path,
    path: &Path,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Contents, BackupError> {
    if !home.join(CONFIG).is_file() {
        return Err(BackupError::NotInitialised(home.to_owned()));
    }
    refuse_inside(home, path)?;
    match disk::write_new(path, b"", MODE) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(path.to_owned()));
        }
        other => other?,
    }
    let written = fill(home, path, ledger, now);
    written.inspect_err(|_| drop(disk::remove_file(path)))
}

/// An archive inside of what it copies would hold a part of itself.
fn refuse_inside(home: &Path, path: &Path) -> Result<(), BackupError> {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let dir = match path.parent() {
        Some(parent) if parent != Path::new("") => canonical(parent),
        _ => canonical(Path::new(".")),
    };
    let inside = [CA, CERTS]
        .iter()
        .any(|name| dir.starts_with(canonical(&home.join(name))));
    if inside {
        return Err(BackupError::Inside(path.to_owned()));
    }
    Ok(())
}

fn fill(
    home: &Path,
    path: &Path,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Contents, BackupError> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    let mut archive = Archive {
        path: path.to_owned(),
        tar: Builder::new(BufWriter::new(file)),
        manifest: Manifest {
            schema: SCHEMA.to_owned(),
            made_at: now,
            certmint: env!("CARGO_PKG_VERSION").to_owned(),
            ledger_schema: Ledger::SCHEMA,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        },
    };
    {
        let locks = home.join("locks");
        let _ca = Lock::acquire(&locks, CA)?;
        let _crl = Lock::acquire(&locks, crl::LOCK)?;
        add_tree(&mut archive, home, CA)?;
    }
    for name in names_in(&home.join(CERTS))? {
        // Whatever else lies there (`lost+found`, our own temporary files) is no
        // certificate.
        let id = name.to_str().and_then(|name| name.parse::<CertId>().ok());
        if let Some(id) = id.filter(|_| home.join(CERTS).join(&name).is_dir()) {
            add_certificate(&mut archive, home, &id)?;
        }
    }
    add_ledger(&mut archive, home, ledger)?;
    archive.finish()
}

/// Adds the regular files below `relative`, but for the inventory.
fn add_tree(archive: &mut Archive, home: &Path, relative: &str) -> Result<(), BackupError> {
    for name in names_in(&home.join(relative))? {
        let Some(name) = name.to_str().filter(|name| is_plain(name)) else {
            continue;
        };
        let below = format!("{relative}/{name}");
        if below == LEDGER || is_companion(&below) {
            continue;
        }
        let path = home.join(&below);
        let found = path
            .symlink_metadata()
            .map_err(StoreError::io("read", &path))?;
        if found.is_dir() {
            add_tree(archive, home, &below)?;
        } else if found.is_file() && is_path_of_ours(&below) {
            archive.add(&below, &Zeroizing::new(disk::read(&path)?))?;
        } else {
            return Err(BackupError::NotRegular(path));
        }
    }
    Ok(())
}

/// Names and contents, which may be keys.
type Files = Vec<(String, Zeroizing<Vec<u8>>)>;

/// One certificate's files, as they were at one moment.
#[derive(Default)]
struct Certificate {
    files: Files,
    generations: Vec<String>,
}

/// Adds one certificate: every generation that is whole, and the pointer.
///
/// Generations never change, but a renewal may sweep an old one and move the
/// pointer while it is read; then all is read again.
fn add_certificate(archive: &mut Archive, home: &Path, id: &CertId) -> Result<(), BackupError> {
    let dir = format!("{CERTS}/{id}");
    for attempt in 1..=TRIES {
        let pointer = pointer(&home.join(&dir));
        let found = read_certificate(home, &dir)?;
        let whole = pointer
            .as_ref()
            .is_none_or(|target| found.generations.contains(target));
        // At the last try the pointer stays behind: whoever loads the certificate
        // then takes the newest generation that verifies.
        if !whole && attempt < TRIES {
            continue;
        }
        for (path, bytes) in &found.files {
            archive.add(path, bytes)?;
        }
        if let Some(target) = pointer.filter(|_| whole) {
            archive.link(&format!("{dir}/{CURRENT}"), &target)?;
        }
        break;
    }
    Ok(())
}

/// The generation that `current` names, if it names one.
fn pointer(dir: &Path) -> Option<String> {
    let target = std::fs::read_link(dir.join(CURRENT)).ok()?;
    target
        .to_str()
        .filter(|t| is_generation(t))
        .map(str::to_owned)
}

fn read_certificate(home: &Path, dir: &str) -> Result<Certificate, BackupError> {
    let mut certificate = Certificate::default();
    for name in names_in(&home.join(dir))? {
        let Some(name) = name.to_str().filter(|name| is_plain(name)) else {
            continue;
        };
        let below = format!("{dir}/{name}");
        if is_generation(name) {
            if let Some(files) = read_generation(home, &below)? {
                certificate.files.extend(files);
                certificate.generations.push(name.to_owned());
            }
        } else if home
            .join(&below)
            .symlink_metadata()
            .is_ok_and(|f| f.is_file())
            && let Some(bytes) = disk::read_if_exists(&home.join(&below))?
        {
            certificate.files.push((below, Zeroizing::new(bytes)));
        }
    }
    Ok(certificate)
}

/// The files of one generation; `None` when it is being swept.
fn read_generation(home: &Path, dir: &str) -> Result<Option<Files>, BackupError> {
    let mut files = Vec::new();
    for name in names_in(&home.join(dir))? {
        let Some(name) = name.to_str().filter(|name| is_plain(name)) else {
            continue;
        };
        let below = format!("{dir}/{name}");
        match disk::read_if_exists(&home.join(&below))? {
            Some(bytes) => files.push((below, Zeroizing::new(bytes))),
            None => return Ok(None),
        }
    }
    let gone = files.is_empty() || !home.join(dir).is_dir();
    Ok((!gone).then_some(files))
}

/// Adds a snapshot of the inventory; the file it needs meanwhile is removed.
fn add_ledger(archive: &mut Archive, home: &Path, ledger: &Ledger) -> Result<(), BackupError> {
    // One at a time, and what a crash left is nobody's.
    let _lock = Lock::acquire(&home.join("locks"), "backup")?;
    let snapshot = home.join(CA).join(".snapshot.sqlite");
    disk::remove_file(&snapshot)?;
    let added = ledger
        .snapshot_to(&snapshot)
        .map_err(BackupError::from)
        .and_then(|()| archive.add_file(LEDGER, &snapshot));
    disk::remove_file(&snapshot)?;
    added
}

/// An archive being written.
struct Archive {
    path: PathBuf,
    tar: Builder<BufWriter<File>>,
    manifest: Manifest,
}

impl Archive {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.append(name, bytes.len() as u64, bytes)
    }

    fn add_file(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(StoreError::io("read", path))?;
        self.append(name, size, file)
    }

    fn append(&mut self, name: &str, size: u64, data: impl Read) -> Result<(), BackupError> {
        let mut header = self.header(EntryType::Regular, size);
        let mut data = Hashing {
            inner: data,
            context: Context::new(&SHA256),
        };
        self.tar
            .append_data(&mut header, name, &mut data)
            .map_err(StoreError::io("write", &self.path))?;
        let sha256 = HEXLOWER.encode(data.context.finish().as_ref());
        let files = &mut self.manifest.files;
        files.insert(name.to_owned(), Digest { sha256, size });
        Ok(())
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), BackupError> {
        let mut header = self.header(EntryType::Symlink, 0);
        self.tar
            .append_link(&mut header, name, target)
            .map_err(StoreError::io("write", &self.path))?;
        let links = &mut self.manifest.links;
        links.insert(name.to_owned(), target.to_owned());
        Ok(())
    }

    fn header(&self, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(MODE);
        header.set_mtime(u64::try_from(self.manifest.made_at.unix_timestamp()).unwrap_or(0));
        header
    }

    /// Writes the manifest, and makes the archive survive a power cut.
    fn finish(mut self) -> Result<Contents, BackupError> {
        let text = serde_json::to_vec_pretty(&self.manifest)
            .expect("a manifest has no failing serializer");
        if text.len() as u64 > MAX_MANIFEST {
            return Err(BackupError::TooMany);
        }
        let mut header = self.header(EntryType::Regular, text.len() as u64);
        let path = self.path;
        self.tar
            .append_data(&mut header, MANIFEST, text.as_slice())
            .and_then(|()| self.tar.into_inner())
            .and_then(|mut file| {
                file.flush()?;
                file.get_ref().sync_all()
            })
            .map_err(StoreError::io("write", &path))?;
        match path.parent() {
            Some(parent) if parent != Path::new("") => disk::sync_dir(parent)?,
            _ => disk::sync_dir(Path::new("."))?,
        }
        Ok(Contents::of(&self.manifest))
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    context: Context,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.context.update(&buffer[..count]);
        Ok(count)
    }
}
