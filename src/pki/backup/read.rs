//! Unpacking an archive that nobody vouches for.
//!
//! Every entry is a regular file, or the pointer `current`; its name is one that
//! [`super::is_path_of_ours`] accepts; nothing is written twice; and in the end
//! what was unpacked is exactly what the manifest lists.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use tar::EntryType;

use super::{
    BackupError, CERTS, CONFIG, CURRENT, Digest, LEDGER, MANIFEST, MAX_MANIFEST, MODE, Manifest,
    SCHEMA, is_generation, is_path_of_ours,
};
use crate::identifier::{CertId, quoted};
use crate::store::{StoreError, disk};

/// Largest file but the inventory: what is larger could not be read again.
const MAX_FILE: u64 = disk::MAX_FILE;
/// Longest name in an archive; ours have at most 250 bytes.
const MAX_NAME: u64 = 1024;

/// Unpacks the archive at `path` into the empty directory `staging` and checks it
/// against its manifest, which is returned.
pub(super) fn unpack(path: &Path, staging: &Path) -> Result<Manifest, BackupError> {
    let unreadable = |source| BackupError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let refused = |reason| BackupError::Refused {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    let mut unpacker = Unpacker {
        staging,
        files: BTreeMap::new(),
        links: BTreeMap::new(),
        manifest: None,
    };
    let mut archive = tar::Archive::new(io::BufReader::new(file));
    let mut long_name = None;
    // Raw: extensions of the format are refused here, not interpreted there.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        match take(&mut unpacker, &mut entry, &mut long_name) {
            Ok(()) => {}
            Err(Trouble::Refused(reason)) => return Err(refused(reason)),
            Err(Trouble::Read(source)) => return Err(unreadable(source)),
            Err(Trouble::Write(error)) => return Err(error.into()),
        }
    }
    unpacker.finish().map_err(|trouble| match trouble {
        Trouble::Refused(reason) => refused(reason),
        Trouble::Read(source) => unreadable(source),
        Trouble::Write(error) => error.into(),
    })
}

/// Why unpacking stopped.
enum Trouble {
    /// The archive holds what none of ours does.
    Refused(String),
    /// It could not be read.
    Read(io::Error),
    /// It could not be written.
    Write(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Write(error)
    }
}

/// Takes one entry, of which the one before may have given the name.
fn take(
    unpacker: &mut Unpacker<'_>,
    entry: &mut tar::Entry<'_, impl Read>,
    long_name: &mut Option<String>,
) -> Result<(), Trouble> {
    let header = entry.header();
    let kind = header.entry_type();
    let size = header.entry_size().map_err(Trouble::Read)?;
    let name = match long_name.take() {
        Some(name) => name,
        None => text(&header.path_bytes())?,
    };
    match kind {
        EntryType::Regular if name == MANIFEST => unpacker.take_manifest(entry, size),
        EntryType::Regular => unpacker.take_file(&name, entry, size),
        EntryType::Symlink => {
            let target = header.link_name_bytes().unwrap_or_default();
            unpacker.take_link(&name, &text(&target)?)
        }
        EntryType::GNULongName => {
            let bytes = read_whole(entry, size, MAX_NAME, "a name")?;
            let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
            *long_name = Some(text(bytes)?);
            Ok(())
        }
        _ => Err(Trouble::Refused(format!(
            "`{}` is neither a file nor a pointer to a generation",
            quoted(&name)
        ))),
    }
}

fn text(bytes: &[u8]) -> Result<String, Trouble> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Trouble::Refused("it has a name that is not text".to_owned()))
}

/// What was unpacked so far.
struct Unpacker<'a> {
    staging: &'a Path,
    files: BTreeMap<String, Digest>,
    links: BTreeMap<String, String>,
    manifest: Option<Manifest>,
}

impl Unpacker<'_> {
    fn take_manifest(&mut self, data: &mut impl Read, size: u64) -> Result<(), Trouble> {
        let bytes = read_whole(data, size, MAX_MANIFEST, "its manifest")?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|e| Trouble::Refused(format!("its manifest cannot be read: {e}")))?;
        if self.manifest.replace(manifest).is_some() {
            return Err(Trouble::Refused("it has two manifests".to_owned()));
        }
        Ok(())
    }

    fn take_file(&mut self, name: &str, data: &mut impl Read, size: u64) -> Result<(), Trouble> {
        if !is_path_of_ours(name) {
            return Err(misplaced(name));
        }
        if size > MAX_FILE && name != LEDGER {
            return Err(too_large(name));
        }
        if self.files.contains_key(name) {
            return Err(Trouble::Refused(format!("`{name}` is in it twice")));
        }
        let path = self.staging.join(name);
        if let Some(parent) = path.parent() {
            disk::create_dir(parent)?;
        }
        disk::write_new(&path, b"", MODE)?;
        let sha256 = copy(data, size, &path)?;
        self.files.insert(name.to_owned(), Digest { sha256, size });
        Ok(())
    }

    fn take_link(&mut self, name: &str, target: &str) -> Result<(), Trouble> {
        let id = name
            .strip_prefix(CERTS)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.strip_suffix(CURRENT))
            .and_then(|rest| rest.strip_suffix('/'));
        if id.is_none_or(|id| id.parse::<CertId>().is_err()) || !is_generation(target) {
            return Err(misplaced(name));
        }
        let known = self.links.insert(name.to_owned(), target.to_owned());
        if known.is_some() || self.files.contains_key(name) {
            return Err(Trouble::Refused(format!("`{name}` is in it twice")));
        }
        Ok(())
    }

    /// Compares with the manifest, and sets the pointers.
    fn finish(mut self) -> Result<Manifest, Trouble> {
        let manifest = self
            .manifest
            .take()
            .ok_or_else(|| Trouble::Refused("it ends before its manifest".to_owned()))?;
        if manifest.schema != SCHEMA {
            let found = quoted(&manifest.schema);
            let reason = format!("it is of the kind `{found}`, and `{SCHEMA}` is known here");
            return Err(Trouble::Refused(reason));
        }
        if let Some(name) = difference(&self.files, &manifest.files)
            .or_else(|| difference(&self.links, &manifest.links))
        {
            let reason = format!("`{}` is not what its manifest says", quoted(&name));
            return Err(Trouble::Refused(reason));
        }
        for needed in [CONFIG, LEDGER] {
            if !self.files.contains_key(needed) {
                return Err(Trouble::Refused(format!("it lacks `{needed}`")));
            }
        }
        for (name, target) in &self.links {
            self.set_pointer(name, target)?;
        }
        Ok(manifest)
    }

    fn set_pointer(&self, name: &str, target: &str) -> Result<(), Trouble> {
        let link = self.staging.join(name);
        let dir = link.parent().unwrap_or(self.staging);
        if !dir.join(target).is_dir() {
            let reason = format!("`{name}` names a generation that is not there");
            return Err(Trouble::Refused(reason));
        }
        symlink(target, &link).map_err(StoreError::io("link", &link))?;
        Ok(disk::sync_dir(dir)?)
    }
}

fn misplaced(name: &str) -> Trouble {
    Trouble::Refused(format!("`{}` has no place in a CA", quoted(name)))
}

fn too_large(name: &str) -> Trouble {
    Trouble::Refused(format!("`{}` is too large", quoted(name)))
}

/// The first name that is only in one, or has another value in the other.
fn difference<V: PartialEq>(
    found: &BTreeMap<String, V>,
    listed: &BTreeMap<String, V>,
) -> Option<String> {
    found
        .iter()
        .find(|(name, value)| listed.get(*name) != Some(value))
        .map(|(name, _)| name)
        .or_else(|| listed.keys().find(|name| !found.contains_key(*name)))
        .cloned()
}

/// Reads `size` bytes, at most `max`.
fn read_whole(data: &mut impl Read, size: u64, max: u64, what: &str) -> Result<Vec<u8>, Trouble> {
    if size > max {
        return Err(Trouble::Refused(format!("{what} is too large")));
    }
    let mut bytes = Vec::new();
    data.take(size)
        .read_to_end(&mut bytes)
        .map_err(Trouble::Read)?;
    if bytes.len() as u64 != size {
        return Err(cut());
    }
    Ok(bytes)
}

/// Copies `size` bytes into the empty file `path`, syncs it, and returns their hash.
fn copy(data: &mut impl Read, size: u64, path: &Path) -> Result<String, Trouble> {
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default())
        .open(path)
        .map_err(StoreError::io("open", path))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        let count = data.read(&mut buffer).map_err(Trouble::Read)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
        file.write_all(&buffer[..count])
            .map_err(StoreError::io("write", path))?;
        copied += count as u64;
    }
    if copied != size {
        return Err(cut());
    }
    file.sync_all().map_err(StoreError::io("sync", path))?;
    Ok(HEXLOWER.encode(context.finish().as_ref()))
}

fn cut() -> Trouble {
    Trouble::Refused("it was cut short".to_owned())
}
